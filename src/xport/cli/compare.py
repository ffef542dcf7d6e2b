"""``xport compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xport.cli.options import source_options
from xport.cli.output import Output
from xport.cli.reports import check_targets, tell_report
from xport.cli.served_options import typed_command
from xport.cli.validate import Numbers

if TYPE_CHECKING:
    pass

_STDOUT = "-"
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Measure one model on every runtime, side by side.")
@click.argument("model", type=click.Path(path_type=str))
@click.option(
    "--contenders",
    default="",
    metavar="LIST",
    help="Some of eager, compile, torchscript, pt2, onnx, tensorflow, litert, with commas; all by default.",
)
@click.option("--batch", type=Numbers(), metavar="LIST", help="Batch sizes; 1,8 if you name none.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where all run.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads for every runtime.")
@click.option("--runs", type=click.IntRange(min=1), help="Timed calls at each batch size. By default up to 100.")
@click.option(
    "--starts", type=click.IntRange(min=0), default=3, show_default=True, help="Starts of each contender; 0 for none."
)
@click.option("--inputs", "input_data", metavar="FILE.npz", type=click.Path(path_type=str), help="Your inputs.")
@click.option("--seed", type=int, default=0, show_default=True, help="For the inputs that are drawn.")
@source_options
@click.option("--output-names", metavar="A,B", help="Names for the outputs, for models that do not name theirs.")
@click.option("--signature", metavar="NAME", help="Which signature of a SavedModel; serving_default by default.")
@click.option("--output", "-o", metavar="FOLDER", type=click.Path(path_type=Path), help="Keep the artifacts there.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=600.0, show_default=True, help="Seconds a request.")
@click.option("--report", "page", metavar="PAGE.html", type=_FILE, help="Write a page to read and to keep.")
@click.option("--json", "json_file", is_flag=False, flag_value=_STDOUT, metavar="[FILE]", help="Write or print JSON.")
@click.option("--verbose", "-v", is_flag=True, help="Show messages of frameworks, and tracebacks.")
def compare(model: str, json_file: str | None, verbose: bool, **arguments: Any) -> int:
    """Run MODEL on every runtime and measure latency, start-up, memory and accuracy side by side.

    Every contender is a proven conversion of MODEL, in a process of its own; what cannot be made or run says why. Exits
    with 3 if a contender's numbers are wrong, with 1 if nothing could be compared.
    """
    from xport.validate.comparing import api

    output = Output(json=json_file == _STDOUT, verbose=verbose)
    targets = {"--report": arguments.pop("page")}
    targets["--json"] = None if json_file in (None, _STDOUT) else Path(str(json_file))
    check_targets(targets, (model,), None)
    names = arguments.pop("output_names") or ""
    arguments["batch"] = arguments["batch"] or ()
    with output.progress() as tell:
        report = api.compare(
            model,
            output_names=[name.strip() for name in names.split(",") if name.strip()],
            progress=tell,
            verbose=verbose,
            command=typed_command("compare"),
            **arguments,
        )
    from xport.cli.compare_output import show

    tell_report(report, output, lambda: show(output, report), targets)
    return report.exit_code
