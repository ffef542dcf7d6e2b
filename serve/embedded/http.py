"""HTTP on aiohttp: connections, metrics, the access log."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence

from aiohttp import web
from aiohttp.web_request import BaseRequest

from xport.serve.embedded.desk import Desk, Handler
from xport.serve.embedded.exchange import Answer, Request
from xport.serve.embedded.http_body import HttpRequest
from xport.serve.embedded.metrics import Metrics
from xport.serve.embedded.options import ServerOptions

_LINGER = 2.0  # seconds in which a refused body may end, so that its client reads the answer
_access = logging.getLogger("xport.serve.access")


class HttpFrontEnd:
    """A desk behind aiohttp's server.

    Args:
        options: How the server behaves.
        metrics: Told of every request.
        handlers: By prefix of the path, in order.
        tokens: Bearer tokens that are let in; none lets everybody in.

    Attributes:
        desk: Who answers.
        in_flight: How many requests are being answered.
    """

    def __init__(
        self, options: ServerOptions, metrics: Metrics, handlers: Sequence[tuple[str, Handler]], tokens: Sequence[bytes]
    ) -> None:
        self._options, self._metrics = options, metrics
        self.desk = Desk(handlers, tokens)
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
        """Answer a request."""
        started = time.perf_counter()
        request = HttpRequest(raw, max_body=self._options.max_body, timeout=self._options.body_timeout)
        self.in_flight += 1
        try:
            answer = await self.desk.answer(request)
        except asyncio.CancelledError:
            self._metrics.request(request, 499, time.perf_counter() - started)
            raise
        finally:
            self.in_flight -= 1
        seconds = time.perf_counter() - started
        self._metrics.request(request, answer.status, seconds)
        if self._options.access_log:
            self._tell(request, answer, seconds)
        return self._response(raw, answer)

    def _response(self, raw: BaseRequest, answer: Answer) -> web.Response:
        response = web.Response(body=answer.body, status=answer.status, headers={"Content-Type": answer.content_type})
        response.headers.update(answer.headers)
        if self.desk.draining or (answer.status >= 400 and not raw.content.is_eof()):
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
