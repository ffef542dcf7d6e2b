"""Sampling images at computed places; images come in the target's own order of axes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Sizes, Tensor, op, refuse
from xport.convert.operators.interpolation import Numbers, kernel
from xport.convert.operators.windows import spatial_sizes


def numbers(xp: Any) -> Numbers:
    """A target's arithmetic for `xport.convert.operators.interpolation`."""
    return Numbers(xp.floor, xp.where, xp.abs)


@op("GridSample", since=16, layout=layout.spatial)
def grid_sample(
    xp: Any, x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Any:
    """Sample an image at the grid's places, which run from -1 to 1 along each axis, the last axis first."""
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if mode not in ("nearest", "linear", "cubic") or padding_mode not in ("zeros", "border", "reflection"):
        raise refuse(f"mode {mode!r} with padding_mode {padding_mode!r}", "the specification does not define it")
    kind = xp.dtype(x)
    if mode != "nearest" and not kind.startswith(("float", "bfloat")):
        raise refuse(f"{mode} sampling of {kind}", "runtimes round interpolated integers differently")
    wide, grid = xp.widened(x), xp.widened(grid)
    n = xp.rank(x) - 2
    if n > 2 and mode == "cubic":
        raise refuse("cubic sampling of a volume", "ONNX Runtime has no such kernel to be measured against")
    places, limits = [], []
    for i, size in enumerate(spatial_sizes(xp, x)):
        along = grid[..., n - 1 - i]
        real = xp.size_like(size, along)
        scaled = (along + 1.0) / 2.0 * (real - 1.0) if align_corners else ((along + 1.0) * real - 1.0) / 2.0
        low, high = (real * 0.0, real - 1.0) if align_corners else (real * 0.0 - 0.5, real - 0.5)
        places.append(scaled)
        limits.append((low, high, real))
    lib = numbers(xp)
    if mode != "cubic":
        places = [_inside(xp, lib, p, *limit, padding_mode) for p, limit in zip(places, limits, strict=True)]
    batch = xp.reshape(xp.positions(xp.shape(x)[0]), [-1, *[1] * n])
    total = None
    for taps in itertools.product(*(_grid_taps(xp, lib, mode, p) for p in places)):
        weight, at, valid = None, [], None
        for (place, share), limit in zip(taps, limits, strict=True):
            settled, inside = _settle(xp, lib, place, *limit, padding_mode)
            at.append(xp.indices(settled))
            valid = inside if valid is None or inside is None else valid & inside
            if share is not None:
                weight = share if weight is None else weight * share
        part = xp.pixels(wide, batch, at)
        if weight is not None:
            part = part * xp.cast(xp.per_pixel(weight), xp.dtype(wide))
        if valid is not None:
            part = xp.where(xp.per_pixel(valid), part, xp.scalar(0, part))
        total = part if total is None else total + part
    return xp.cast(total, kind)


def _grid_taps(xp: Any, lib: Numbers, mode: str, x: Any) -> list[tuple[Any, Any]]:
    """Pixels along an axis and their weights; a weight of None is one."""
    if mode == "nearest":
        return [(xp.round(x), None)]
    low = lib.floor(x)
    offsets = range(2) if mode == "linear" else range(-1, 3)
    return [(low + float(o), kernel(lib, mode, lib.abs(x - (low + float(o))), -0.75)) for o in offsets]


def _inside(xp: Any, lib: Numbers, x: Any, low: Any, high: Any, size: Any, padding: str) -> Any:
    """Bring a coordinate into the image, as border and reflection want before interpolation."""
    if padding == "border":
        return _clamp(lib, x, size)
    if padding == "reflection":
        return _clamp(lib, _reflect(xp, lib, x, low, high), size)
    return x


def _settle(xp: Any, lib: Numbers, place: Any, low: Any, high: Any, size: Any, padding: str) -> tuple[Any, Any]:
    """A pixel's index within the image, and whether it counts (None: it does)."""
    if padding == "zeros":
        return _clamp(lib, place, size), (place >= 0.0) & (place <= size - 1.0)
    if padding == "reflection":
        place = _reflect(xp, lib, place, low, high)
    return _clamp(lib, place, size), None


def _clamp(lib: Numbers, x: Any, size: Any) -> Any:
    high = x * 0.0 + (size - 1.0)
    inside = lib.where(x > high, high, x)
    return lib.where(inside > 0.0, inside, high * 0.0)  # also where it is no number


def _reflect(xp: Any, lib: Numbers, x: Any, low: Any, high: Any) -> Any:
    """Fold a coordinate back and forth between two mirrors."""
    span = high - low
    safe = lib.where(span > 0.0, span, span * 0.0 + 1.0)
    distance = lib.abs(x - low)
    turns = lib.floor(distance / safe)
    rest = distance - turns * safe
    odd = turns - 2.0 * lib.floor(turns / 2.0)
    folded = lib.where(odd > 0.5, high - rest, low + rest)
    return lib.where(span + x * 0.0 > 0.0, folded, x * 0.0)


@op("AffineGrid", since=20)
def affine_grid(xp: Any, theta: Tensor, size: Sizes, *, align_corners: int = 0) -> Any:
    """The places in the source that an affine map sends a regular grid to, for GridSample."""
    kind = xp.dtype(theta)
    wide = xp.widened(theta)
    batch, _, *spatial = size
    n = len(spatial)
    lines = []
    for i, count in enumerate(spatial):
        along = xp.cast(xp.positions(count), xp.dtype(wide))
        real = xp.size_like(count, wide)
        if align_corners:
            several = real > 1.0
            steps = xp.where(several, real - 1.0, real)
            line = xp.where(several, along * 2.0 / steps - 1.0, along * 0.0 - 1.0)
        else:
            line = (along * 2.0 + 1.0) / real - 1.0
        lines.append(xp.reshape(line, [-1 if a == i else 1 for a in range(n)]))
    ones = sum(line * 0.0 for line in lines) + 1.0
    columns = [xp.reshape(line * ones, [-1, 1]) for line in reversed(lines)]
    points = xp.concat([*columns, xp.reshape(ones, [-1, 1])], 1)
    order = [0, 2, 1]
    moved = xp.matmul(points, xp.transpose(wide, order))
    return xp.cast(xp.reshape(moved, [batch, *spatial, n]), kind)


@op("RoiAlign", since=16, layout=layout.spatial)
def roi_align(
    xp: Any,
    x: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Any:
    """Pool regions into a fixed grid, sampling each cell bilinearly."""
    return _roi_align(
        xp,
        x,
        rois,
        batch_indices,
        (output_height, output_width),
        sampling_ratio,
        spatial_scale,
        mode,
        coordinate_transformation_mode == "half_pixel",
    )


@op("RoiAlign", since=10, until=15, layout=layout.spatial)
def roi_align_10(
    xp: Any,
    x: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Any:
    """The older form, without the half-pixel shift."""
    shape = (output_height, output_width)
    return _roi_align(xp, x, rois, batch_indices, shape, sampling_ratio, spatial_scale, mode, False)


def _roi_align(
    xp: Any,
    x: Any,
    rois: Any,
    batch: Any,
    shape: tuple[int, int],
    ratio: int,
    scale: float,
    mode: str,
    half_pixel: bool,
) -> Any:
    if mode not in ("avg", "max"):
        raise refuse(f"mode {mode!r}", "the specification does not define it")
    if ratio <= 0:
        raise refuse("sampling_ratio=0", "the number of samples would differ from region to region")
    kind = xp.dtype(x)
    wide, rois = xp.widened(x), xp.cast(xp.widened(rois), xp.dtype(xp.widened(x)))
    places = []
    for i, count in enumerate(shape):
        begin, end = rois[:, 1 - i] * scale, rois[:, 3 - i] * scale
        if half_pixel:
            begin, length = begin - 0.5, end - begin
        else:
            length = xp.maximum(end - begin, xp.scalar(1.0, begin))
        cells = np.arange(count)[:, None] + (np.arange(ratio) + 0.5) / ratio
        steps = xp.cast(xp.constant(cells.reshape(1, -1).astype(np.float32)), xp.dtype(wide))
        places.append(xp.reshape(begin, [-1, 1]) + steps * xp.reshape(length / float(count), [-1, 1]))
    return xp.cast(_pool_samples(xp, wide, places, xp.reshape(batch, [-1, 1, 1]), shape, ratio, mode), kind)


def _pool_samples(xp: Any, x: Any, places: list[Any], batch: Any, shape: tuple[int, int], ratio: int, mode: str) -> Any:
    """Sample at every pair of places, and join the ``ratio`` by ``ratio`` samples of each cell."""
    lib = numbers(xp)
    sizes = [xp.size_like(size, x) for size in spatial_sizes(xp, x)]
    axes = [
        _roi_taps(lib, place, size, [-1, count, ratio], xp)
        for place, size, count in zip(places, sizes, shape, strict=True)
    ]
    total = None
    for row, column in itertools.product(range(ratio), repeat=2):
        cell = None
        for (y, wy), (z, wz) in itertools.product(
            *([(p[..., i], w[..., i]) for p, w in a] for a, i in zip(axes, (row, column), strict=True))
        ):
            at = [
                xp.indices(y)[:, :, None] + xp.indices(z)[:, None, :] * 0,
                xp.indices(z)[:, None, :] + xp.indices(y)[:, :, None] * 0,
            ]
            part = xp.pixels(x, xp.indices(batch), at) * xp.per_pixel(wy[:, :, None] * wz[:, None, :])
            if mode == "avg":
                cell = part if cell is None else cell + part
            else:
                cell = part if cell is None else xp.maximum(cell, part)
        if mode == "avg":
            total = cell if total is None else total + cell
        else:
            total = cell if total is None else xp.maximum(total, cell)
    return total / float(ratio * ratio) if mode == "avg" and total is not None else total


def _roi_taps(lib: Numbers, place: Any, size: Any, shape: list[int], xp: Any) -> list[tuple[Any, Any]]:
    """The two pixels around each place with their weights, which are zero where the place is outside the image."""
    outside = (place < -1.0) | (place > size)
    inside = lib.where(place < 0.0, place * 0.0, place)
    low = lib.floor(inside)
    top = size - 1.0
    at_end = low >= top
    low = lib.where(at_end, low * 0.0 + top, low)
    rest = lib.where(at_end, low * 0.0, inside - low)
    high = lib.where(at_end, low, low + 1.0)
    first, second = 1.0 - rest, rest
    zero = rest * 0.0
    return [
        (xp.reshape(low, shape), xp.reshape(lib.where(outside, zero, first), shape)),
        (xp.reshape(high, shape), xp.reshape(lib.where(outside, zero, second), shape)),
    ]


@op("MaxRoiPool", since=1, layout=layout.spatial)
def max_roi_pool(xp: Any, x: Tensor, rois: Tensor, *, pooled_shape: list[int], spatial_scale: float = 1.0) -> Any:
    """The maximum over each cell of a grid laid over each region, whose corners are rounded to pixels; 0 if empty."""
    kind = xp.dtype(x)
    wide = xp.widened(x)
    rois = xp.cast(xp.widened(rois), xp.dtype(wide))
    masks = [
        _cell_masks(xp, rois, i, size, count, spatial_scale)
        for i, (size, count) in enumerate(zip(spatial_sizes(xp, x), pooled_shape, strict=True))
    ]
    images = xp.take(wide, rois[:, 0], 0)
    rank = xp.rank(x)
    least = xp.scalar(float("-inf"), wide)
    for mask, axis in zip(masks, xp.spatial_axes(rank), strict=True):
        cells = []
        for cell in range(xp.shape(mask)[1]):
            line = xp.reshape(
                mask[:, cell], [-1 if a == 0 else xp.shape(mask)[2] if a == axis else 1 for a in range(rank)]
            )
            cells.append(xp.reduce_max(xp.where(line, images, least), [axis], True))
        images = xp.concat(cells, axis)
    empty = xp.equal(images, least)
    return xp.cast(xp.where(empty, xp.scalar(0, images), images), kind)


def _cell_masks(xp: Any, rois: Any, i: int, size: Any, count: int, scale: float) -> Any:
    """Per region and cell, which pixels of an axis belong to it."""
    begin, end = (_away(xp, rois[:, c] * scale) for c in (2 - i, 4 - i))
    length = xp.maximum(end - begin + 1.0, xp.scalar(1.0, begin))
    cell = xp.cast(xp.constant(np.arange(count, dtype=np.float32)), xp.dtype(rois))
    step = xp.reshape(length / float(count), [-1, 1])
    first = xp.floor(cell * step) + xp.reshape(begin, [-1, 1])
    last = xp.ceil((cell + 1.0) * step) + xp.reshape(begin, [-1, 1])
    pixels = xp.cast(xp.positions(size), xp.dtype(rois))
    return (pixels >= first[:, :, None]) & (pixels < last[:, :, None])


def _away(xp: Any, x: Any) -> Any:
    """Round, halves away from zero."""
    return xp.sign(x) * xp.floor(xp.abs(x) + 0.5)
