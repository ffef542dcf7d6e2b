"""From arguments to an exit code: no traceback reaches a user unasked."""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from xport.cli.commands import xport
from xport.cli.output import Output, printable
from xport.errors import XportError, XportWarning

_INTERRUPTED = 130
_TERMINATED = 143


class Terminated(BaseException):
    """SIGTERM, as an exception: what is being written gets cleaned up on the way out."""


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: What follows ``xport``.

    Returns:
        The exit code.
    """
    output = Output(json=_wants_json(arguments), verbose="-v" in arguments or "--verbose" in arguments)
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", XportWarning)
    try:
        result = xport.main(args=list(arguments), prog_name="xport", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except Terminated:
        return _TERMINATED
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads any more; Python would complain when it flushes
        return 1
    except click.ClickException as error:
        return _usage(error, output)
    except XportError as error:
        if output.verbose:
            traceback.print_exc()
        output.error(type(error).__name__, error.message, error.fix, error.exit_code)
        return error.exit_code
    except OSError as error:
        return _refused(error, output)
    except Exception as error:
        return _unexpected(error, output)


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether stdout gets one JSON object; some write it to a file instead, if ``--json`` is followed by one."""
    if "--json" not in arguments:
        return False
    following = arguments[arguments.index("--json") + 1 :][:1]
    takes_file = arguments[0] in ("validate", "compare", "probe") or any(
        arg.partition("=")[0] == "--many" for arg in arguments
    )
    return not takes_file or not following or following[0].startswith("-")


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _show_warning(message: Any, category: type[Warning], *details: Any, **named: Any) -> None:
    """Ours are told; those of libraries are for their developers."""
    if issubclass(category, XportWarning):
        click.echo(f"Warning: {printable(str(message))}", err=True)


def _usage(error: click.ClickException, output: Output) -> int:
    if output.json:
        fix = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            fix = f"Try '{error.ctx.command_path} --help'."
        output.error(type(error).__name__, error.format_message(), fix, error.exit_code)
    else:
        error.show()
    return error.exit_code


def _refused(error: OSError, output: Output) -> int:
    """The system said no to something, mostly for want of room or of a permission."""
    if output.verbose:
        traceback.print_exc()
    with contextlib.suppress(OSError):  # it may be the output itself that cannot be written
        where = f": {error.filename}" if error.filename is not None else ""
        output.error(
            type(error).__name__,
            f"The system refused: {error.strerror or error}{where}",
            "Check the disk, its permissions and limits; run again with -v to see what was tried.",
            1,
        )
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    return 1


def _unexpected(error: Exception, output: Output) -> int:
    if output.verbose:
        traceback.print_exc()
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    output.error(
        type(error).__name__,
        f"Something unexpected happened: {type(error).__name__}: {first}",
        "This is a bug in xport. Run again with -v and report what it says.",
        1,
    )
    return 1
