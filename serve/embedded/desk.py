"""Who answers which path, who is let in, and what an error looks like: the same behind every transport."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Sequence

from xport.errors import ServingError
from xport.serve.embedded.exchange import Answer, Request
from xport.serve.protocols.json_text import write
from xport.serve.protocols.status import HTTP_STATUS

Handler = Callable[[Request], Awaitable[Answer]]
_OPEN = ("/v2/health/live", "/v2/health/ready", "/")  # a probe has no token, a browser none yet
_log = logging.getLogger("xport.serve")


class Desk:
    """Sends each request to the protocol that its path belongs to.

    Args:
        handlers: By prefix of the path, in order.
        tokens: Bearer tokens that are let in; none lets everybody in.

    Attributes:
        draining: Whether requests are refused because the server starts or ends.
    """

    def __init__(self, handlers: Sequence[tuple[str, Handler]], tokens: Sequence[bytes] = ()) -> None:
        self._handlers, self._tokens = handlers, tokens
        self.draining = False

    async def answer(self, request: Request) -> Answer:
        """Answer a request; whatever goes wrong becomes a status and a JSON object."""
        try:
            return await self._answer(request)
        except ServingError as error:
            return refusal(error)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            return refusal(ServingError("Internal error; the server's log has the details.", code="INTERNAL"))

    async def _answer(self, request: Request) -> Answer:
        path = request.path
        if self._tokens and path.lower() not in _OPEN and not self._is_let_in(request):
            raise ServingError("A bearer token is needed: Authorization: Bearer TOKEN", code="UNAUTHENTICATED")
        if self.draining and path.lower() != "/v2/health/live":
            raise ServingError("The server is starting or shutting down.", code="UNAVAILABLE")
        for prefix, handler in self._handlers:
            if path.startswith(prefix) or path.lower().startswith(prefix):
                return await handler(request)
        raise ServingError(f"There is no {path}.", code="NOT_FOUND")

    def _is_let_in(self, request: Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        # Every token is compared, in constant time: how long it takes tells nothing.
        matches = [hmac.compare_digest(given, known) for known in self._tokens]
        return kind.lower() == "bearer" and any(matches)


def refusal(error: ServingError) -> Answer:
    """What a client is told in place of an answer."""
    headers = {"Retry-After": "1"} if error.code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE") else {}
    if error.code == "UNAUTHENTICATED":
        headers["WWW-Authenticate"] = "Bearer"
    return Answer(write({"error": error.message}), headers=headers, status=HTTP_STATUS.get(error.code, 500))
