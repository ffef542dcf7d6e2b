"""What the server tells about itself: the page at ``/``, what the page shows, the OpenAPI document, the metrics."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

from xport.errors import ServingError
from xport.serve.embedded.exchange import Answer, Request
from xport.serve.embedded.metrics import Metrics
from xport.serve.embedded.openapi import document
from xport.serve.embedded.servable import Servable
from xport.serve.embedded.store import Store
from xport.serve.embedded.version import State
from xport.serve.protocols.json_text import write
from xport.signature import Signature, TensorSpec

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
_EXAMPLE_SIZE = 4096  # elements beyond which nobody would type an example


class Pages:
    """Answers the paths that belong to no protocol.

    Args:
        store: The models.
        metrics: What was counted.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics

    async def handle(self, request: Request) -> Answer:
        """Answer a request.

        Raises:
            ServingError: If there is no such page.
        """
        pages = {
            "/": lambda: Answer(_page(), "text/html; charset=utf-8", _HEADERS),
            "/metrics": lambda: Answer(self._metrics.text(), "text/plain; version=0.0.4; charset=utf-8"),
            "/openapi.json": lambda: Answer(write(document(self._store))),
            "/overview.json": lambda: Answer(write({"models": [self._row(s) for s in self._available()]})),
        }
        if request.path not in pages:
            raise ServingError(f"There is no {request.path}.", code="NOT_FOUND")
        if request.method not in ("GET", "HEAD"):
            raise ServingError(f"{request.path} takes GET, not {request.method}.", code="METHOD_NOT_ALLOWED")
        return pages[request.path]()

    def _available(self) -> list[Servable]:
        servables = [s for model in self._store.models.values() for s in model.servables.values()]
        return [s for s in servables if s.state is State.AVAILABLE and s.card is not None]

    def _row(self, servable: Servable) -> dict[str, Any]:
        _, endpoint = servable.endpoint()
        seconds = self._metrics.recent(servable.name, str(servable.version))
        at = [
            seconds[min(len(seconds) - 1, int(len(seconds) * p))] * 1e3 if seconds else None for p in (0.5, 0.9, 0.99)
        ]
        return {
            "name": servable.name,
            "version": servable.version,
            "about": _about(servable),
            "inputs": [_tensor(spec) for spec in endpoint.signature.inputs],
            "outputs": [_tensor(spec) for spec in endpoint.signature.outputs],
            "example": example(endpoint.signature),
            "requests": len(seconds),
            "latency_ms": at,
            "waiting": len(servable.queue),
        }


@functools.cache
def _page() -> bytes:
    return files("xport.serve.embedded").joinpath("page.html").read_bytes()


def _about(servable: Servable) -> str:
    card = servable.card
    if card is None:
        return ""
    proof = f"{card.golden} golden cases passed" if card.golden else "carries no golden inputs"
    made = f", made of {card.source}" if card.source else ""
    where = f"{servable.options.workers} worker(s)" if servable.options.workers else "in the server's process"
    return f"{card.format}{made}; {proof}; {where}"


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": None if spec.shape is None else list(spec.shape)}


def example(signature: Signature) -> dict[str, Any]:
    """A request in column form that fits a signature: zeros, and one for every size that varies."""
    return {"inputs": {spec.name: _zeros(spec) for spec in signature.inputs}}


def _zeros(spec: TensorSpec) -> Any:
    value: Any = {"bool": False, "string": ""}.get(spec.dtype, 0.0 if "float" in spec.dtype else 0)
    size = 1
    for dim in reversed([d if isinstance(d, int) else 1 for d in spec.shape or ()]):
        size *= dim
        if size > _EXAMPLE_SIZE:
            return f"{spec}: too large to show"
        value = [value] * dim
    return value
