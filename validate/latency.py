"""Latency of several runtimes, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

WARM_UP_ROUNDS = 5
"""Rounds that are run and not counted; the first ones load code and fill caches."""


@dataclass(frozen=True)
class Latency:
    """What one runtime took per call.

    Attributes:
        p50: Median, in seconds.
        p90: 90th percentile, in seconds.
        p99: 99th percentile, in seconds.
        runs: How many calls were measured.
    """

    p50: float
    p90: float
    p99: float
    runs: int


def measure(calls: Mapping[str, Callable[[], Any]], *, rounds: int = 50) -> dict[str, Latency]:
    """Time calls in interleaved rounds, so that a drift of the machine hits all of them alike.

    Args:
        calls: What to time, by name.
        rounds: How often each is timed, after a warm-up.

    Returns:
        Latency by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(WARM_UP_ROUNDS + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            elapsed = time.perf_counter() - start
            if turn >= WARM_UP_ROUNDS:
                seconds[name].append(elapsed)
    return {name: _summary(np.array(values)) for name, values in seconds.items()}


def _summary(values: np.ndarray) -> Latency:
    p50, p90, p99 = (float(np.quantile(values, q)) for q in (0.5, 0.9, 0.99))
    return Latency(p50, p90, p99, len(values))
