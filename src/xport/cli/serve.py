"""``xport serve``."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from xport.cli.options import output_options
from xport.cli.output import Output
from xport.cli.run import Terminated
from xport.errors import UsageError

if TYPE_CHECKING:
    from xport.serve.launching.process import Server

LAUNCHED = ("tf-serving", "torchserve", "ray")
"""The engines of `xport.serve.engines` that can be started from here."""

_PACKAGES = ("aiohttp", "orjson", "prometheus_client", "grpc")
_OF_EVERY_ENGINE = {"models", "engine", "port", "inputs", "json", "verbose"}
_SERVERS = ("host", "max_batch", "max_delay", "max_queue", "max_body", "timeout", "device", "threads", "labels")
_CLUSTERS = ("replicas", "autoscale", "ray_address")
_TAKES = {
    "tf-serving": {*_OF_EVERY_ENGINE, "grpc_port", "allow_unverified"},
    "torchserve": {*_OF_EVERY_ENGINE, "grpc_port", "allow_unverified"},
    "ray": {*_OF_EVERY_ENGINE, *_SERVERS, *_CLUSTERS, "require_proof"},
}
"""The options by engine; the embedded server takes all but the others' own."""


@click.command(short_help="Serve models over TF Serving's and the open inference protocol.")
@click.argument("models", nargs=-1, required=True, metavar="[NAME=]MODEL…")
@click.option(
    "--engine",
    default="embedded",
    show_default=True,
    type=click.Choice(("embedded", *LAUNCHED)),
    help="What serves; the others are started with the bundle that xport package writes, or with models.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8501, show_default=True, type=click.IntRange(0, 65535), help="HTTP; 0 takes a free one."
)
@click.option("--grpc-port", default=8500, show_default=True, type=click.IntRange(0, 65535), help="gRPC.")
@click.option("--no-grpc", is_flag=True, help="Serve HTTP only.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(0, 256),
    help="Processes for each model; 0: none, the server runs it itself (sooner for small models, ends with them).",
)
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
@click.option("--allow-unverified", is_flag=True, help="Other engines: serve models that carry no proof.")
@click.option("--replicas", type=click.IntRange(1), help="ray: replicas of each version; 1 by default.")
@click.option("--autoscale", metavar="MIN:MAX", help="ray: as many replicas as the load needs.")
@click.option("--ray-address", metavar="HOST:PORT", help="ray: a running cluster; by default one is started here.")
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
    engine = settings.pop("engine")
    _refuse_others_options(engine)
    allow_unverified = settings.pop("allow_unverified")
    scale = {name: settings.pop(name) for name in _CLUSTERS}
    if engine == "ray":
        return _run_on_ray(output, models, settings, **scale)
    if engine != "embedded":
        return _run_engine(output, engine, models, settings["inputs"], allow_unverified)
    from xport.runtimes import require

    for package in _PACKAGES:
        require(package)
    import asyncio

    from xport.serve.embedded.catalogue import parse_model
    from xport.serve.embedded.logs import set_up
    from xport.serve.embedded.server import serve as run

    options = _options(settings)
    set_up(options.log_format, verbose=output.verbose)
    cut_off = asyncio.run(run([parse_model(text) for text in models], options))
    if cut_off is signal.SIGINT:
        raise KeyboardInterrupt
    if cut_off is not None:
        raise Terminated
    return 0


def _given() -> set[str]:
    context = click.get_current_context()
    return {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}


def _refuse_others_options(engine: str) -> None:
    """An option that the engine does not know must not be ignored."""
    foreign = _given() & {"allow_unverified", *_CLUSTERS} if engine == "embedded" else _given() - _TAKES[engine]
    if foreign:
        flags = ", ".join(sorted("--" + name.replace("_", "-") for name in foreign))
        told = f"Leave it out; {engine} is told by its bundle: xport package MODEL --engine {engine} -o DIR"
        fix = "Leave it out; `xport serve --help` says which option is whose."
        raise UsageError(f"The engine {engine} does not take {flags}.", fix if engine in ("embedded", "ray") else told)


def _run_engine(output: Output, engine: str, models: tuple[str, ...], inputs: tuple[str, ...], unproven: bool) -> int:
    from xport.serve.engines import launch

    ports = {"port": "rest_port", "grpc_port": "grpc_port"}
    chosen = {ports[name]: click.get_current_context().params[name] for name in _given() & set(ports)}
    opening = {"inputs": inputs} if inputs else None
    with output.progress() as tell:
        running = launch(engine, models, allow_unverified=unproven, opening=opening, progress=tell, **chosen)
    return _wait(output, engine, running)


def _run_on_ray(
    output: Output,
    models: tuple[str, ...],
    settings: dict[str, Any],
    *,
    replicas: int | None,
    autoscale: str | None,
    ray_address: str | None,
) -> int:
    from xport.serve.engines import launch
    from xport.serve.on_ray.spec import Scale

    if replicas and autoscale:
        raise UsageError("--replicas and --autoscale exclude each other.", "Give --autoscale MIN:MAX alone.")
    scale = Scale.parse(autoscale) if autoscale else Scale(replicas or 1, replicas or 1)
    with output.progress() as tell:
        running = launch("ray", models, options=_options(settings), scale=scale, address=ray_address, progress=tell)
    return _wait(output, "ray", running)


def _wait(output: Output, engine: str, running: Server) -> int:
    with running:
        found = {"engine": engine, "url": running.url, "grpc": running.grpc, "models": list(running.names)}
        if output.json:
            output.print_json({**found, **running.details, "notes": running.notes})
        else:
            for name, value in {**found, "models": ", ".join(running.names), **running.details}.items():
                output.line(f"{name + ':':8s} {value}")
            for note in running.notes:
                output.line(note)
        with contextlib.suppress(KeyboardInterrupt, Terminated):  # how a server ends that has done its work
            running.wait()
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
