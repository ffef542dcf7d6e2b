"""What a server is told when it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xport.errors import UsageError
from xport.signature import TensorSpec

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class ServerOptions:
    """How the embedded server behaves.

    Attributes:
        host: The address to listen on.
        port: The port for HTTP; 0 takes a free one.
        grpc_port: The port for gRPC; 0 takes a free one, None serves no gRPC.
        workers: Processes for each version of a model; 0 runs models in the server's own.
        max_batch: The most rows that requests are put together to; 1 runs each request alone.
        max_delay: The most seconds that a request waits for others.
        max_queue: The most requests of one version that wait; the next is refused (429).
        max_body: The most bytes of a request's body, also after decompression.
        timeout: Seconds until a request without a deadline of its own is given up (504).
        body_timeout: Seconds in which a request's body must have arrived (408).
        idle_timeout: Seconds after which a connection without a complete request is closed.
        drain_timeout: Seconds that requests in flight have to finish when the server ends.
        poll: Seconds between two looks for new versions; 0 never looks again.
        device: Where models run: ``cpu`` or ``cuda``.
        threads: Threads of each worker's runtime; None shares the cores among the workers.
        require_proof: Refuse models that carry no golden inputs.
        token_file: A file with the bearer tokens that are let in, one a line; None lets everybody in.
        tls_cert: The certificate chain, PEM.
        tls_key: Its key, PEM.
        labels: By model name, version by label.
        inputs: Inputs of models that do not record theirs.
        log_format: ``text`` or ``json``.
        access_log: Log every request.
    """

    host: str = "127.0.0.1"
    port: int = 8501
    grpc_port: int | None = 8500
    workers: int = 1
    max_batch: int = 32
    max_delay: float = 0.002
    max_queue: int = 1000
    max_body: int = 64 * 10**6
    timeout: float = 30.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    drain_timeout: float = 30.0
    poll: float = 2.0
    device: str = "cpu"
    threads: int | None = None
    require_proof: bool = False
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    inputs: tuple[TensorSpec, ...] = ()
    log_format: str = "text"
    access_log: bool = False


def parse_seconds(text: str) -> float:
    """Seconds from ``2ms``, ``0.5s``, ``1m``; a bare number is seconds.

    Raises:
        UsageError: If it is no duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    if not match or (match[2] or "s") not in _SECONDS:
        raise UsageError(f"Malformed duration {text!r}.", "Write it like 2ms, 0.5s or 1m.")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def parse_bytes(text: str) -> int:
    """Bytes from ``64MB``, ``1GiB``; a bare number is bytes.

    Raises:
        UsageError: If it is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if not match or match[2].upper() not in _BYTES:
        raise UsageError(f"Malformed size {text!r}.", "Write it like 64MB or 1GiB.")
    return int(float(match[1]) * _BYTES[match[2].upper()])
