"""Resize and Upsample; images come in the target's own order of axes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, op, refuse
from xport.convert.lowering.values import Value
from xport.convert.operators.interpolation import Line, Numbers, clip, coordinates, kernel, nearest, taps

_NUMPY = Numbers(np.floor, np.where, np.abs)


@dataclass(frozen=True)
class Manner:
    """How to resize: the node's attributes."""

    mode: str
    coordinates: str
    nearest: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


@op("Resize", since=11, layout=layout.spatial)
def resize(
    xp: Any,
    x: Tensor,
    roi: RawValue | None = None,
    scales: RawValue | None = None,
    sizes: RawValue | None = None,
    *,
    antialias: int = 0,
    axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    context: Context,
) -> Any:
    """Resample some axes, by scales or to sizes, nearest, linearly or cubically, with or without antialiasing."""
    manner = Manner(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        bool(antialias) and mode != "nearest",
        extrapolation_value,
    )
    rank = xp.rank(x)
    which = list(range(rank)) if axes is None else [a % rank for a in axes]
    given = _elements(xp, sizes, context, len(which), whole=True)
    if given is not None:
        lines = _lines_to_sizes(xp, x, which, given, keep_aspect_ratio_policy, context)
    else:
        factors = _elements(xp, scales, context, len(which))
        if factors is None:
            raise refuse("neither scales nor sizes", "one of them is required")
        lines = _lines_by_scales(xp, x, which, factors, context)
    if manner.coordinates == "tf_crop_and_resize":
        lines = _with_regions(lines, which, _elements(xp, roi, context, 2 * len(which)))
    return _resize(xp, x, lines, manner)


@op("Resize", since=10, until=10, layout=layout.spatial)
@op("Upsample", since=9, until=9, layout=layout.spatial)
def resize_10(xp: Any, x: Tensor, scales: RawValue, *, mode: str = "nearest", context: Context) -> Any:
    """The older form: scales only, positions divided by them, rounded down to enlarge and up to shrink."""
    factors = _elements(xp, scales, context, xp.rank(x))
    if factors is None:
        raise refuse("no scales", "they are required")
    lines = _lines_by_scales(xp, x, list(range(xp.rank(x))), factors, context)
    return _resize(xp, x, lines, Manner(mode, "asymmetric", "simple"))


@op("Upsample", since=7, until=8, layout=layout.spatial)
def upsample_7(xp: Any, x: Tensor, *, mode: str = "nearest", scales: list[float], context: Context) -> Any:
    """The oldest form, with scales as an attribute."""
    factors = [float(np.float32(s)) for s in scales]
    lines = _lines_by_scales(xp, x, list(range(xp.rank(x))), factors, context)
    return _resize(xp, x, lines, Manner(mode, "asymmetric", "simple"))


def _elements(
    xp: Any, value: Value | None, context: Context, expected: int, *, whole: bool = False
) -> list[Any] | None:
    """The elements of a vector: numbers if known, else sizes (``whole``) or rank-0 tensors; None if it is empty.

    A vector of a length that only run time knows has the ``expected`` one.
    """
    if value is None:
        return None
    array = value.static()
    if array is not None:
        items = [int(v) if whole else float(v) for v in array.reshape(-1)]
        return items or None
    if whole and value.vector is not None:
        return [int(i) if isinstance(i, np.integer) else i for i in value.vector.items] or None
    tensor = context.tensor(value)
    count = xp.shape(tensor)[0]
    count = count if isinstance(count, int) else expected
    if whole:
        return [xp.size_of(tensor[i]) for i in range(count)] or None
    return [xp.cast(tensor[i], "float32") for i in range(count)] or None


def _logical_sizes(xp: Any, x: Any) -> list[Any]:
    sizes = xp.shape(x)
    return [sizes[xp.image_axis(a, len(sizes))] for a in range(len(sizes))]


def _real(xp: Any, size: Any) -> Any:
    """A size as a float: a number, or a rank-0 tensor."""
    return float(size) if isinstance(size, (int, np.integer)) else xp.cast(xp.size_scalar(size), "float32")


