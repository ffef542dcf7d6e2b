"""The rounding floor: how large a faithful result's error may be.

The source runs in float32 and once more in float64. The RMS of the difference is the rounding that the source
itself commits: its floor. Another runtime that computes the same function rounds elsewhere, but about as
much, whether the net has three layers or three hundred; a runtime that computes another function is many
times the floor away.

Errors are taken relative to the RMS of the output in their case, so that cases of different magnitude pool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xport.validate.figures import rms, to_float64

LIMIT = 6.0
"""How many times the floor a faithful result may be away, given enough values to measure both.

Most are below 2. A runtime that adds thousands of products into one accumulator rounds more than one that adds them
in blocks, as PyTorch does: 3 to 4 times, by chance 5, was measured for TFLite where the last layer has 7,200 inputs.
Of the planted faults in `benchmarks/results/faults.json` none that can be told from rounding at all is below 20.
"""

LOCAL_LIMIT = 12.0
"""How many times the source's largest error a faithful result's largest error may be."""

_TRUSTED_STEPS = 2.0**17
_LARGEST_TRUSTED_FLOOR = 0.1


@dataclass(frozen=True)
class CaseErrors:
    """Errors of one output in one case, against float64 and relative to the output's RMS.

    Attributes:
        count: Number of values.
        effective: How many normal errors say as much about the floor: fewer where a few values dominate.
        scale: RMS of the float64 output.
        floor: RMS error of the source, at least half a step of the output's own dtype.
        error: RMS error of the candidate.
        max_floor: Largest error of the source, at least one step of the largest value.
        max_error: Largest error of the candidate.
        same: Whether the source equals float64 to the last bit.
    """

    count: int
    effective: float
    scale: float
    floor: float
    error: float
    max_floor: float
    max_error: float
    same: bool


@dataclass(frozen=True)
class FloorVerdict:
    """What the floor says of one output over all cases.

    Attributes:
        floor: The source's error, relative to the output's RMS, over all cases.
        ratio: The candidate's error in floors, over all cases.
        limit: The ratio up to which it passes: `LIMIT`, more where few values make the floor uncertain.
        case_ratios: The candidate's error in floors by case.
        case_limits: What each may be.
        local_ratio: The candidate's largest error in the source's largest.
        distrust: Why the float64 result is no reference; empty if it is one.
    """

    floor: float
    ratio: float
    limit: float
    case_ratios: tuple[float, ...]
    case_limits: tuple[float, ...]
    local_ratio: float
    distrust: str = ""

    @property
    def worst_case(self) -> int:
        """Position of the case that comes closest to its limit."""
        shares = [r / limit for r, limit in zip(self.case_ratios, self.case_limits, strict=True)]
        return int(np.argmax(shares))


def allowance(count: float) -> float:
    """How much the limit widens because the floor was measured on few values.

    Two RMS of ``count`` normal errors each differ by chance like the root of an F distribution with as many
    degrees of freedom; this bounds its 0.9999 quantile from six values on, beyond the room that `LIMIT`
    leaves. One value says next to nothing about a floor.
    """
    return 1.0 + math.pow(8 / max(count, 1.0), 1.5)


def epsilon(dtype: np.dtype) -> float:
    """The distance from one to the next larger number of a floating point dtype."""
    if dtype.kind in "fc":
        return float(np.finfo(dtype).eps)
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]


def case_errors(source: np.ndarray, candidate: np.ndarray, reference: np.ndarray) -> CaseErrors | None:
    """Measure the errors of a source and a candidate against a float64 reference.

    Args:
        source: What the source gives in its own precision.
        candidate: What the candidate gives.
        reference: What the source gives in float64.

    Returns:
        The errors, over the values that are finite; None if the reference has another shape, or is not finite
        where the others are.
    """
    if source.shape != reference.shape or candidate.shape != reference.shape:
        return None
    left, right, true = to_float64(source), to_float64(candidate), to_float64(reference)
    finite = np.isfinite(left) & np.isfinite(right)
    if not np.isfinite(true[finite]).all():
        return None
    if not finite.any():
        return CaseErrors(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, same=True)
    left, right, true = left[finite], right[finite], true[finite]
    scale, largest, eps = rms(true), float(np.max(np.abs(true))), epsilon(source.dtype)
    own, other = np.abs(left - true), np.abs(right - true)
    unit = scale or 1.0
    return CaseErrors(
        count=int(true.size),
        effective=_effective(own),
        scale=scale,
        # exp, tanh and their like are within a step or two of the true value, not within half a step, and one
        # runtime may be luckier with them than another.
        floor=max(rms(own), eps / 2 * scale) / unit,
        error=rms(other) / unit,
        max_floor=max(float(own.max()), eps * largest) / unit,
        max_error=float(other.max()) / unit,
        same=bool(np.all(own == 0.0)),
    )


def _effective(errors: np.ndarray) -> float:
    """The number of normal errors whose mean square is as uncertain: for those, mean(e^4) = 3 mean(e^2)^2."""
    largest = float(errors.max())
    if largest == 0.0:
        return float(errors.size)
    squares = np.square(errors / largest)
    return float(min(errors.size, 3 * squares.sum() ** 2 / np.square(squares).sum()))


def judge_floor(cases: Sequence[CaseErrors], eps: float) -> FloorVerdict:
    """Say how many floors a candidate is away.

    Args:
        cases: The errors in each case.
        eps: `epsilon` of the source's dtype.

    Returns:
        The verdict, with the reason where the float64 results are no reference.
    """
    total = sum(c.count for c in cases) or 1
    floor = math.sqrt(sum(c.count * c.floor**2 for c in cases) / total)
    error = math.sqrt(sum(c.count * c.error**2 for c in cases) / total)
    limit = LIMIT * allowance(sum(c.effective for c in cases))
    local_floor = max(3 * floor, *(c.max_floor for c in cases))
    return FloorVerdict(
        floor=floor,
        ratio=_times(error, floor),
        limit=limit,
        # A case with few values may have nearly no floor by luck: the common floor bounds it from below.
        case_ratios=tuple(_times(c.error, max(c.floor, floor)) for c in cases),
        case_limits=tuple(limit * (1 + 1 / math.sqrt(max(c.effective, 1.0))) for c in cases),
        local_ratio=_times(max(c.max_error for c in cases), local_floor),
        distrust=_distrust(cases, floor, eps),
    )


def _times(error: float, floor: float) -> float:
    if floor == 0.0:
        return 0.0 if error == 0.0 else math.inf
    return error / floor


def _distrust(cases: Sequence[CaseErrors], floor: float, eps: float) -> str:
    if not math.isfinite(floor):
        return "the float64 result is not finite"
    if all(c.same for c in cases):
        return "the float64 result is no finer than the source's own"
    largest = min(eps * _TRUSTED_STEPS, _LARGEST_TRUSTED_FLOOR)
    if floor > largest:
        return f"the source is {floor:.1e} away from its own float64 result, trusted up to {largest:.0e}"
    return ""
