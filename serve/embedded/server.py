"""The server as a whole: it starts everything or nothing, and ends what it started."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import ssl
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from xport import posix
from xport.errors import UsageError
from xport.serve.embedded.catalogue import Model
from xport.serve.embedded.desk import Handler
from xport.serve.embedded.grpc_front import GrpcFrontEnd
from xport.serve.embedded.http import HttpFrontEnd, tls_context
from xport.serve.embedded.metrics import Metrics
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.pages import Pages
from xport.serve.embedded.servable import Servable
from xport.serve.embedded.store import Store
from xport.serve.embedded.tf_rest import TfRest
from xport.serve.embedded.v2_rest import V2Rest

_log = logging.getLogger("xport.serve")


class EmbeddedServer:
    """A running server; use it as an async context.

    Args:
        models: What to serve; see `xport.serve.embedded.catalogue.parse_model`.
        options: How.

    Attributes:
        port: The HTTP port that it listens on.
        grpc_port: The gRPC port; None if it serves none.
        store: Its models.
    """

    def __init__(self, models: Sequence[Model[Servable]], options: ServerOptions) -> None:
        self.options = options
        self.metrics = Metrics()
        self.store = Store(models, options, self.metrics.batch)
        self.metrics.watch(self.store)
        self.port = options.port
        self.grpc_port = options.grpc_port
        tokens = _tokens(options)
        self._front = HttpFrontEnd(options, self.metrics, self._handlers(), tokens)
        self._grpc = GrpcFrontEnd(self.store, options, self.metrics, tokens)
        self._exit = contextlib.AsyncExitStack()

    def _handlers(self) -> list[tuple[str, Handler]]:
        return [
            ("/v1/", TfRest(self.store).handle),
            ("/v2", V2Rest(self.store).handle),
            ("/", Pages(self.store, self.metrics).handle),
        ]

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            # The ports first: whoever starts a second server learns it before a model was loaded.
            self._front.desk.draining = self._grpc.draining = True  # until the models are loaded
            await self._listen_http(stack)
            if self.options.grpc_port is not None:
                await self._listen_grpc(stack)
            stack.push_async_callback(self.store.unload, self.options.drain_timeout)
            await self.store.load()
            watch = asyncio.create_task(self.store.watch())
            stack.push_async_callback(_cancel, watch)
            self._front.desk.draining = self._grpc.draining = False
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()
        await self._exit.aclose()

    async def drain(self) -> None:
        """Refuse what comes (503) and let what is in flight finish."""
        self._front.desk.draining = self._grpc.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.options.drain_timeout):
                while self._front.in_flight + self._grpc.in_flight:
                    await asyncio.sleep(0.01)

    async def _listen_http(self, stack: contextlib.AsyncExitStack) -> None:
        http = self._front.server()
        try:
            context = tls_context(self.options)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"The certificate {self.options.tls_cert} with the key {self.options.tls_key} cannot be used: {error}",
                "Name a PEM chain and its key: --tls-cert cert.pem --tls-key key.pem",
            ) from error
        try:
            listener = await asyncio.get_running_loop().create_server(
                http, self.options.host, self.options.port, ssl=context, backlog=1024
            )
        except OSError as error:
            raise cannot_listen(self.options.host, self.options.port, error, "--port") from error
        self.port = listener.sockets[0].getsockname()[1]

        async def close() -> None:
            listener.close()
            http.pre_shutdown()
            await http.shutdown(1.0)
            await listener.wait_closed()

        stack.push_async_callback(close)

    async def _listen_grpc(self, stack: contextlib.AsyncExitStack) -> None:
        try:
            server, self.grpc_port = await self._grpc.start()
        except OSError as error:
            raise cannot_listen(self.options.host, self.options.grpc_port or 0, error, "--grpc-port") from error
        stack.push_async_callback(server.stop, 1.0)


async def serve(models: Sequence[Model[Servable]], options: ServerOptions) -> signal.Signals | None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight.

    Returns:
        The signal that came before anything was served; None if it served.

    Raises:
        XportError: If the server cannot start; nothing is left running.
    """
    posix.check("The embedded server")
    loop, stop = asyncio.get_running_loop(), asyncio.Queue[signal.Signals]()
    for number in (signal.SIGTERM, signal.SIGINT):
        posix.on_signal(loop, number, partial(stop.put_nowait, number))
    starting = asyncio.create_task(EmbeddedServer(models, options).__aenter__())
    stopping = asyncio.create_task(stop.get())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        await _cancel(starting)
        return stopping.result()
    server = await starting
    scheme = "https" if options.tls_cert else "http"
    if server.grpc_port is not None:
        _log.info("gRPC on %s:%d", options.host, server.grpc_port)
    _log.info("Serving %s on %s://%s:%d", ", ".join(server.store.models), scheme, options.host, server.port)
    try:
        await stopping
        _log.info("Finishing what is in flight.")
    finally:
        await server.__aexit__(None, None, None)
    return None


def cannot_listen(host: str, port: int, error: OSError, option: str) -> UsageError:
    """The error for an address that cannot be listened on."""
    if error.errno == errno.EADDRINUSE:
        return UsageError(f"Port {port} on {host} is in use by another process.", f"Take another one: {option} 0")
    return UsageError(f"{host}:{port} cannot be listened on: {error.strerror or error}", f"Check --host and {option}.")


def _tokens(options: ServerOptions) -> list[bytes]:
    if options.token_file is None:
        return []
    try:
        lines = options.token_file.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{options.token_file} cannot be read: {error.strerror}.", "Check --token-file.") from error
    tokens = [line.strip() for line in lines if line.strip()]
    if not tokens:
        raise UsageError(f"{options.token_file} holds no token.", "Write one a line: openssl rand -hex 32 > tokens")
    return tokens


async def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
