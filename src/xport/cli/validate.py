"""``xport validate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xport.cli.options import source_options
from xport.cli.output import Output
from xport.cli.reports import check_targets, tell_report
from xport.cli.served_options import served_fields, served_options, typed_command
from xport.errors import DestinationError, ParityError, UsageError

if TYPE_CHECKING:
    pass

_STDOUT = "-"
_FILE = click.Path(path_type=Path, dir_okay=False)


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """Positive numbers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers; write 1,8,32.", param, ctx)
        if any(number < 1 for number in found):
            self.fail(f"{value!r} holds a number below one; write 1,8,32.", param, ctx)
        return found


@click.command(short_help="Compare artifacts: numbers, devices, latency.")
@click.argument("artifacts", nargs=-1, required=True, metavar="REFERENCE OTHER...", type=click.Path(path_type=str))
@click.option("--device", default="cpu", show_default=True, metavar="LIST", help="cpu, cuda, or cpu,cuda.")
@click.option("--batch", type=Numbers(), metavar="LIST", help="Batch sizes; 1,8 if you name none.")
@click.option(
    "--inputs", "input_data", metavar="PATH", type=click.Path(path_type=str), help="Your inputs: .npz, folder."
)
@click.option("--seed", type=int, default=0, show_default=True, help="For the inputs that are drawn.")
@click.option("--runs", type=click.IntRange(min=0), help="Timed calls a cell; 0 for none. By default up to 100.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads for every runtime; all processors by default.")
@click.option("--rtol", type=click.FloatRange(min=0), help="Judge by this limit instead of the rounding floor.")
@click.option("--atol", type=click.FloatRange(min=0), help="Judge by this limit instead of the rounding floor.")
@click.option("--sqnr", type=float, metavar="DB", help="What 16-bit and 8-bit candidates must keep; see the docs.")
@click.option(
    "--map", "mapped", metavar="A=B", multiple=True, help="The reference's A is called B elsewhere. Repeatable."
)
@source_options
@served_options
@click.option("--compile", "compiled", is_flag=True, help="PyTorch artifacts once more, through torch.compile.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=600.0, show_default=True, help="Seconds a request.")
@click.option("--report", "page", metavar="PAGE.html", type=_FILE, help="Write a page to read and to keep.")
@click.option("--json", "json_file", is_flag=False, flag_value=_STDOUT, metavar="[FILE]", help="Write or print JSON.")
@click.option("--junit", metavar="FILE.xml", type=_FILE, help="Write JUnit XML for CI.")
@click.option("--tensorboard", metavar="FOLDER", type=click.Path(path_type=Path), help="Write events for TensorBoard.")
@click.option("--baseline", metavar="FILE.json", type=_FILE, help="Compare with the JSON of an earlier run.")
@click.option("--save-tensors", metavar="FOLDER", type=click.Path(path_type=Path), help="Keep all inputs and outputs.")
@click.option("--verbose", "-v", is_flag=True, help="Show messages of frameworks, and tracebacks.")
def validate(artifacts: tuple[str, ...], json_file: str | None, verbose: bool, **arguments: Any) -> int:
    """Compare artifacts of any formats, and URLs of served models, with REFERENCE on identical inputs.

    Every artifact runs on every device at every batch size, in a process of its own. Exits with 3 if a number differs
    by more than rounding, a cell crashes, hangs or runs elsewhere than asked, or something is worse than --baseline.
    """
    from xport.validate import api

    output = Output(json=json_file == _STDOUT, verbose=verbose)
    targets = {"--report": arguments["page"], "--junit": arguments["junit"]}
    targets["--json"] = None if json_file in (None, _STDOUT) else Path(str(json_file))
    check_targets(targets, artifacts, arguments["baseline"])
    _check_folder(arguments["tensorboard"])
    with output.progress() as tell:
        report = api.validate(
            *artifacts,
            device=[name.strip() for name in arguments["device"].split(",") if name.strip()],
            batch=arguments["batch"] or (),
            input_data=arguments["input_data"],
            tolerance=_tolerance(arguments["rtol"], arguments["atol"]),
            names=names_from(arguments["mapped"]),
            progress=tell,
            verbose=verbose,
            command=typed_command("validate"),
            served=served_fields(arguments["headers"], arguments["token_file"], arguments["ca_file"]),
            **{key: arguments[key] for key in _PASSED_ON},
        )
    from xport.cli.validate_output import show

    others: list[Callable[[], None]] = []
    if (path := targets["--junit"]) is not None:
        from xport.validate.reports.junit import write_junit

        others.append(lambda: write_junit(report, path))
    if arguments["tensorboard"] is not None:
        others.append(lambda: report.write_tensorboard(arguments["tensorboard"]))
    tell_report(report, output, lambda: show(output, report), targets, others)
    return 0 if report.passed else ParityError.exit_code


_PASSED_ON = (
    "inputs",
    "seed",
    "runs",
    "threads",
    "sqnr",
    "arch",
    "trust_pickle",
    "timeout",
    "baseline",
    "save_tensors",
)


def _tolerance(rtol: float | None, atol: float | None) -> tuple[float, float] | None:
    return None if rtol is None and atol is None else (rtol or 0.0, atol or 0.0)


def names_from(mapped: tuple[str, ...]) -> dict[str, str]:
    """Names of one side by the other's, as ``--map A=B`` gives them."""
    names = {}
    for text in mapped:
        left, equals, right = text.partition("=")
        if not left or not right or not equals:
            raise UsageError(
                f"Malformed mapping {text!r}.", "Write --map REFERENCE=OTHER, for example --map x=input_1."
            )
        names[left] = right
    return names


def _check_folder(path: Path | None) -> None:
    """Refuse a folder for TensorBoard that cannot be one, before the work begins."""
    if path is None:
        return
    from xport.runtimes import require

    require("tensorboardX")
    if path.is_file() or not path.absolute().parent.is_dir():
        what = "is a file" if path.is_file() else "lies in a folder that does not exist"
        raise DestinationError(f"{path}, given with --tensorboard, {what}.", "Name a folder in an existing one.")
