"""`xport.probe`: is what answers at a URL the model that it should be?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xport.convert.source import Source, open_source
from xport.errors import InputsError, UsageError
from xport.serve.clients.address import Served, is_url, parse_url
from xport.serve.probing.load import parse_load
from xport.serve.probing.results import ProbeReport
from xport.serve.probing.run import Plan, run
from xport.signature import TensorSpec
from xport.validate.verdicts import Tolerance

PROTOCOLS = ("auto", "tf-serving", "v2", "torchserve")
"""What ``--protocol`` takes."""

_GRPC_PORTS = {8501: 8500, 8000: 8001, 8080: 8081, 9000: 8081}
"""The usual gRPC port beside an HTTP port: TF Serving's, Triton's, KServe's and MLServer's."""


def probe(
    url: str,
    *,
    against: Any = None,
    protocol: str = "auto",
    grpc: bool = False,
    grpc_port: int | None = None,
    model: str = "",
    versions: Sequence[int | str] = (),
    signature: str = "",
    batch: int | Sequence[int] = (),
    inputs: Iterable[TensorSpec | str] = (),
    input_data: Any = None,
    seed: int = 0,
    runs: int | None = None,
    threads: int | None = None,
    load: str | Sequence[str] = (),
    tolerance: Tolerance | tuple[float, float] | None = None,
    names: Mapping[str, str] | None = None,
    arch: str | None = None,
    trust_pickle: bool = False,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ca_file: str | Path = "",
    timeout: float = 30.0,
    progress: Callable[[str], None] | None = None,
    verbose: bool = False,
    command: str = "",
) -> ProbeReport:
    """Ask a served model, compare its answers, and put loads on it.

    Args:
        url: A server (``http://host:8501``) or a model on it (``http://host:8501/v1/models/NAME``); TF Serving's REST,
            V2, KServe's V1 and TorchServe are spoken, and TF Serving's gRPC and V2's after ``grpc://``.
        against: The artifact that should be served, or its source: a path, a ``zoo:`` name or a live ``nn.Module``.
            Without it the endpoint is compared with itself only, which proves nothing about the model.
        protocol: One of `PROTOCOLS`.
        grpc: Ask over gRPC, too, and compare.
        grpc_port: Where gRPC is spoken; the usual one beside the URL's port by default.
        model: The model's name, where the URL does not say it.
        versions: Versions to ask; the server's choice by default.
        signature: A signature of TF Serving.
        batch: Batch sizes; by default 1 and 8, or those of the user's inputs.
        inputs: Specs of the inputs, for artifacts that do not record them.
        input_data: The user's own inputs, as `xport.validate` takes them.
        seed: For the inputs that are drawn.
        runs: Counted calls for the latency at each batch size; 0 for none.
        threads: How many threads the artifact's runtime may use.
        load: Loads, one after the other: ``64x30s`` (64 clients, 30 seconds), ``200rpsx30s`` (200 requests a second).
        tolerance: Own limits, ``(rtol, atol)``, instead of the rounding floor.
        names: The server's names by the artifact's, where they differ.
        arch: ``package.module:factory`` for a state dict.
        trust_pickle: Allow code in the artifact to run.
        headers: Sent with every request.
        ca_file: The certificates to trust; the system's by default.
        timeout: Seconds a request may take.
        progress: Told in a few words what begins.
        verbose: Let the frameworks' messages through.
        command: What the report says repeats the run.

    Returns:
        The report; call its ``check`` to have a failure raised. Ctrl-C ends the probe with what was found so far.

    Raises:
        UsageError: If the URL is malformed, the server has no such model, or interfaces do not match.
        ServingError: If nobody answers, or the answers are no protocol's.
        UnreadableModelError: If the artifact cannot be read.

    Example:
        >>> xport.probe("http://127.0.0.1:8501/v1/models/digits", against="digits.onnx").check()  # doctest: +SKIP
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"Unknown protocol {protocol!r}.", f"Use one of {', '.join(PROTOCOLS)}.")
    if against is not None and is_url(against):
        raise UsageError(
            "An endpoint cannot be what another one is compared with here.", f"xport validate {against} {url}"
        )
    if isinstance(input_data, str | Path) and not Path(input_data).exists():
        raise InputsError(f"{input_data} does not exist.", "Check the path given with --inputs.")
    loads = tuple(parse_load(text) for text in ((load,) if isinstance(load, str) else load))
    pairs = tuple(headers.items()) if isinstance(headers, Mapping) else tuple(headers)
    known = {"protocol": protocol, "model": model, "signature": signature, "timeout": timeout}
    served = parse_url(url, headers=pairs, ca_file=str(ca_file or ""), **known)
    specs = tuple(TensorSpec.parse(spec) if isinstance(spec, str) else spec for spec in inputs)
    return run(
        Plan(
            served=served,
            over_grpc=_grpc_side(served, grpc_port) if grpc or grpc_port is not None else None,
            versions=_versions(served, versions),
            against=_open(against, arch, trust_pickle, specs) if against is not None else None,
            specs=specs,
            batches=(batch,) if isinstance(batch, int) else tuple(batch),
            input_data=input_data,
            seed=seed,
            runs=runs,
            threads=threads,
            loads=loads,
            tolerance=Tolerance(*tolerance) if isinstance(tolerance, tuple) else tolerance,
            names=dict(names or {}),
            verbose=verbose,
            command=command or f"xport.probe({url!r})",
            tell=progress or (lambda _: None),
        )
    )


def _open(against: Any, arch: str | None, trust_pickle: bool, specs: tuple[TensorSpec, ...]) -> Source:
    return open_source(against, arch=arch, trust_pickle=trust_pickle, inputs=specs)


def _versions(served: Served, asked: Sequence[int | str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(str(version) for version in asked))
    if found and (served.version or served.label):
        raise UsageError("The URL names a version, and --version does, too.", "Leave one of them out.")
    return found or (served.version,)


def _grpc_side(served: Served, port: int | None) -> Served:
    """The same server over gRPC."""
    if served.over_grpc:
        raise UsageError("The URL is one of gRPC already.", "Leave --grpc out, or write the http:// URL.")
    scheme, _, rest = served.url.partition("://")
    place = rest.partition("/")[0]
    host, _, own = place.rpartition(":") if place.rpartition("]")[2].count(":") == 1 else (place, "", "")
    usual = _GRPC_PORTS.get(int(own or 0))
    if port is None and usual is None:
        raise UsageError(
            f"Nothing tells the gRPC port beside {place}.", "Add --grpc-port, for example --grpc-port 8500"
        )
    scheme = "grpcs" if scheme == "https" else "grpc"
    return replace(served, url=f"{scheme}://{host}:{port or usual}", form="")
