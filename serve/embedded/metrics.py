"""Prometheus metrics: per model, version and protocol."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from xport.serve.embedded.batching import Item
from xport.serve.embedded.exchange import Request
from xport.serve.embedded.servable import Servable
from xport.serve.embedded.store import Store
from xport.serve.embedded.version import State

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_WHICH = ("model", "version")
_RECENT = 1000  # requests whose latency the page shows

_Children = tuple[Histogram, Histogram, Histogram, Histogram, deque[float]]


class Metrics:
    """What the server counts; `text` is its page."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter(
            "xport_requests", "Requests by what became of them.", (*_WHICH, "protocol", "status"), **made
        )
        self._latency = Histogram(
            "xport_request_seconds", "From the first byte to the answer.", _WHICH, buckets=_SECONDS, **made
        )
        self._wait = Histogram(
            "xport_queue_seconds", "How long requests wait for a worker.", _WHICH, buckets=_SECONDS, **made
        )
        self._run = Histogram("xport_batch_seconds", "How long batches run.", _WHICH, buckets=_SECONDS, **made)
        self._rows = Histogram("xport_batch_rows", "Rows of the batches.", _WHICH, buckets=_ROWS, **made)
        self._recent: dict[tuple[str, str], deque[float]] = {}
        # Looking up a child by its labels costs more than the observation.
        self._counter = functools.lru_cache(4096)(self._requests.labels)
        self._children = functools.lru_cache(1024)(self._make_children)

    def _make_children(self, model: str, version: str) -> _Children:
        recent = self._recent.setdefault((model, version), deque(maxlen=_RECENT))
        latency, wait, run, rows = (
            h.labels(model, version) for h in (self._latency, self._wait, self._run, self._rows)
        )
        return latency, wait, run, rows, recent

    def request(self, request: Request, status: int, seconds: float) -> None:
        """Count a request over HTTP."""
        protocol = "v2" if request.path.startswith("/v2") else "tf" if request.model else "other"
        self.call(request.model, request.version, protocol, str(status), seconds)

    def call(self, model: str, version: str, protocol: str, status: str, seconds: float) -> None:
        """Count a request of any protocol; the model is empty where it was not found, so that nobody fills the page."""
        self._counter(model, version, protocol, status).inc()
        if model:
            latency, *_, recent = self._children(model, version)
            latency.observe(seconds)
            recent.append(seconds)

    def batch(self, servable: Servable, batch: Sequence[Item], seconds: float) -> None:
        """Count a batch."""
        _, wait, run, rows, _ = self._children(servable.name, str(servable.version))
        for item in batch:
            wait.observe(item.started - item.arrived)
        run.observe(seconds)
        rows.observe(sum(item.rows for item in batch))

    def recent(self, model: str, version: str) -> list[float]:
        """The seconds that the last requests took, sorted."""
        return sorted(self._recent.get((model, version), ()))

    def watch(self, store: Store) -> None:
        """Show the store's state on the page, too."""
        self.registry.register(_StoreCollector(store))

    def text(self) -> bytes:
        """The page, in Prometheus' text format."""
        return generate_latest(self.registry)


class _StoreCollector:
    """What is read when the page is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily("xport_queue_requests", "Requests that wait for a worker.", labels=_WHICH)
        available = GaugeMetricFamily("xport_available", "1 where a version takes requests.", labels=_WHICH)
        restarts = CounterMetricFamily("xport_worker_restarts", "Workers that died and were replaced.", labels=_WHICH)
        for model in self._store.models.values():
            for number, servable in model.servables.items():
                which = (model.name, str(number))
                depth.add_metric(which, len(servable.queue))
                available.add_metric(which, float(servable.state is State.AVAILABLE))
                restarts.add_metric(which, servable.restarts)
        return depth, available, restarts
