"""Latency of several runtimes, measured side by side, with intervals.

Calls are counted in rounds: in each round every runtime has its turn, so that a drift of the machine hits all of them
alike. The calls of one turn follow each other and are not independent, so the bootstrap draws whole rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WARM_UP_ROUNDS = 5
"""Rounds that are run and not counted; the first ones load code and fill caches."""

CONFIDENCE = 0.95
"""How often an interval holds the true value."""

LEAST_FACTOR = 1.1
"""Processes of one and the same model differ by up to this factor, by where their memory lies."""

LEAST_ROUNDS = 6
"""Fewer say nothing: that one of two equal runtimes wins each of five rounds happens in 1 of 16 runs (sign test)."""

TIMES = "\N{MULTIPLICATION SIGN}"

_DRAWS = 1000
_WIDE = 1.5
_QUANTILES = (0.5, 0.9, 0.99)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Latency:
    """What one runtime took per call, in seconds.

    Attributes:
        p50: Median.
        p90: 90th percentile.
        p99: 99th percentile; of fewer than 100 runs nearly the largest.
        runs: How many calls were measured.
        p50_interval: Where the true median lies.
        p90_interval: Where the true 90th percentile lies.
        p99_interval: Where the true 99th percentile lies.
        warm_up: Calls before the counting began.
        steady: Whether the calls had stopped getting faster by then.
        rounds: The measured calls by round.
    """

    p50: float
    p90: float
    p99: float
    runs: int
    p50_interval: Interval = (0.0, 0.0)
    p90_interval: Interval = (0.0, 0.0)
    p99_interval: Interval = (0.0, 0.0)
    warm_up: int = 0
    steady: bool = True
    rounds: tuple[tuple[float, ...], ...] = field(default=(), repr=False)

    @property
    def samples(self) -> tuple[float, ...]:
        """Every measured call."""
        return tuple(seconds for turn in self.rounds for seconds in turn)

    def to_json(self) -> dict[str, Any]:
        """A JSON form that `from_json` reads back."""
        return {
            **{name: getattr(self, name) for name in ("p50", "p90", "p99", "runs", "warm_up", "steady")},
            **{f"{name}_interval": list(getattr(self, f"{name}_interval")) for name in ("p50", "p90", "p99")},
            "rounds": [list(turn) for turn in self.rounds],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Latency:
        """Read what `to_json` wrote."""
        plain = {name: data[name] for name in ("p50", "p90", "p99", "runs", "warm_up", "steady")}
        intervals: dict[str, Any] = {
            f"{name}_interval": tuple(data[f"{name}_interval"]) for name in ("p50", "p90", "p99")
        }
        return cls(**plain, **intervals, rounds=tuple(tuple(turn) for turn in data["rounds"]))


@dataclass(frozen=True)
class Comparison:
    """Two runtimes that took turns.

    Attributes:
        name: The one that is compared.
        other: What it is compared with.
        times: How many times as fast as the other it is, by the medians; below one it is slower.
        interval: Where the true factor lies.
        distinct: Whether the medians' intervals are separate and the factor is at least `LEAST_FACTOR`.
        rounds: How many rounds both were in; fewer than `LEAST_ROUNDS` tell nothing.
    """

    name: str
    other: str
    times: float
    interval: Interval
    distinct: bool
    rounds: int = LEAST_ROUNDS

    def __str__(self) -> str:
        if self.rounds < LEAST_ROUNDS:
            return f"{self.name} and {self.other} ran too few rounds ({self.rounds}) to tell which is faster"
        if not self.distinct:
            return f"{self.name} and {self.other} are equally fast within noise"
        low, high = self.interval
        if self.times >= 1:
            return _faster(self.name, self.other, self.times, low, high)
        return _faster(self.other, self.name, 1 / self.times, 1 / high, 1 / low)

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {**self.__dict__, "interval": list(self.interval), "words": str(self)}


def _faster(name: str, other: str, times: float, low: float, high: float) -> str:
    """The factor in words; where its interval is wide, only what is certain."""
    ends = f"{_factor(low)} to {_factor(high)}"
    if high > _WIDE * low:
        return f"{name} is at least {_factor(max(low, 1.0))} {TIMES} faster than {other} (unsteady: {ends})"
    return f"{name} is {_factor(times)} {TIMES} faster than {other} ({ends})"


def _factor(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1.95 else f"{value:.2f}"


def measure(calls: Mapping[str, Callable[[], Any]], *, rounds: int = 50) -> dict[str, Latency]:
    """Time calls of this process in interleaved rounds, so that a drift of the machine hits all of them alike.

    Args:
        calls: What to time, by name.
        rounds: How often each is timed, after a warm-up.

    Returns:
        Latency by name.
    """
    seconds: dict[str, list[tuple[float, ...]]] = {name: [] for name in calls}
    for turn in range(WARM_UP_ROUNDS + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            elapsed = time.perf_counter() - start
            if turn >= WARM_UP_ROUNDS:
                seconds[name].append((elapsed,))
    return {name: summarize(values, warm_up=WARM_UP_ROUNDS) for name, values in seconds.items()}


def summarize(rounds: Sequence[Sequence[float]], *, warm_up: int = 0, steady: bool = True) -> Latency:
    """Percentiles of measured calls, with bootstrap intervals.

    Args:
        rounds: Seconds by round; every round has the same number of calls.
        warm_up: Calls before the counting began.
        steady: Whether the calls had stopped getting faster by then.

    Returns:
        The latency.
    """
    values = np.array(rounds)
    p50, p90, p99 = (float(q) for q in np.quantile(values, _QUANTILES))
    drawn = np.quantile(_drawn(values), _QUANTILES, axis=1)
    i50, i90, i99 = (_interval(row) for row in drawn)
    kept = tuple(tuple(float(v) for v in row) for row in values)
    return Latency(p50, p90, p99, values.size, i50, i90, i99, warm_up=warm_up, steady=steady, rounds=kept)


def compare(name: str, latency: Latency, other_name: str, other: Latency) -> Comparison:
    """Say which of two runtimes is faster, if that can be said.

    Args:
        name: The one that is compared.
        latency: What it took.
        other_name: What it is compared with.
        other: What that took, in the same rounds.

    Returns:
        The comparison; its factor's interval draws the same rounds for both.
    """
    times = other.p50 / latency.p50
    paired = min(len(latency.rounds), len(other.rounds))
    own, others = (_drawn(np.array(each.rounds[:paired])) for each in (latency, other))
    interval = _interval(np.median(others, axis=1) / np.median(own, axis=1))
    (low, high), (other_low, other_high) = latency.p50_interval, other.p50_interval
    apart = paired >= LEAST_ROUNDS and (high < other_low or other_high < low)
    return Comparison(name, other_name, times, interval, apart and max(times, 1 / times) >= LEAST_FACTOR, paired)


def _drawn(values: np.ndarray) -> np.ndarray:
    """Bootstrap samples [draws, calls]: whole rounds, with replacement, the same ones for every caller."""
    chosen = np.random.default_rng(0).integers(0, len(values), (_DRAWS, len(values)))
    return values[chosen].reshape(_DRAWS, -1)


def _interval(estimates: np.ndarray) -> Interval:
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(estimates, (outside, 1 - outside))
    return float(low), float(high)
