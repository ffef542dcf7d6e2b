"""``xport convert --many``: a plan of models and targets, with a table that lives while it runs."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from xport.cli.output import Output, bytes_text, printable
from xport.cli.reports import json_text
from xport.errors import DestinationError
from xport.replacing import write_text

if TYPE_CHECKING:
    from rich.table import Table

    from xport.convert.many.plan import Plan, Task
    from xport.convert.many.results import ManyReport, TaskResult
    from xport.convert.many.run import Tell

_ONLY_MANY = ("jobs", "executor", "ray_address")
_WITH_MANY = ("many", "destination", "force", "timeout", "json", "json_file", "verbose", *_ONLY_MANY)
"""Everything else belongs to one conversion; in a plan it stands with its model."""


class ConvertCommand(click.Command):
    """``--json FILE`` beside ``--many``; without it, what follows ``--json`` is the source."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        if any(arg == "--many" or arg.startswith("--many=") for arg in args) and "--json" in args:
            at = args.index("--json") + 1
            if at < len(args) and not args[at].startswith("-"):
                args = [*args[: at - 1], f"--json-file={args[at]}", *args[at + 1 :]]
        return super().parse_args(ctx, args)


def refuse_misplaced(*, is_plan: bool) -> None:
    """Refuse what was given on the command line and does not go with ``--many``, or not without it.

    Args:
        is_plan: Whether ``--many`` was given.

    Raises:
        click.UsageError: Naming it.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        shown = parameter.opts[0] if isinstance(parameter, click.Option) else name.upper()
        if is_plan and name not in _WITH_MANY:
            raise click.UsageError(f"{shown} does not go with --many: it stands in the plan, with its model.")
        if not is_plan and name in _ONLY_MANY:
            raise click.UsageError(f"{shown} is for --many.")


def many(output: Output, arguments: Mapping[str, Any]) -> int:
    """Run the plan that ``--many`` names.

    Args:
        output: Where to say what there is to say.
        arguments: The options of ``xport convert``.

    Returns:
        The exit code.

    Raises:
        UsageError: If the plan has a mistake; nothing was started.
    """
    file = arguments["json_file"]
    if file is not None and not Path(file).absolute().parent.is_dir():
        raise DestinationError(f"The folder of {file} does not exist.", f"Make it: mkdir -p '{Path(file).parent}'")
    from xport.convert.many import api

    plan = api.read(arguments["many"], output=arguments["destination"], timeout=arguments["timeout"])
    with _shown(plan, output) as tell:
        report = api.convert_many(
            plan,
            jobs=arguments["jobs"],
            executor=arguments["executor"],
            ray_address=arguments["ray_address"],
            overwrite=arguments["force"],
            verbose=output.verbose,
            progress=tell,
        )
    if not output.json:
        _print_end(report, output)
    if file is not None:
        write_text(file, json_text(report.to_json()))
    if output.json:
        output.print_json(report.to_json())
    return report.exit_code


def _print_end(report: ManyReport, output: Output) -> None:
    for failed in report.failures:
        output.line(f"FAILED {failed.name} ({failed.where}): {failed.error['type']}: {failed.error['message']}")
        if failed.error["fix"]:
            output.line(f"       {failed.error['fix']}")
    again = sum(result.attempts - 1 for result in report.results)
    retried = f"; {again} started again after a loss" if again else ""
    output.line(f"{report.summary} in {report.seconds:.1f} s{retried}   {report.plan.output}")


@contextmanager
def _shown(plan: Plan, output: Output) -> Iterator[Tell]:
    """Show what goes on: a live table where somebody looks, otherwise one line a finished task."""
    if output.json and not output.verbose:
        yield lambda task, result: None
    elif sys.stdout.isatty() and not output.json and not output.verbose:
        with _LiveTable(plan).shown() as tell:
            yield tell
    else:
        done, lock = 0, threading.Lock()

        def line(task: Task, result: TaskResult | None) -> None:
            nonlocal done
            if result is not None:
                with lock:
                    done += 1
                    text = "   ".join(cell for cell in _cells(result) if cell)
                    click.echo(f"[{done}/{len(plan.tasks)}] {printable(text)}", err=output.json)

        yield line


class _LiveTable:
    """The tasks of a plan, as they go; what does not fit the terminal is counted."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.began: dict[str, float] = {}
        self.results: dict[str, TaskResult] = {}

    @contextmanager
    def shown(self) -> Iterator[Tell]:
        from rich.live import Live

        with Live(get_renderable=self._table, refresh_per_second=4, vertical_overflow="crop"):
            yield self._tell

    def _tell(self, task: Task, result: TaskResult | None) -> None:
        if result is None:
            self.began[task.name] = time.monotonic()
        else:
            self.results[task.name] = result

    def _table(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("result", "", "proof", "size", "time"):
            table.add_column(name, overflow="fold")
        rows, waiting = self._rows()
        for row in rows:
            style = {"failed": "red", "converted": "green"}.get(row[1], "")
            table.add_row(*(Text(printable(cell), style=style if i == 1 else "") for i, cell in enumerate(row)))
        if waiting:
            table.add_row(Text(f"{waiting} more", style="dim"), "", "", "", "")
        return table

    def _rows(self) -> tuple[list[tuple[str, ...]], int]:
        """Those that run, then the latest that are over; and how many others there are."""
        room = max(5, shutil.get_terminal_size().lines - 6)
        running = [task for task in self.plan.tasks if task.name in self.began and task.name not in self.results]
        now = time.monotonic()
        rows: list[tuple[str, ...]] = [
            (t.name, "running", "", "", f"{now - self.began[t.name]:.0f} s") for t in running
        ]
        rows += [_cells(result) for result in reversed(list(self.results.values()))]
        return rows[:room], len(self.plan.tasks) - min(room, len(rows))


def _cells(result: TaskResult) -> tuple[str, ...]:
    """Name, status, proof, size and time of a task that is over; a failure's text in place of its proof."""
    if result.error:
        first = str(result.error["message"]).splitlines()[0]
        return (result.name, result.status.value, first[:120], "", f"{result.seconds:.1f} s")
    proof = "not verified" if not result.verified else "same" if result.worst is None else f"{result.worst:.2f} × floor"  # noqa: RUF001
    seconds = "" if result.status.value == "kept" else f"{result.seconds:.1f} s"
    return (result.name, result.status.value, proof, bytes_text(result.size), seconds)
