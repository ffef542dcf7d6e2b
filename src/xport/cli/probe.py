"""``xport probe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xport.cli.options import source_options
from xport.cli.output import Output
from xport.cli.reports import check_targets, tell_report
from xport.cli.served_options import served_fields, served_options, typed_command
from xport.cli.validate import Numbers, names_from

if TYPE_CHECKING:
    pass

_STDOUT = "-"
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Prove what a URL serves, and measure it under load.")
@click.argument("url")
@click.option("--against", metavar="MODEL", help="The artifact that should be served, or its source.")
@click.option("--protocol", default="auto", show_default=True, help="auto, tf-serving, v2, or torchserve.")
@click.option("--grpc", is_flag=True, help="Ask over gRPC, too, at the usual port beside the URL's.")
@click.option("--grpc-port", type=click.IntRange(1, 65535), help="Ask over gRPC, too, at this port.")
@click.option("--model", default="", metavar="NAME", help="The model's name, where the URL does not say it.")
@click.option("--version", "versions", multiple=True, metavar="N", help="A version to ask. Repeatable.")
@click.option("--signature", default="", metavar="NAME", help="A signature of TF Serving.")
@click.option("--batch", type=Numbers(), metavar="LIST", help="Batch sizes; 1,8 if you name none.")
@click.option(
    "--inputs", "input_data", metavar="PATH", type=click.Path(path_type=str), help="Your inputs: .npz, folder."
)
@click.option("--seed", type=int, default=0, show_default=True, help="For the inputs that are drawn.")
@click.option("--runs", type=click.IntRange(min=0), help="Timed calls at each batch size; 0 for none.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads for the artifact's runtime.")
@click.option(
    "--load", multiple=True, metavar="LOAD", help="64x30s: 64 clients for 30 s; 200rpsx30s: 200 a second. Repeatable."
)
@click.option("--rtol", type=click.FloatRange(min=0), help="Judge by this limit instead of the rounding floor.")
@click.option("--atol", type=click.FloatRange(min=0), help="Judge by this limit instead of the rounding floor.")
@click.option("--map", "mapped", metavar="A=B", multiple=True, help="The artifact's A is called B there. Repeatable.")
@source_options
@served_options
@click.option("--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Seconds a request.")
@click.option("--report", "page", metavar="PAGE.html", type=_FILE, help="Write a page to read and to keep.")
@click.option("--json", "json_file", is_flag=False, flag_value=_STDOUT, metavar="[FILE]", help="Write or print JSON.")
@click.option("--verbose", "-v", is_flag=True, help="Show messages of frameworks, and tracebacks.")
def probe(url: str, json_file: str | None, verbose: bool, **arguments: Any) -> int:
    """Ask what answers at URL, compare it with the model that it should be, and put it under load.

    Any server that speaks TF Serving's protocol, V2 (Triton, KServe, MLServer), KServe's V1 or TorchServe's will do.
    Exits with 3 if an answer is not the model's, if the endpoint disagrees with itself, or if a load gets no answer.
    """
    from xport.serve.probing import api

    output = Output(json=json_file == _STDOUT, verbose=verbose)
    targets = {"--report": arguments.pop("page")}
    targets["--json"] = None if json_file in (None, _STDOUT) else Path(str(json_file))
    check_targets(targets, (arguments["against"],) if arguments["against"] else (), None)
    rtol, atol = arguments.pop("rtol"), arguments.pop("atol")
    asked = served_fields(arguments.pop("headers"), arguments.pop("token_file"), arguments.pop("ca_file"))
    arguments["batch"] = arguments["batch"] or ()
    with output.progress() as tell:
        report = api.probe(
            url,
            tolerance=None if rtol is None and atol is None else (rtol or 0.0, atol or 0.0),
            names=names_from(arguments.pop("mapped")),
            progress=tell,
            verbose=verbose,
            command=typed_command("probe"),
            **asked,
            **arguments,
        )
    from xport.cli.probe_output import show

    tell_report(report, output, lambda: show(output, report), targets)
    return report.exit_code
