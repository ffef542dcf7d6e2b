"""Pools; images come in the target's own order of axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import Sizes, Tensor, op
from xport.convert.operators.windows import Windows, windows


@op("GlobalAveragePool", layout=layout.spatial)
def global_average_pool(xp: Any, x: Tensor) -> Any:
    """The mean over all spatial axes, kept as ones."""
    wide = xp.widened(x)
    return xp.cast(xp.reduce_mean(wide, xp.spatial_axes(xp.rank(x)), True), xp.dtype(x))


@op("GlobalMaxPool", layout=layout.spatial)
def global_max_pool(xp: Any, x: Tensor) -> Any:
    """The maximum over all spatial axes, kept as ones."""
    return xp.reduce_max(x, xp.spatial_axes(xp.rank(x)), True)


@op("GlobalLpPool", since=1, layout=layout.spatial)
def global_lp_pool(xp: Any, x: Tensor, *, p: float = 2) -> Any:
    """The p-norm over all spatial axes, kept as ones."""
    wide = xp.widened(x)
    total = xp.reduce_sum(_power(xp, wide, p), xp.spatial_axes(xp.rank(x)), True)
    return xp.cast(_root(xp, total, p), xp.dtype(x))


def _power(xp: Any, x: Any, p: float) -> Any:
    if p == 1:
        return xp.abs(x)
    return xp.mul(x, x) if p == 2 else xp.pow(xp.abs(x), xp.scalar(p, x))


def _root(xp: Any, x: Any, p: float) -> Any:
    if p == 1:
        return x
    return xp.sqrt(x) if p == 2 else xp.pow(x, xp.scalar(1.0 / p, x))


@op("MaxPool", since=1, layout=layout.spatial)
def max_pool(
    xp: Any,
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    storage_order: int = 0,
    strides: list[int] | None = None,
    context: Context,
) -> Any:
    """Maximum over windows, and on request where in the input it was found."""
    w = windows(xp, x, kernel_shape, strides, dilations, auto_pad, pads, ceil_mode)
    if context.wants(1):
        return _max_pool_with_indices(xp, x, w, bool(storage_order))
    return _trimmed(xp, xp.max_pool(x, w.kernel, strides=w.strides, padding=w.padding, dilations=w.dilations), w)


def _trimmed(xp: Any, y: Any, w: Windows) -> Any:
    """Drop windows that begin behind the input."""
    if not w.trim:
        return y
    axes = xp.spatial_axes(xp.rank(y))
    return xp.slice(y, [(axis, 0, count, 1) for axis, count in zip(axes, w.counts, strict=True)])


def _max_pool_with_indices(xp: Any, x: Any, w: Windows, column_major: bool) -> tuple[Any, Any]:
    """Compare the taps one by one; the first of equal ones wins."""
    sizes, rank = xp.shape(x), xp.rank(x)
    axes = xp.spatial_axes(rank)
    kind = xp.dtype(x)
    wide = xp.cast(x, "float32") if kind in ("int8", "uint8") else xp.widened(x)
    padded = xp.pad_image(wide, [w.padding[axes.index(a)] if a in axes else (0, 0) for a in range(rank)], float("-inf"))
    steps: list[Any] = [1] * len(axes)
    order = range(len(axes)) if column_major else reversed(range(len(axes)))
    step: Any = 1
    for i in order:
        steps[i] = step
        step = step * w.sizes[i]
    best: Any = None
    where: Any = None
    for tap in np.ndindex(*w.kernel):
        ranges, place = [], None
        for i, (k, axis) in enumerate(zip(tap, axes, strict=True)):
            start = k * w.dilations[i]
            ranges.append((axis, start, start + (w.counts[i] - 1) * w.strides[i] + 1, w.strides[i]))
            line = xp.positions(w.counts[i], w.strides[i], start - w.pads[i][0], steps[i])
            line = xp.reshape(line, [-1 if a == axis else 1 for a in range(rank)])
            place = line if place is None else place + line
        found = xp.slice(padded, ranges)
        if best is None:
            shape = xp.shape(found)
            best, where = found, xp.expand(place, [s if a in axes else 1 for a, s in enumerate(shape)])
        else:
            better = xp.greater(found, best)
            best, where = xp.where(better, found, best), xp.where(better, place, where)
    channel = xp.image_axis(1, rank)
    planes = xp.reshape(xp.positions(sizes[0], 1, 0, sizes[channel] * step), [-1, *[1] * (rank - 1)])
    planes = planes + xp.reshape(
        xp.positions(sizes[channel], 1, 0, step), [-1 if a == channel else 1 for a in range(rank)]
    )
    return xp.cast(best, kind), xp.cast(where + planes, "int64")


@op("AveragePool", since=7, layout=layout.spatial)
def average_pool(
    xp: Any,
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """Mean over windows; padding counts on request, and what lies behind the padding never does."""
    w = windows(xp, x, kernel_shape, strides, dilations, auto_pad, pads, ceil_mode)
    attributes = {"strides": w.strides, "padding": w.padding, "dilations": w.dilations}
    if not (count_include_pad and w.padding == w.pads):
        y = None if count_include_pad else xp.mean_pool(x, w.kernel, exclude_pads=True, **attributes)
        if y is not None:
            return _trimmed(xp, y, w)
        wide = xp.widened(x)
        y = _trimmed(xp, xp.mean_pool(wide, w.kernel, exclude_pads=False, **attributes), w)
        return xp.cast(y * _share(xp, y, w, bool(count_include_pad)), xp.dtype(x))
    return _trimmed(xp, xp.mean_pool(x, w.kernel, exclude_pads=False, **attributes), w)


def _share(xp: Any, y: Any, w: Windows, include: bool) -> Any:
    """The window's taps divided by those that count, per window."""
    rank = xp.rank(y)
    share: Any = None
    for i, axis in enumerate(xp.spatial_axes(rank)):
        begin, end = w.pads[i]
        low, high = (-begin, w.sizes[i] + end) if include else (0, w.sizes[i])
        if all(isinstance(v, int) for v in (w.counts[i], low, high, begin)):
            starts = np.arange(w.counts[i])[:, None] * w.strides[i] - begin
            places = starts + np.arange(w.kernel[i]) * w.dilations[i]
            counted = ((places >= low) & (places < high)).sum(1).astype(np.float32)
            # A window that lies in the padding alone sums zeros: whatever that is divided by, the mean is zero.
            line = xp.cast(xp.constant(np.float32(w.kernel[i]) / np.maximum(counted, 1)), xp.dtype(y))
        else:
            total: Any = None
            for k in range(w.kernel[i]):
                place = xp.positions(w.counts[i], w.strides[i], k * w.dilations[i] - begin, 1)
                inside = xp.logical_and(
                    xp.greater_equal(place, xp.size_like(low, place)), xp.less(place, xp.size_like(high, place))
                )
                one = xp.cast(inside, xp.dtype(y))
                total = one if total is None else total + one
            line = xp.divide(xp.scalar(w.kernel[i], y), xp.maximum(total, xp.scalar(1, y)))
        line = xp.reshape(line, [-1 if a == axis else 1 for a in range(rank)])
        share = line if share is None else share * line
    return share