def _lines_to_sizes(
    xp: Any, x: Any, axes: list[int], wanted: list[Any], policy: str, context: Context
) -> dict[int, Line]:
    own = _logical_sizes(xp, x)
    if policy == "stretch":
        declared = context.output_shape() or [None] * len(own)
        lines = {}
        for axis, size in zip(axes, wanted, strict=True):
            count = d if isinstance(d := declared[axis], int) else size
            scale = 1.0 if xp.same_size(count, own[axis]) else _ratio(xp, count, own[axis])
            lines[axis] = Line(own[axis], count, scale, exact=True)
        return lines
    if policy not in ("not_larger", "not_smaller"):
        raise refuse(f"keep_aspect_ratio_policy {policy!r}", "the specification does not define it")
    ratios = [_ratio(xp, w, own[a]) for a, w in zip(axes, wanted, strict=True)]
    if all(isinstance(r, float) for r in ratios):
        scale = min(ratios) if policy == "not_larger" else max(ratios)
    else:
        tensors = [xp.cast(xp.constant(np.float32(r)), "float32") if isinstance(r, float) else r for r in ratios]
        scale = tensors[0]
        for t in tensors[1:]:
            scale = xp.minimum(scale, t) if policy == "not_larger" else xp.maximum(scale, t)
    return {a: Line(own[a], _rounded(xp, scale, own[a], 0.5), scale) for a in axes}


def _ratio(xp: Any, wanted: Any, size: Any) -> Any:
    if isinstance(wanted, int) and isinstance(size, int):
        return float(np.float32(wanted) / np.float32(size)) if size else 1.0
    return xp.divide(_tensor(xp, wanted), _tensor(xp, size))


def _tensor(xp: Any, size: Any) -> Any:
    return xp.cast(xp.size_scalar(size), "float32")


def _rounded(xp: Any, scale: Any, size: Any, bias: float) -> Any:
    """``floor(scale * size + bias)`` as a size."""
    if isinstance(scale, float) and isinstance(size, int):
        return math.floor(np.float32(np.float32(scale) * np.float32(size)) + np.float32(bias))
    if isinstance(scale, float) and scale == int(scale):
        return size * int(scale)
    real = _real(xp, size)
    return xp.size_of(xp.floor(scale * real + bias))


def _lines_by_scales(xp: Any, x: Any, axes: list[int], factors: list[Any], context: Context) -> dict[int, Line]:
    own = _logical_sizes(xp, x)
    declared = context.output_shape() or [None] * len(own)
    lines = {}
    for axis, factor in zip(axes, factors, strict=True):
        count = declared[axis]
        if isinstance(factor, float) or not isinstance(count, int):
            count = _rounded(xp, factor, own[axis], 0.0)
        lines[axis] = Line(own[axis], count, factor)
    return lines


def _with_regions(lines: dict[int, Line], axes: list[int], roi: list[Any] | None) -> dict[int, Line]:
    if roi is None or len(roi) != 2 * len(axes):
        raise refuse("tf_crop_and_resize", "it needs a start and an end per axis in roi")
    n = len(axes)
    return {a: replace(lines[a], start=roi[i], end=roi[n + i]) for i, a in enumerate(axes)}


def _is_number(*values: Any) -> bool:
    return all(isinstance(v, (int, float, np.integer)) for v in values)


def _keeps(line: Line, manner: Manner) -> bool:
    """Whether an axis stays as it is."""
    if manner.coordinates == "tf_crop_and_resize":
        return False
    if isinstance(line.scale, float):
        return line.scale == 1.0
    return False


