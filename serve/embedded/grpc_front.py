"""gRPC: TF Serving's prediction and model services, and V2's inference service, on one port.

No generated code: a method is its name, the class of its request, and a function.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from xport.errors import InputsError, ServingError, UnsupportedError, XportError
from xport.serve.embedded.grpc_services import TfService, V2Service
from xport.serve.embedded.metrics import Metrics
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.store import Store
from xport.serve.protocols.status import GRPC_CODES

Function = Callable[[Any, "Call"], Awaitable[Any]]
_OPEN = ("ServerLive", "ServerReady")  # a probe has no token
_log = logging.getLogger("xport.serve")


class Call:
    """What a method learns about its call besides the request.

    Args:
        context: gRPC's.

    Attributes:
        timeout: Seconds that the client still waits; None if it waits for ever.
        model: The model's name, once it is known; for metrics.
        version: The version.
    """

    def __init__(self, context: Any) -> None:
        self.timeout: float | None = context.time_remaining()
        self.model = self.version = ""

    def note(self, servable: Any) -> None:
        """Remember which version answers."""
        self.model, self.version = servable.name, str(servable.version)


class GrpcFrontEnd:
    """The gRPC server.

    Args:
        store: The models.
        options: How the server behaves.
        metrics: Told of every call.
        tokens: Bearer tokens that are let in; none lets everybody in.

    Attributes:
        draining: Whether calls are refused because the server ends.
    """

    def __init__(self, store: Store, options: ServerOptions, metrics: Metrics, tokens: Sequence[bytes]) -> None:
        self._options, self._metrics, self._tokens = options, metrics, tokens
        self._services = (TfService(store, options), V2Service(store))
        self.draining = False
        self.in_flight = 0

    async def start(self) -> tuple[Any, int]:
        """Listen.

        Returns:
            gRPC's server and its port.

        Raises:
            OSError: If the port cannot be listened on.
        """
        most = self._options.max_body
        limits = [("grpc.max_receive_message_length", most), ("grpc.max_send_message_length", -1)]
        server = grpc.aio.server(options=[*limits, ("grpc.so_reuseport", 0)])
        for service in self._services:
            for name, methods in service.methods().items():
                handlers = {method: self._handler(method, *entry) for method, entry in methods.items()}
                server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        address = f"{host}:{self._options.grpc_port}"
        try:
            port = self._bind(server, address)
        except RuntimeError as error:
            raise OSError(errno.EADDRINUSE, str(error)) from error  # gRPC tells no errno; mostly it is this
        await server.start()
        return server, port

    def _bind(self, server: Any, address: str) -> int:
        if self._options.tls_cert is None or self._options.tls_key is None:
            return int(server.add_insecure_port(address))
        pair = (self._options.tls_key.read_bytes(), self._options.tls_cert.read_bytes())
        return int(server.add_secure_port(address, grpc.ssl_server_credentials([pair])))

    def _handler(self, method: str, request: Any, function: Function) -> Any:
        async def answer(message: Any, context: Any) -> Any:
            started, call, code = time.perf_counter(), Call(context), "OK"
            self.in_flight += 1
            try:
                self._admit(method, context)
                return await function(message, call)
            except XportError as error:
                code = _code(error)
                await context.abort(grpc.StatusCode[code], error.message)
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except Exception as error:
                if isinstance(error, grpc.aio.AbortError):
                    raise
                code = "INTERNAL"
                _log.exception("%s failed", method)
                await context.abort(grpc.StatusCode.INTERNAL, "Internal error; the server's log has the details.")
            finally:
                self.in_flight -= 1
                self._metrics.call(call.model, call.version, "grpc", code, time.perf_counter() - started)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
        )

    def _admit(self, method: str, context: Any) -> None:
        if self._tokens and method not in _OPEN:
            metadata = dict(context.invocation_metadata() or ())
            kind, _, token = str(metadata.get("authorization", "")).partition(" ")
            matches = [hmac.compare_digest(token.strip().encode(), known) for known in self._tokens]
            if kind.lower() != "bearer" or not any(matches):
                raise ServingError("A bearer token is needed: authorization: Bearer TOKEN", code="UNAUTHENTICATED")
        if self.draining:
            raise ServingError("The server is starting or shutting down.", code="UNAVAILABLE")


def _code(error: XportError) -> str:
    if isinstance(error, ServingError):
        return GRPC_CODES.get(error.code, error.code)
    if isinstance(error, UnsupportedError):
        return "UNIMPLEMENTED"
    return "INVALID_ARGUMENT" if isinstance(error, InputsError) else "INTERNAL"
