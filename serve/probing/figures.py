"""The figures of a load: percentiles with intervals, throughput by the second."""

from __future__ import annotations

import numpy as np

from xport.serve.probing.load import Load, Record, by_second
from xport.serve.probing.results import LoadResult
from xport.validate.latency import CONFIDENCE, Interval, summarize

_BLOCKS = 40
_MOST_DRAWN = 10_000  # the bootstrap draws a thousand times as many
_DRAWN_PERCENTILES = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0)
_DRAWS = 1000


def summed_up(load: Load, record: Record, rows: int) -> LoadResult:
    """The figures of a load.

    Args:
        load: What was asked for.
        record: What happened.
        rows: Rows in each request.

    Returns:
        The figures. Requests close in time are not independent, so the intervals draw whole stretches of time.
    """
    taken = np.array([seconds for _, seconds in sorted(record.done)])
    seconds = max(record.end - record.begin, 1e-9)
    within = sum(record.begin <= at <= record.end for at, _ in record.done)
    latency = summarize(_blocks(taken).tolist()) if taken.size else None
    if latency is not None:
        p50, p90, p99 = (float(q) for q in np.quantile(taken, (0.5, 0.9, 0.99)))
        latency = type(latency)(
            p50, p90, p99, taken.size, latency.p50_interval, latency.p90_interval, latency.p99_interval,
            rounds=latency.rounds,
        )  # fmt: skip
    return LoadResult(
        load=load.text,
        kind="closed" if load.clients is not None else "open",
        clients=load.clients,
        rate=load.rate,
        seconds=seconds,
        rows=rows,
        statuses=dict(record.statuses.most_common()),
        latency=latency,
        p999=float(np.quantile(taken, 0.999)) if taken.size else None,
        longest=float(taken.max()) if taken.size else None,
        percentiles=tuple((p, float(np.percentile(taken, p))) for p in _drawable(taken.size)),
        throughput=within / seconds,
        throughput_interval=_mean_interval(list(by_second(record).values()), within / seconds),
        lag=float(np.quantile(record.lags, 0.99)) if record.lags else 0.0,
        client_share=record.client_share,
        distinct=record.distinct,
        early=record.early,
    )


def _drawable(count: int) -> list[float]:
    """The percentiles that so many answers can tell: at least one lies beyond."""
    return [p for p in _DRAWN_PERCENTILES if count * (100 - p) >= 100 or (p == 100 and count)]


def _blocks(taken: np.ndarray) -> np.ndarray:
    """Stretches of time of equally many answers, thinned evenly where there are very many."""
    thinned = taken[:: -(-taken.size // _MOST_DRAWN)]
    blocks = min(_BLOCKS, thinned.size)
    return thinned[: thinned.size // blocks * blocks].reshape(blocks, -1)


def _mean_interval(counts: list[int], mean: float) -> Interval:
    if len(counts) < 2:
        return mean, mean
    chosen = np.random.default_rng(0).integers(0, len(counts), (_DRAWS, len(counts)))
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.array(counts)[chosen].mean(axis=1), (outside, 1 - outside))
    return float(low), float(high)
