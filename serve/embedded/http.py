"""HTTP: who answers which path, who is let in, and what an error looks like."""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.web_request import BaseRequest

from xport.errors import ServingError
from xport.serve.embedded.http_body import Answer, Request
from xport.serve.embedded.metrics import Metrics
from xport.serve.embedded.options import ServerOptions
from xport.serve.protocols.json_text import write
from xport.serve.protocols.status import HTTP_STATUS

Handler = Callable[[Request], Awaitable[Answer]]
_OPEN = ("/v2/health/live", "/v2/health/ready", "/")  # a probe has no token, a browser none yet
_LINGER = 2.0  # seconds in which a refused body may end, so that its client reads the answer
_log = logging.getLogger("xport.serve")
_access = logging.getLogger("xport.serve.access")


class HttpFrontEnd:
    """Sends each request to the protocol that its path belongs to.

    Args:
        options: How the server behaves.
        metrics: Told of every request.
        handlers: By prefix of the path, in order.
        tokens: Bearer tokens that are let in; none lets everybody in.

    Attributes:
        draining: Whether requests are refused because the server ends.
    """

    def __init__(
        self, options: ServerOptions, metrics: Metrics, handlers: Sequence[tuple[str, Handler]], tokens: Sequence[bytes]
    ) -> None:
        self._options, self._metrics, self._handlers = options, metrics, handlers
        self._tokens = tokens
        self.draining = False
        self.in_flight = 0

    def server(self) -> web.Server:
        """The low-level server of aiohttp: the paths here are not what its router is for."""
        return web.Server(
            self.handle,
            handler_cancellation=True,  # a client that leaves takes its request with it
            keepalive_timeout=self._options.idle_timeout,
            lingering_time=_LINGER,
            access_log=None,
            logger=logging.getLogger("xport.serve.http"),
        )

    async def handle(self, raw: BaseRequest) -> web.StreamResponse:
        """Answer a request; whatever goes wrong becomes a status and a JSON object."""
        started = time.perf_counter()
        request = Request(raw, max_body=self._options.max_body, timeout=self._options.body_timeout)
        self.in_flight += 1
        try:
            answer = await self._answer(request)
        except ServingError as error:
            answer = _refusal(error)
        except asyncio.CancelledError:
            self._metrics.request(request, 499, time.perf_counter() - started)
            raise
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            answer = _refusal(ServingError("Internal error; the server's log has the details.", code="INTERNAL"))
        finally:
            self.in_flight -= 1
        seconds = time.perf_counter() - started
        self._metrics.request(request, answer.status, seconds)
        if self._options.access_log:
            self._tell(request, answer, seconds)
        return self._response(raw, answer)

    async def _answer(self, request: Request) -> Answer:
        path = request.path
        if self._tokens and path.lower() not in _OPEN and not self._is_let_in(request):
            raise ServingError("A bearer token is needed: Authorization: Bearer TOKEN", code="UNAUTHENTICATED")
        if self.draining and path.lower() != "/v2/health/live":
            raise ServingError("The server is starting or shutting down.", code="UNAVAILABLE")
        for prefix, handler in self._handlers:
            if path.startswith(prefix) or path.lower().startswith(prefix):
                return await handler(request)
        raise ServingError(f"Malformed request: {request.method} {path}", code="NOT_FOUND")

    def _is_let_in(self, request: Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        # Every token is compared, in constant time: how long it takes tells nothing.
        matches = [hmac.compare_digest(given, known) for known in self._tokens]
        return kind.lower() == "bearer" and any(matches)

    def _response(self, raw: BaseRequest, answer: Answer) -> web.Response:
        response = web.Response(body=answer.body, status=answer.status, headers={"Content-Type": answer.content_type})
        response.headers.update(answer.headers)
        if self.draining or (answer.status >= 400 and not raw.content.is_eof()):
            response.force_close()  # what is left of the body is not worth reading
        return response

    def _tell(self, request: Request, answer: Answer, seconds: float) -> None:
        fields = {
            "method": request.method,
            "path": request.path,
            "status": answer.status,
            "ms": round(seconds * 1e3, 3),
            "bytes": len(answer.body),
            "model": request.model,
            "version": request.version,
        }
        _access.info("%(method)s %(path)s %(status)s %(ms)s ms", fields, extra={"fields": fields})


def _refusal(error: ServingError) -> Answer:
    headers = {"Retry-After": "1"} if error.code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE") else {}
    if error.code == "UNAUTHENTICATED":
        headers["WWW-Authenticate"] = "Bearer"
    return Answer(write({"error": error.message}), headers=headers, status=HTTP_STATUS.get(error.code, 500))


def tls_context(options: ServerOptions) -> ssl.SSLContext | None:
    """The TLS settings; None without a certificate.

    Raises:
        OSError: If a file cannot be read.
        ssl.SSLError: If certificate and key do not fit.
    """
    if options.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context
