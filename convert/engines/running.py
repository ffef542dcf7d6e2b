"""Running an engine: a child process in its environment, with a time limit and a log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from xport import posix, worker
from xport.convert.engines import child, environment
from xport.convert.engines.table import find
from xport.errors import ConversionError

_TAIL = 15
_BAR = re.compile(r"\d+%\|")


def run(name: str, function: str, request: dict[str, Any], *, seconds: float | None = None) -> None:
    """Let an engine do something.

    Args:
        name: The engine.
        function: What to run of `xport.convert.engines.child`.
        request: What it is told; anything that JSON holds.
        seconds: The time limit; by default the engine's own.

    Raises:
        MissingRuntimeError: If the engine is not installed.
        ConversionError: If it fails or runs out of time; the message has the end of its log.
    """
    limit = seconds or find(name).seconds
    interpreter = environment.python(name)
    with tempfile.TemporaryDirectory(prefix="xport-engine-") as room, tempfile.TemporaryFile() as log:
        asked = Path(room) / "request.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        process = subprocess.Popen(
            # -I: neither PYTHONPATH nor the current folder reaches into the engine's environment.
            [str(interpreter), "-I", child.__file__, function, str(asked), str(os.getpid())],
            cwd=room,
            env=worker.environment(),  # engines import onnxruntime, too
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired as error:
            raise ConversionError(
                f"{name} ran out of time ({limit:.0f} s) and was stopped.{_tail(log)}", "Try a smaller model."
            ) from error
        finally:
            _end(process)
        if code != 0:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
            raise ConversionError(f"{name} {how}.{_tail(log)}", "Another route may do: leave --via out.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End an engine with all the processes that it started."""
    try:
        posix.signal_group(process, posix.KILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def _tail(log: Any) -> str:
    """The end of a log, without progress bars."""
    log.seek(0)
    text = log.read().decode(errors="replace").replace("\r", "\n")
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not _BAR.search(line)]
    return "\nIts last words:\n" + "\n".join(f"  {line[:300]}" for line in lines[-_TAIL:]) if lines else ""
