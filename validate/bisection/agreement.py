"""Do two intermediate values hold the same numbers? Up to the order of their axes, and up to rounding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.signature import dtype_name
from xport.validate.figures import Figures, measure, rms, to_float64, to_json_value
from xport.validate.floor import LOCAL_LIMIT, case_errors, epsilon, judge_floor

Perm = tuple[int, ...]

_LARGEST_RANK = 5
_STEPS = 1.0
_STEPS_WITHOUT_FLOAT64 = 64.0


@dataclass(frozen=True)
class Agreement:
    """How two values compare.

    Attributes:
        passed: Whether the difference is no more than rounding.
        ratio: The other's error in rounding floors; infinite where the structure differs.
        limit: What it may be.
        relative: RMS of the difference, relative to the RMS of the reference.
        reason: What differs in words; empty if it passed.
    """

    passed: bool
    ratio: float
    limit: float
    relative: float
    reason: str = ""


@dataclass(frozen=True)
class Stats:
    """What one tensor holds, over its finite values."""

    dtype: str
    shape: tuple[int, ...]
    minimum: float
    maximum: float
    mean: float
    std: float
    nan: int
    inf: int

    def to_json(self) -> dict[str, Any]:
        """A JSON form."""
        return {name: to_json_value(value) for name, value in self.__dict__.items()}

    def __str__(self) -> str:
        text = (
            f"{self.dtype}[{','.join(map(str, self.shape))}] min {self.minimum:.6g} max {self.maximum:.6g} "
            f"mean {self.mean:.6g} std {self.std:.6g}"
        )
        return text + (f" NaN {self.nan}" if self.nan else "") + (f" Inf {self.inf}" if self.inf else "")


def stats(array: np.ndarray) -> Stats:
    """Describe a tensor of numbers."""
    wide = to_float64(array)
    finite = wide[np.isfinite(wide)]
    figures = (finite.min(), finite.max(), finite.mean(), finite.std()) if finite.size else (math.nan,) * 4
    low, high, mean, std = (float(figure) for figure in figures)
    nan = int(np.isnan(wide).sum())
    return Stats(dtype_name(array.dtype), tuple(array.shape), low, high, mean, std, nan, int(np.isinf(wide).sum()))


def alignments(shape: tuple[int, ...], other: np.ndarray) -> Iterator[tuple[Perm, np.ndarray]]:
    """The ways to see a value in the shape of another: axes of size one come and go, others change places.

    Args:
        shape: The shape wanted.
        other: The value.

    Yields:
        The order of the value's axes (those of size one left out; empty if it is kept) and the value in that
        order; the kept order comes first. A reshape that joins or splits axes is none of them: it would make a
        value that was flattened in the wrong order look right.
    """
    wanted = [size for size in shape if size != 1]
    squeezed = other.reshape([size for size in other.shape if size != 1])
    if sorted(wanted) != sorted(squeezed.shape):
        return
    if list(squeezed.shape) == wanted:
        yield (), squeezed.reshape(shape)
    if 1 < len(wanted) <= _LARGEST_RANK:
        for perm in itertools.permutations(range(len(wanted))):
            if perm != tuple(range(len(wanted))) and [squeezed.shape[axis] for axis in perm] == wanted:
                yield perm, squeezed.transpose(perm).reshape(shape)


def restored(array: np.ndarray, perm: Perm, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of an alignment: a value as the other side stores it."""
    squeezed = array.reshape([size for size in array.shape if size != 1])
    back = squeezed.transpose(np.argsort(perm)) if perm else squeezed
    return np.ascontiguousarray(back).reshape(shape)


def agree(expected: np.ndarray, actual: np.ndarray, wide: np.ndarray | None) -> Agreement:
    """Judge a value by its rounding floor.

    Unlike at a model's outputs, the floor is at least a whole step of the dtype: what one operator makes of exact
    inputs is often exact on one side by luck.

    Args:
        expected: The reference's value.
        actual: The other's, in the same shape.
        wide: The reference's in float64; None to allow a fixed number of steps.

    Returns:
        What was found.
    """
    if expected.dtype.kind not in "fc":
        same = bool(np.array_equal(expected, actual))
        differing = 0.0 if same or not expected.size else float(np.mean(expected != actual))
        reason = "" if same else f"{differing:.2%} of the values differ; {expected.dtype.name} must be equal"
        return Agreement(same, 0.0 if same else math.inf, 0.0, differing, reason)
    left, right = to_float64(expected), to_float64(actual)
    finite = np.isfinite(left) & np.isfinite(right)
    # +Inf and -Inf are told apart by comparing what is not finite as it is; NaN equals NaN.
    odd = ~finite & ~((left == right) | (np.isnan(left) & np.isnan(right)))
    if odd.any():
        reason = f"NaN or Inf in {int(odd.sum())} places where the other side has none"
        return Agreement(False, math.inf, 0.0, math.inf, reason)
    scale, difference = rms(left[finite]), rms(left[finite] - right[finite])
    relative = difference / scale if scale else (0.0 if difference == 0.0 else math.inf)
    if difference == 0.0:
        return Agreement(True, 0.0, 0.0, 0.0)
    eps = epsilon(expected.dtype)
    errors = None if wide is None else case_errors(expected, actual, wide)
    if errors is None:
        ratio, limit = relative / (_STEPS_WITHOUT_FLOAT64 * eps), 4.0
        return Agreement(ratio <= limit, ratio, limit, relative, "" if ratio <= limit else "more than rounding")
    verdict = judge_floor([errors], eps)
    ratio = errors.error / max(verdict.floor, _STEPS * eps) if errors.scale else verdict.ratio
    passed = ratio <= verdict.limit and verdict.local_ratio <= LOCAL_LIMIT
    reason = "" if passed else f"{ratio:.1f} times the rounding floor, more than {verdict.limit:.1f}"
    if ratio <= verdict.limit and not passed:
        reason = f"a local defect: the largest error is {verdict.local_ratio:.1f} times the reference's own largest"
    return Agreement(passed, ratio, verdict.limit, relative, reason)


def distance(expected: np.ndarray, actual: np.ndarray) -> float:
    """RMS of the difference, relative to the reference's RMS; infinite where that says nothing."""
    left, right = to_float64(expected), to_float64(actual)
    finite = np.isfinite(left) & np.isfinite(right)
    scale = rms(left[finite])
    return rms(left[finite] - right[finite]) / scale if scale else math.inf


def figures_of(expected: np.ndarray, actual: np.ndarray) -> Figures:
    """The figures of `xport.validate.figures`, for two values in one shape."""
    return measure(expected, actual)