def _resize(xp: Any, x: Any, lines: dict[int, Line], manner: Manner) -> Any:
    moving = {axis: line for axis, line in lines.items() if not _keeps(line, manner)}
    if not moving:
        return x
    if manner.mode not in ("nearest", "linear", "cubic", "bilinear"):
        raise refuse(f"mode {manner.mode!r}", "the specification does not define it")
    kind = xp.dtype(x)
    if manner.mode != "nearest" and not kind.startswith(("float", "bfloat")):
        raise refuse(f"{manner.mode} resize of {kind}", "runtimes round interpolated integers differently")
    _check_settled(moving, manner)
    wide = x if manner.mode == "nearest" else xp.widened(x)
    if (y := _native(xp, wide, moving, manner)) is None:
        y = wide
        outside: list[tuple[int, Any]] = []
        for axis, line in moving.items():
            y = _along(xp, y, xp.image_axis(axis, xp.rank(x)), line, manner, outside)
        for _, mask in outside:
            y = xp.where(mask, xp.scalar(manner.extrapolation, y), y)
    return xp.cast(y, kind) if manner.mode != "nearest" else y


def _check_settled(lines: dict[int, Line], manner: Manner) -> None:
    """Refuse the case in which ONNX's reference and ONNX Runtime disagree about the result's exact size."""
    if manner.coordinates not in ("align_corners", "tf_crop_and_resize"):
        return
    for line in lines.values():
        if not line.exact and isinstance(line.scale, float) and _is_fractional(line):
            raise refuse(
                f"{manner.coordinates} with a fractional size {line.scale} * {line.size}",
                "runtimes disagree on what the corners are aligned to; give sizes in place of scales",
            )


def _is_fractional(line: Line) -> bool:
    """Whether the scaled size may be no whole number."""
    if isinstance(line.size, int):
        return bool(abs(line.scale * line.size - line.count) > 1e-3 * max(1, line.count))
    return bool(line.scale != int(line.scale))


def _native(xp: Any, x: Any, lines: dict[int, Line], manner: Manner) -> Any | None:
    """The target's own resize, where it is equal beyond doubt."""
    rank = xp.rank(x)
    if rank < 3 or any(axis < 2 for axis in lines) or manner.antialias:
        return None
    sizes = _logical_sizes(xp, x)[2:]
    counts = [lines[axis].count if axis in lines else sizes[axis - 2] for axis in range(2, rank)]
    if not all(_exact(line) for line in lines.values()):
        return None
    if manner.mode == "nearest":
        same = all(_is_middle(line, manner) for line in lines.values())
        return xp.resize_nearest(x, counts) if same else None
    mode = manner.coordinates
    if mode == "half_pixel_symmetric":
        mode = "half_pixel"  # alike where the size is exactly the scaled one
    if mode == "pytorch_half_pixel" and all(isinstance(c, int) and c > 1 for c in counts):
        mode = "half_pixel"
    if mode not in ("half_pixel", "asymmetric", "align_corners"):
        return None
    if manner.mode in ("linear", "bilinear"):
        return xp.resize_linear(x, counts, mode)
    if manner.cubic_a != -0.75 or manner.exclude_outside:
        return None
    return xp.resize_cubic(x, counts, mode)


def _exact(line: Line) -> bool:
    """Whether the scale is exactly the quotient of the sizes."""
    if line.exact:
        return True
    if not isinstance(line.scale, float):
        return False
    if isinstance(line.size, int) and isinstance(line.count, int):
        return line.size > 0 and float(np.float32(line.count) / np.float32(line.size)) == line.scale
    return line.scale == int(line.scale)


def _is_middle(line: Line, manner: Manner) -> bool:
    """Whether the nearest pixel is ``floor((i + 0.5) * in / out)``, as the targets' own kernels have it."""
    if isinstance(line.size, int) and isinstance(line.count, int):
        x = coordinates(_NUMPY, manner.coordinates, line, np.arange(line.count, dtype=np.float32))
        wanted = clip(_NUMPY, nearest(_NUMPY, manner.nearest, x, float(line.scale < 1)), line.size - 1.0)
        ratio = np.float32(line.size) / np.float32(line.count)
        own = np.floor((np.arange(line.count, dtype=np.float32) + np.float32(0.5)) * ratio)
        return bool(manner.coordinates != "tf_crop_and_resize" and (np.minimum(own, line.size - 1) == wanted).all())
    if not isinstance(line.scale, float):
        return False
    enlarges = line.scale == int(line.scale) and line.scale >= 1
    rounds = manner.nearest.startswith("round") and manner.coordinates in ("half_pixel", "half_pixel_symmetric")
    floors = manner.nearest in ("floor", "simple") and manner.coordinates == "asymmetric"
    # Dividing by a power of two is exact, so that no position falls a pixel short.
    return bool(enlarges and (rounds or (floors and math.log2(line.scale).is_integer())))


