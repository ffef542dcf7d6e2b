"""The arithmetic of interpolation along one axis, on numpy arrays or a target's tensors alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xport.convert.lowering.registry import refuse


@dataclass(frozen=True)
class Numbers:
    """What the arithmetic needs beside Python's operators; from numpy or from a target.

    Attributes:
        floor: Round down.
        where: Choose by a condition.
        abs: Magnitude.
    """

    floor: Callable[[Any], Any]
    where: Callable[[Any, Any, Any], Any]
    abs: Callable[[Any], Any]


@dataclass(frozen=True)
class Line:
    """One axis to resize.

    Attributes:
        size: Its size before.
        count: Its size after.
        scale: The factor, as the specification means it: not always ``count / size``.
        start: Where the region of interest begins, as a part of the whole.
        end: Where it ends.
        exact: Whether the scale is the quotient of the sizes by definition.
    """

    size: Any
    count: Any
    scale: Any
    start: Any = 0.0
    end: Any = 1.0
    exact: bool = False


def coordinates(lib: Numbers, mode: str, line: Line, position: Any) -> Any:
    """Where positions in the result lie in the source.

    Args:
        lib: Arithmetic.
        mode: The node's ``coordinate_transformation_mode``.
        line: The axis, its members as numbers or rank-0 floats.
        position: Positions in the result as floats.
    """
    size, count, scale = line.size, line.count, line.scale
    half = _unscaled(line, position + 0.5) - 0.5
    if mode == "half_pixel":
        return half
    if mode == "asymmetric":
        return _unscaled(line, position)
    if mode == "pytorch_half_pixel":
        return lib.where(position * 0.0 + count > 1.0, half, 0.0)
    if mode == "tf_half_pixel_for_nn":
        return _unscaled(line, position + 0.5)
    if mode == "half_pixel_symmetric":
        adjustment = count / (scale * size)
        return size / 2.0 * (1.0 - adjustment) + half
    several = position * 0.0 + count > 1.0
    steps = lib.where(several, position * 0.0 + count - 1.0, 1.0)
    if mode == "align_corners":
        return position * (size - 1.0) / steps
    if mode == "tf_crop_and_resize":
        spread = line.start * (size - 1.0) + position * (line.end - line.start) * (size - 1.0) / steps
        return lib.where(several, spread, position * 0.0 + (line.start + line.end) * 0.5 * (size - 1.0))
    raise refuse(f"coordinate_transformation_mode {mode!r}", "the specification does not define it")


def _unscaled(line: Line, position: Any) -> Any:
    """A position divided by the scale; where that is the quotient of the sizes, without rounding it first.

    Half-way positions stay half-way then: the second of two pixels made from seven lies at 3.5 exactly.
    """
    return position * line.size / line.count if line.exact else position / line.scale


def nearest(lib: Numbers, mode: str, x: Any, shrinks: Any) -> Any:
    """The source pixel nearest to a coordinate, before clamping, as a float."""
    low = lib.floor(x)
    rest = x - low
    if mode == "floor":
        return low
    if mode == "ceil":
        return lib.where(rest > 0.0, low + 1.0, low)
    if mode == "round_prefer_floor":
        return lib.where(rest > 0.5, low + 1.0, low)
    if mode == "round_prefer_ceil":
        return lib.where(rest >= 0.5, low + 1.0, low)
    if mode == "simple":
        return lib.where((rest > 0.0) & (x * 0.0 + shrinks > 0.0), low + 1.0, low)
    raise refuse(f"nearest_mode {mode!r}", "the specification does not define it")


def clip(lib: Numbers, x: Any, high: Any) -> Any:
    """Clamp to 0 … high."""
    raised = lib.where(x < 0.0, x * 0.0, x)
    return lib.where(raised > high, x * 0.0 + high, raised)


def taps(
    lib: Numbers, mode: str, x: Any, size: Any, stretch: float, a: float, exclude_outside: bool, antialias: bool
) -> list[tuple[Any, Any]]:
    """The source pixels that make up each result, as (position, weight) pairs of floats.

    Args:
        lib: Arithmetic.
        mode: ``linear`` or ``cubic``.
        x: Coordinates in the source.
        size: The source's size.
        stretch: By how much antialiasing widens the filter; 1 for not at all.
        a: The cubic coefficient.
        exclude_outside: Whether pixels outside the source weigh nothing.
        antialias: Whether weights are made to sum to one.
    """
    if mode == "linear" and not antialias:
        x = clip(lib, x, size - 1.0)
    base = lib.floor(x)
    reach = math.ceil((1 if mode == "linear" else 2) * stretch)
    rows = []
    for offset in range(1 - reach, reach + 1):
        place = base + float(offset)
        distance = lib.abs(x - place) / stretch
        weight = kernel(lib, mode, distance, a)
        if exclude_outside:
            weight = lib.where((place < 0.0) | (place > size - 1.0), weight * 0.0, weight)
        rows.append((clip(lib, place, size - 1.0), weight))
    if exclude_outside or antialias:
        total = sum(weight for _, weight in rows)
        rows = [(place, weight / total) for place, weight in rows]
    return rows


def kernel(lib: Numbers, mode: str, distance: Any, a: float) -> Any:
    """What a pixel weighs at a distance: ``linear`` or ``cubic`` with coefficient ``a``."""
    return _triangle(lib, distance) if mode == "linear" else _cubic(lib, distance, a)


def _triangle(lib: Numbers, distance: Any) -> Any:
    return lib.where(distance < 1.0, 1.0 - distance, distance * 0.0)


def _cubic(lib: Numbers, distance: Any, a: float) -> Any:
    near = ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0
    far = ((a * distance - 5.0 * a) * distance + 8.0 * a) * distance - 4.0 * a
    return lib.where(distance <= 1.0, near, lib.where(distance < 2.0, far, distance * 0.0))
