"""Sending requests that were made before, many at once: over HTTP with aiohttp, over gRPC with grpcio."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol

from xport.runtimes import require
from xport.serve.clients.address import Served
from xport.serve.clients.base import Exchange, Request
from xport.serve.clients.grpc import LIMITS, address, metadata
from xport.serve.clients.http import tls_context

REFUSED, BROKE, TIMED_OUT, UNAVAILABLE = "connection refused", "connection broken", "timed out", "UNAVAILABLE"
BROKEN = (REFUSED, BROKE, UNAVAILABLE)
"""What is counted where no answer came and none may be expected at once."""
Sent = tuple[str, bool, Exchange]
"""How it is counted, whether it was a success, and the answer."""
_NOTHING: Exchange = (b"", {})


class Sender(Protocol):
    """Sends requests; never raises for what a server does."""

    async def send(self, request: Request) -> Sent:
        """Send a request and wait for all of its answer."""
        ...


@contextlib.asynccontextmanager
async def open_sender(served: Served, clients: int | None) -> AsyncIterator[Sender]:
    """Connect.

    Args:
        served: Where.
        clients: How many connections at most; None for any number.

    Raises:
        MissingRuntimeError: If aiohttp or grpcio is missing.
    """
    if served.over_grpc:
        grpc = require("grpc")
        where, credentials = address(served.url, served.ca_file or None)
        options = [*LIMITS, ("grpc.use_local_subchannel_pool", 1)]
        plain = credentials is None
        aio: Any = grpc.aio
        channel = aio.insecure_channel(where, options) if plain else aio.secure_channel(where, credentials, options)
        async with channel:
            yield _GrpcSender(grpc, channel, served)
        return
    aiohttp = require("aiohttp")
    tls = tls_context(served.ca_file or None) if served.url.startswith("https") else True
    connector = aiohttp.TCPConnector(limit=clients or 0, ssl=tls)
    timeout = aiohttp.ClientTimeout(total=served.timeout)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=dict(served.headers), auto_decompress=True
    ) as session:
        yield _HttpSender(aiohttp, session, served)


class _HttpSender:
    def __init__(self, aiohttp: Any, session: Any, served: Served) -> None:
        self._aiohttp, self._session, self._base = aiohttp, session, served.url
        self._url: Any = require("yarl").URL

    async def send(self, request: Request) -> Sent:
        url = self._url(self._base + request.path, encoded=True)
        try:
            async with self._session.request(
                request.method, url, data=request.body, headers=request.headers, allow_redirects=False
            ) as answer:
                body = await answer.read()
                return str(answer.status), answer.status < 300, (body, dict(answer.headers))
        except TimeoutError:
            return TIMED_OUT, False, _NOTHING
        except (self._aiohttp.ClientConnectorError, ConnectionRefusedError):
            return REFUSED, False, _NOTHING
        except (self._aiohttp.ClientError, OSError):
            return BROKE, False, _NOTHING


class _GrpcSender:
    def __init__(self, grpc: Any, channel: Any, served: Served) -> None:
        self._grpc, self._channel = grpc, channel
        self._timeout, self._metadata = served.timeout, metadata(dict(served.headers))
        self._calls: dict[str, Any] = {}

    async def send(self, request: Request) -> Sent:
        call = self._calls.setdefault(request.path, self._channel.unary_unary(request.path))
        try:
            body = await call(request.body or b"", timeout=self._timeout, metadata=self._metadata)
        except self._grpc.RpcError as error:
            return error.code().name, False, _NOTHING
        return "OK", True, (bytes(body), {})
