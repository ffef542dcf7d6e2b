"""``xport bisect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xport.cli.options import source_options
from xport.cli.output import Output
from xport.cli.reports import check_targets, json_text
from xport.cli.validate import names_from
from xport.errors import ParityError
from xport.replacing import write_text

if TYPE_CHECKING:
    from xport.validate.bisection.results import BisectReport, Divergence

_STDOUT = "-"
_FACTS = ("inputs", "seed", "arch", "trust_pickle", "reproduce", "timeout")


@click.command(short_help="Find the first value that diverges.")
@click.argument("reference", type=click.Path(path_type=str))
@click.argument("other", type=click.Path(path_type=str))
@click.option(
    "--inputs", "input_data", metavar="PATH", type=click.Path(path_type=str), help="Your inputs: .npz, folder."
)
@click.option("--seed", type=int, default=0, show_default=True, help="For the inputs that are drawn.")
@click.option("--map", "mapped", metavar="A=B", multiple=True, help="The reference's A is called B there. Repeatable.")
@source_options
@click.option("--reproduce", metavar="FOLDER", type=click.Path(path_type=Path), help="Write the smallest sub-model.")
@click.option("--worst", type=click.IntRange(min=0), default=10, show_default=True, help="Rows of the error curve.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=600.0, show_default=True, help="Seconds a request.")
@click.option("--json", "json_file", is_flag=False, flag_value=_STDOUT, metavar="[FILE]", help="Write or print JSON.")
@click.option("--verbose", "-v", is_flag=True, help="Show messages of frameworks, and tracebacks.")
def bisect(json_file: str | None, verbose: bool, worst: int, **arguments: Any) -> int:
    """Find where OTHER parts from REFERENCE: the first value that differs by more than rounding, and why.

    Both are read as ONNX and run on the same inputs, value by value; operators that err when they get the
    reference's own inputs are at fault. Exits with 3 if anything diverges.
    """
    from xport.validate.bisection import api

    output = Output(json=json_file == _STDOUT, verbose=verbose)
    target = None if json_file in (None, _STDOUT) else Path(str(json_file))
    check_targets({"--json": target}, (arguments["reference"], arguments["other"]), None)
    with output.progress() as tell:
        report = api.bisect(
            arguments["reference"],
            arguments["other"],
            input_data=arguments["input_data"],
            names=names_from(arguments["mapped"]),
            progress=tell,
            verbose=verbose,
            **{key: arguments[key] for key in _FACTS},
        )
    if not output.json:
        show(output, report, worst)
    if target is not None:
        write_text(target, json_text(report.to_json()))
    if output.json:
        output.print_json(report.to_json())
    return 0 if report.agrees else ParityError.exit_code


def show(output: Output, report: BisectReport, worst: int) -> None:
    """Print what was found, the worst values of the error curve first."""
    from xport.validate.reports.words import TIMES

    points = sorted(report.curve, key=lambda p: p.ratio, reverse=True)[:worst]
    rows = [
        (p.value, str(p.operator), f"{p.relative:.1e}", f"{p.ratio:.2f}", f"{p.limit:.1f}", "yes" if p.passed else "no")
        for p in points
    ]
    if rows:
        columns = ("value", "operator", "relative error", f"{TIMES} floor", "limit", "agrees")
        output.table(columns, rows, title=f"The worst of {len(report.curve)} values that both sides have")
    for position, divergence in enumerate(report.divergences):
        _show_divergence(output, report, position + 1, divergence)
    for note in report.notes:
        output.line(f"Note: {note}")
    if report.unmatched:
        output.line(f"Note: {report.unmatched} values of {report.reference} have no partner in {report.other}")
    for verdict in report.outputs:
        output.line(f"output {verdict.output}: {verdict.reason}")
    output.line(f"inputs {report.inputs['name']}, sha256 {report.inputs['sha256'][:16]}…")
    for path in report.files:
        output.line(f"wrote {path}")
    output.line(report.verdict)


def _show_divergence(output: Output, report: BisectReport, number: int, found: Divergence) -> None:
    output.line(f"{number}. {found.where}")
    their = " → ".join(str(operator) for operator in found.other_operators)
    output.line(f"   there     {their}")
    output.line(f"   value     {found.value}: {found.stats}")
    output.line(f"   there     {found.other}: {found.other_stats}")
    figures = found.figures
    output.line(
        f"   error     {found.agreement.reason}; largest at {list(figures.worst_index)}: {figures.worst_actual:.7g}, "
        f"expected {figures.worst_expected:.7g}"
    )
    for state in found.inputs:
        verb = "agrees" if state.agrees else f"differs by {state.ratio:.1f} floors"
        moved = f", its axes in the order {list(state.moved)}" if state.moved else ""
        output.line(f"   input     {state.value} {verb}{moved}")
    if found.own is not None:
        output.line(f"   alone     with the reference's inputs: {found.own.reason}")
    for reason in found.reasons or ("nothing in its weights or attributes was found to differ",):
        output.line(f"   because   {reason}")
    if found.cured is not None:
        text = "agree" if found.cured else "still differ"
        output.line(f"   repaired  with the reference's value in its place, the outputs {text}")
