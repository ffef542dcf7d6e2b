"""Requests over gRPC, without generated code: a method is its path, a message its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xport.errors import ServingError, UsageError
from xport.runtimes import require
from xport.serve.clients.base import Exchange

LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
"""Options of a channel: answers may have any size."""


class GrpcTransport:
    """Sends requests to one server; may be used by several threads.

    Args:
        url: ``grpc://HOST:PORT``, or ``grpcs://…`` with TLS.
        headers: Sent with every request as metadata.
        timeout: Seconds for each request.
        ca_file: The certificates to trust; the system's by default.

    Raises:
        MissingRuntimeError: If grpcio is not installed.
        UsageError: If the URL is malformed.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        ca_file: str | Path | None = None,
    ) -> None:
        self._grpc: Any = require("grpc")
        self._address, credentials = address(url, ca_file)
        self._channel: Any = (
            self._grpc.insecure_channel(self._address, options=LIMITS)
            if credentials is None
            else self._grpc.secure_channel(self._address, credentials, options=LIMITS)
        )
        self._metadata = metadata(headers)
        self._timeout = timeout

    def exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Exchange:
        """Ask once.

        Raises:
            ServingError: If the server refuses or does not answer.
        """
        call = self._channel.unary_unary(path)
        try:
            return bytes(call(body or b"", timeout=self._timeout, metadata=self._metadata)), {}
        except self._grpc.RpcError as error:
            raise refusal(error.code().name, error.details() or "", self._address) from error

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._channel.close()


def address(url: str, ca_file: str | Path | None) -> tuple[str, Any]:
    """Host and port of a gRPC URL, and the credentials of its channel; None without TLS.

    Raises:
        UsageError: If the URL is malformed or the certificates cannot be read.
    """
    place = urlsplit(url)
    if place.scheme not in ("grpc", "grpcs") or not place.hostname or not place.port:
        raise UsageError(f"Malformed URL {url!r}.", "Write it with its port, like grpc://127.0.0.1:8500")
    host = f"[{place.hostname}]" if ":" in place.hostname else place.hostname
    if place.scheme == "grpc":
        return f"{host}:{place.port}", None
    try:
        roots = Path(ca_file).read_bytes() if ca_file is not None else None
    except OSError as error:
        raise UsageError(f"The certificates {ca_file} cannot be read: {error.strerror}", "Name a PEM file.") from error
    return f"{host}:{place.port}", require("grpc").ssl_channel_credentials(roots)


def metadata(headers: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Headers as gRPC takes them."""
    return [(name.lower(), value) for name, value in (headers or {}).items()]


def refusal(code: str, details: str, place: str) -> ServingError:
    """A status that is no success, as an error."""
    if code == "UNAVAILABLE":
        return ServingError(
            f"{place} does not answer over gRPC: {details}",
            "Is the server running, and is this its gRPC port?",
            code=code,
        )
    fix = ""
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        fix = "Give a token with --token-file FILE, or whatever header it wants with --header 'NAME: VALUE'."
    return ServingError(f"{code}: {details}", fix, code=code)
