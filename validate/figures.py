"""How far two arrays are apart, in the figures that a report shows.

All arithmetic is in float64, scaled so that squares neither overflow nor vanish.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

_MANY_CLASSES = 100
TOP_K = 5
"""How many of the largest values a row `Figures.topk` compares."""


@dataclass(frozen=True)
class Figures:
    """How far one output is from what was expected, over the values that are finite on both sides.

    Attributes:
        count: Number of values compared.
        max_abs: Largest absolute difference; the smallest ``atol`` that would pass with ``rtol=0``.
        max_rel: Largest difference relative to the larger of the two values; 0 where both are zero.
        mean_abs: Mean absolute difference.
        cosine: Cosine similarity; 1 for two zero vectors.
        sqnr_db: Signal to noise in decibels; infinite for equal arrays.
        smallest_tolerance: The smallest t with |difference| <= t * (RMS of the expected output + |expected|).
        top1: Share of rows whose largest value is in the same place; None if the output is not like classes.
        topk: Share of rows whose `TOP_K` largest values are in the same places; None with fewer classes than that.
        flips: Rows whose largest value is in another place.
        flip_margin: How far apart the two places are in the expected row, at most over the flips; a small one is a
            close call, a large one another decision.
        nonfinite: Values that are NaN or infinite on either side; they are left out of the other figures.
        worst_index: Where the largest difference is.
        worst_expected: The value expected there.
        worst_actual: The value found there.
    """

    count: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    mean_abs: float = 0.0
    cosine: float = 1.0
    sqnr_db: float = math.inf
    smallest_tolerance: float = 0.0
    top1: float | None = None
    topk: float | None = None
    flips: int = 0
    flip_margin: float = 0.0
    nonfinite: int = 0
    worst_index: tuple[int, ...] = ()
    worst_expected: float = 0.0
    worst_actual: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON form that `from_json` reads back; what is not finite becomes a string."""
        return {f.name: to_json_value(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Figures:
        """Read what `to_json` wrote; unknown keys are ignored."""
        known: dict[str, Any] = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        known = {k: float(v) if isinstance(v, str) else v for k, v in known.items()}
        return cls(**{**known, "worst_index": tuple(known.get("worst_index", ()))})


def to_json_value(value: Any) -> Any:
    """A value as JSON can hold it: tuples become lists, ``inf`` and ``nan`` become strings."""
    if isinstance(value, tuple):
        return [to_json_value(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def to_float64(array: np.ndarray) -> np.ndarray:
    """An array in float64; complex numbers get a last axis of real and imaginary part."""
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], axis=-1).astype(np.float64)
    return array.astype(np.float64)


def rms(values: np.ndarray) -> float:
    """The root of the mean square; 0 for no values."""
    if not values.size:
        return 0.0
    largest = float(np.max(np.abs(values)))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(float(np.mean(np.square(values / largest))))


def measure(expected: np.ndarray, actual: np.ndarray) -> Figures:
    """Measure how far an array is from the expected one of the same shape.

    Args:
        expected: Numbers of any dtype.
        actual: Numbers of any dtype, of the same shape.

    Returns:
        The figures, over the values that are finite on both sides.
    """
    left, right = to_float64(expected), to_float64(actual)
    finite = np.isfinite(left) & np.isfinite(right)
    count = int(finite.sum())
    if not count:
        return Figures(nonfinite=finite.size)
    left, right = np.where(finite, left, 0.0), np.where(finite, right, 0.0)
    with np.errstate(over="ignore"):
        difference = np.abs(left - right)
    worst = np.unravel_index(int(np.argmax(difference)), difference.shape)
    scale, error = rms(left[finite]), rms(difference[finite])
    larger = np.maximum(np.abs(left), np.abs(right))
    reach = np.abs(left) + scale
    decisions = _decisions(left, right) if expected.dtype.kind != "c" else {}
    return Figures(
        count=count,
        max_abs=float(difference.max()),
        max_rel=float(np.max(_ratio(difference, larger))),
        mean_abs=float(difference[finite].mean()),
        cosine=_cosine(left[finite], right[finite]),
        sqnr_db=_decibels(scale, error),
        smallest_tolerance=float(np.max(_ratio(difference, reach))),
        nonfinite=finite.size - count,
        **decisions,
        worst_index=tuple(int(i) for i in worst)[: expected.ndim],
        worst_expected=float(left[worst]),
        worst_actual=float(right[worst]),
    )


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, 0 where both are zero, infinite where only the denominator is."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(np.where(numerator == 0, 0.0, numerator / denominator))


def _decibels(signal: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    return 20 * (math.log10(signal) - math.log10(noise)) if signal else -math.inf


def _cosine(left: np.ndarray, right: np.ndarray) -> float:
    sizes = float(np.max(np.abs(left))), float(np.max(np.abs(right)))
    if 0.0 in sizes:
        return float(sizes[0] == sizes[1])
    left, right = left / sizes[0], right / sizes[1]
    cosine = float(left @ right) / math.sqrt(float(left @ left) * float(right @ right))
    return max(-1.0, min(1.0, cosine))


def _decisions(left: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Top-1 and top-k agreement of rows of classes; nothing if the output is not like classes.

    A tie in the expected row is won by any of its winners.
    """
    classes = left.shape[-1] if left.ndim else 0
    if not (left.ndim == 2 and classes >= 2) and not (left.ndim == 3 and classes >= _MANY_CLASSES):
        return {}
    chosen = np.take_along_axis(left, right.argmax(axis=-1, keepdims=True), axis=-1)
    margins = left.max(axis=-1) - chosen[..., 0]
    topk = None
    if classes > TOP_K:
        places = np.argpartition(right, -TOP_K, axis=-1)[..., -TOP_K:]
        kept = np.take_along_axis(left, places, axis=-1).min(axis=-1)
        needed = np.partition(left, -TOP_K, axis=-1)[..., -TOP_K]
        topk = float(np.mean(kept >= needed))
    return {
        "top1": float(np.mean(margins == 0)),
        "topk": topk,
        "flips": int(np.sum(margins > 0)),
        "flip_margin": float(margins.max()),
    }