def _along(xp: Any, x: Any, axis: int, line: Line, manner: Manner, outside: list[tuple[int, Any]]) -> Any:
    """Resample one stored axis."""
    rank = xp.rank(x)
    known = _is_number(line.size, line.count, line.scale, line.start, line.end)
    if known and line.count == 0:
        return xp.take(x, np.zeros(0, np.int64), axis)
    if known:
        lib, own = _NUMPY, line
        place: Any = np.arange(line.count, dtype=np.float32)
    else:
        lib = Numbers(xp.floor, xp.where, xp.abs)
        length = _real(xp, line.count)
        if not line.exact and manner.coordinates in ("align_corners", "tf_crop_and_resize"):
            length = line.scale * _real(xp, line.size)  # as ONNX's reference has it, fractions and all
        own = Line(_real(xp, line.size), length, line.scale, line.start, line.end)
        place = xp.cast(xp.positions(line.count), "float32")
    at = coordinates(lib, manner.coordinates, own, place)
    shape = [-1 if i == axis else 1 for i in range(rank)]
    if manner.coordinates == "tf_crop_and_resize":
        mask = (at < 0.0) | (at > own.size - 1.0)
        if not known or mask.any():
            outside.append((axis, xp.reshape(xp.constant(mask) if known else mask, shape)))
    if manner.mode == "nearest":
        shrinks = float(own.scale < 1.0) if isinstance(own.scale, float) else xp.cast(own.scale < 1.0, "float32")
        found = clip(lib, nearest(lib, manner.nearest, at, shrinks), own.size - 1.0)
        return xp.take(x, found.astype(np.int64) if known else found, axis)
    if manner.antialias and not isinstance(own.scale, float):
        return _by_matrix(xp, lib, x, axis, line, own, at, manner)
    stretch = max(1.0, 1.0 / own.scale) if manner.antialias else 1.0
    mode = "cubic" if manner.mode == "cubic" else "linear"
    rows = taps(lib, mode, at, own.size, stretch, manner.cubic_a, manner.exclude_outside, manner.antialias)
    total = None
    for where, weight in rows:
        if known and not weight.any():
            continue
        part = xp.take(x, where.astype(np.int64) if known else where, axis)
        factor = xp.cast(xp.constant(weight) if known else weight, xp.dtype(x))
        part = part * xp.reshape(factor, shape)
        total = part if total is None else total + part
    return total


def _by_matrix(xp: Any, lib: Numbers, x: Any, axis: int, line: Line, own: Line, at: Any, manner: Manner) -> Any:
    """Antialias by a matrix, for a filter whose width only run time knows."""
    one = xp.cast(own.scale, "float32")
    stretch = xp.divide(xp.scalar(1.0, one), xp.minimum(one, xp.scalar(1.0, one)))
    margin = xp.size_of(xp.ceil(stretch * 2.0) + 1.0)
    real = xp.cast(xp.positions(line.size + 2 * margin, 1, -margin), "float32")
    place = xp.reshape(real, [1, -1])
    distance = xp.divide(xp.abs(xp.reshape(at, [-1, 1]) - place), stretch)
    weight = kernel(lib, "cubic" if manner.mode == "cubic" else "linear", distance, manner.cubic_a)
    if manner.exclude_outside:
        weight = xp.where((place < 0.0) | (place > own.size - 1.0), xp.scalar(0.0, weight), weight)
    weight = xp.divide(weight, xp.reduce_sum(weight, [1], True))
    grown = xp.take(x, clip(lib, real, own.size - 1.0), axis)
    return xp.mix_axis(grown, xp.cast(weight, xp.dtype(x)), axis)
