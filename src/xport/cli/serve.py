"""``xport serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xport.cli.options import output_options
from xport.cli.output import Output
from xport.errors import UsageError

_PACKAGES = ("aiohttp", "orjson", "prometheus_client", "grpc")


@click.command(short_help="Serve models over TF Serving's and the open inference protocol.")
@click.argument("models", nargs=-1, required=True, metavar="[NAME=]MODEL…")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8501, show_default=True, type=click.IntRange(0, 65535), help="HTTP; 0 takes a free one."
)
@click.option("--grpc-port", default=8500, show_default=True, type=click.IntRange(0, 65535), help="gRPC.")
@click.option("--no-grpc", is_flag=True, help="Serve HTTP only.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes for each model.")
@click.option("--max-batch", default=32, show_default=True, type=click.IntRange(1), help="Rows put together; 1: none.")
@click.option("--max-delay", default="2ms", show_default=True, help="How long a request may wait for others.")
@click.option("--max-queue", default=1000, show_default=True, type=click.IntRange(1), help="Requests that may wait.")
@click.option("--max-body", default="64MB", show_default=True, help="The largest body, decompressed.")
@click.option("--timeout", default="30s", show_default=True, help="When a request is given up.")
@click.option(
    "--device", default="cpu", show_default=True, type=click.Choice(("cpu", "cuda")), help="Where models run."
)
@click.option("--threads", type=click.IntRange(1), help="Threads of each worker's runtime.")
@click.option("--input", "inputs", metavar="SPEC", multiple=True, help="An input of a model that does not record its.")
@click.option("--label", "labels", metavar="NAME:LABEL=VERSION", multiple=True, help="A label for a version.")
@click.option("--poll", default="2s", show_default=True, help="How often to look for new versions; 0: never.")
@click.option("--require-proof", is_flag=True, help="Refuse models that carry no golden inputs.")
@click.option("--token-file", type=click.Path(path_type=Path), help="Bearer tokens that are let in, one a line.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="The certificate chain, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, PEM.")
@click.option("--log-format", default="text", show_default=True, type=click.Choice(("text", "json")))
@click.option("--access-log", is_flag=True, help="Log every request.")
@output_options
def serve(output: Output, models: tuple[str, ...], **settings: Any) -> int:
    """Serve models until SIGTERM: files of any format, SavedModel folders, or folders with numbered versions.

    A version takes requests only after its golden inputs have passed.
    """
    from xport.runtimes import require

    for package in _PACKAGES:
        require(package)
    import asyncio

    from xport.serve.embedded.logs import set_up
    from xport.serve.embedded.server import serve as run
    from xport.serve.embedded.store import parse_model

    options = _options(settings)
    set_up(options.log_format, verbose=output.verbose)
    asyncio.run(run([parse_model(text) for text in models], options))
    return 0


def _options(settings: dict[str, Any]) -> Any:
    from xport.serve.embedded.options import ServerOptions, parse_bytes, parse_seconds
    from xport.signature import TensorSpec

    for name in ("max_delay", "timeout", "poll"):
        settings[name] = parse_seconds(settings[name])
    settings["max_body"] = parse_bytes(settings["max_body"])
    settings["inputs"] = tuple(TensorSpec.parse(text) for text in settings["inputs"])
    settings["labels"] = _labels(settings["labels"])
    if settings.pop("no_grpc"):
        settings["grpc_port"] = None
    if (settings["tls_cert"] is None) != (settings["tls_key"] is None):
        raise UsageError("A certificate and its key belong together.", "Give both --tls-cert and --tls-key.")
    return ServerOptions(**settings)


def _labels(texts: tuple[str, ...]) -> dict[str, dict[str, int]]:
    labels: dict[str, dict[str, int]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        label, equals, version = rest.partition("=")
        if not (name and colon and label and equals and version.isdigit()):
            raise UsageError(f"Malformed label {text!r}.", "Write it like --label resnet:stable=3")
        labels.setdefault(name, {})[label] = int(version)
    return labels
