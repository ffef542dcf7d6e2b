"""What the user sees: results on stdout, everything else on stderr, colour only where somebody looks."""

from __future__ import annotations

import contextlib
import json as json_module
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and line feed, and those that turn the direction of what follows."""


class Output:
    """Where a command says what it has to say.

    Args:
        json: One JSON object on stdout, and nothing else there.
        verbose: Messages of frameworks and tracebacks are wanted.
    """

    def __init__(self, *, json: bool = False, verbose: bool = False) -> None:
        self.json = json
        self.verbose = verbose

    def console(self) -> Console:
        """A console for results. Names of tensors may look like markup: none is interpreted."""
        from rich.console import Console

        width = None if sys.stdout.isatty() else 200
        return Console(markup=False, highlight=False, emoji=False, width=width, soft_wrap=not sys.stdout.isatty())

    def print_json(self, value: Any) -> None:
        """Print the one JSON object; what the stream's encoding lacks stands in it as JSON's own escapes."""
        text = json_module.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            text = json_module.dumps(value, indent=1, allow_nan=False)
        click.echo(text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
        """Print a table; columns of numbers are told by their rows."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", pad_edge=False)
        for position, column in enumerate(columns):
            numeric = bool(rows) and all(_is_number(row[position]) for row in rows)
            table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(str(cell))) for cell in row))
        self.console().print(table)

    def line(self, text: str = "") -> None:
        """Print a line of the result."""
        self.console().print(printable(text))

    def error(self, kind: str, message: str, fix: str, exit_code: int) -> None:
        """Tell what went wrong: on stderr, and as the JSON object if one is expected."""
        click.echo(click.style("Error: ", fg="red", bold=True) + printable(message), err=True)
        if fix:
            click.echo(printable(fix), err=True)
        if self.json:
            self.print_json({"error": {"type": kind, "message": message, "fix": fix, "exit_code": exit_code}})

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """Show what goes on while something long runs.

        Yields:
            A function that takes a few words about what begins.
        """
        if self.json and not self.verbose:
            yield lambda _: None
        elif not sys.stderr.isatty() or self.verbose:
            yield lambda text: click.echo(f"{printable(text)} …", err=True)
        else:
            with _spinner() as tell:
                yield tell


@contextlib.contextmanager
def _spinner() -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda text: progress.update(task, description=printable(text))


def printable(text: str) -> str:
    """A text without what steers a terminal: names inside of models may hold anything."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def _is_number(cell: Any) -> bool:
    try:
        float(str(cell).replace("—", "0"))
    except ValueError:
        return False
    return True


def bytes_text(size: int) -> str:
    """A size as people read it: ``1.2 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{size} B"