@op("LpPool", since=1, layout=layout.spatial)
def lp_pool(
    xp: Any,
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    p: float = 2,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """The p-norm over windows."""
    w = windows(xp, x, kernel_shape, strides, dilations, auto_pad, pads, ceil_mode)
    powers = _power(xp, xp.widened(x), p)
    mean = xp.mean_pool(
        powers, w.kernel, strides=w.strides, padding=w.padding, dilations=w.dilations, exclude_pads=False
    )
    total = _trimmed(xp, mean, w) * xp.scalar(float(np.prod(w.kernel)), powers)
    return xp.cast(_root(xp, total, p), xp.dtype(x))


@op("MaxUnpool", since=9)
def max_unpool(
    xp: Any,
    x: Tensor,
    indices: Tensor,
    output_shape: Sizes | None = None,
    *,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """Put each element where max pooling found it; the rest is zero.

    The indices count in the shape that undoing the pool gives; a larger ``output_shape`` adds zeros behind that.
    """
    n = len(kernel_shape)
    strides, pads = strides or [1] * n, pads or [0] * (2 * n)
    batch, channels, *sizes = xp.shape(x)
    own = [
        (size - 1) * s + k - pads[i] - pads[n + i]
        for i, (size, s, k) in enumerate(zip(sizes, strides, kernel_shape, strict=True))
    ]
    total = batch * channels * xp.product(own)
    flat = xp.place_last(xp.reshape(x, [-1]), xp.reshape(indices, [-1]), total)
    y = xp.reshape(flat, [batch, channels, *own])
    if output_shape is None:
        return y
    return xp.pad_image(y, [(0, 0), (0, 0), *((0, w - o) for w, o in zip(output_shape[2:], own, strict=True))])
