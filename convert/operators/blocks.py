"""Operators that move blocks of pixels; images come in the target's own order of axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Sizes, Tensor, op, refuse


@op("DepthToSpace", since=1, layout=layout.spatial)
def depth_to_space(xp: Any, x: Tensor, *, blocksize: int, mode: str = "DCR") -> Any:
    """Move blocks of channels into space; the block's axes come before (DCR) or behind (CRD) the channels left."""
    return xp.depth_to_space(x, blocksize, _channels_first(mode))


@op("SpaceToDepth", since=1, layout=layout.spatial)
def space_to_depth(xp: Any, x: Tensor, *, blocksize: int, mode: str = "DCR") -> Any:
    """Move blocks of pixels into channels; the block's axes go before (DCR) or behind (CRD) the channels."""
    return xp.space_to_depth(x, blocksize, _channels_first(mode))


def _channels_first(mode: str) -> bool:
    if mode not in ("DCR", "CRD"):
        raise refuse(f"mode {mode!r}", "the specification does not define it")
    return mode == "CRD"


@op("CenterCropPad", since=18)
def center_crop_pad(xp: Any, x: Tensor, shape: Sizes, *, axes: list[int] | None = None) -> Any:
    """Crop or pad with zeros around the middle, to the sizes wanted."""
    rank = xp.rank(x)
    which = list(range(rank)) if axes is None else [a % rank for a in axes]
    pads: list[tuple[Any, Any]] = [(0, 0)] * rank
    for axis, wanted in zip(which, shape, strict=True):
        size = xp.shape(x)[axis]
        if isinstance(size, int) and isinstance(wanted, (int, np.integer)):
            begin = (int(wanted) - size) // 2 if wanted >= size else -((size - int(wanted)) // 2)
            pads[axis] = (begin, int(wanted) - size - begin)
        else:
            x = _centred(xp, x, axis, size, wanted)
    return xp.pad_image(x, pads)


def _centred(xp: Any, x: Any, axis: int, size: Any, wanted: Any) -> Any:
    """Crop or pad one axis, whichever run time finds it needs."""
    less, more = xp.largest(size - wanted, 0), xp.largest(wanted - size, 0)
    place = xp.positions(wanted, 1, less // 2 - more // 2)
    inside = (place >= 0) & (place < xp.size_scalar(size))
    safe = xp.where(inside, place, place * 0)
    line = xp.reshape(inside, [-1 if a == axis else 1 for a in range(xp.rank(x))])
    return xp.where(line, xp.take(x, safe, axis), xp.scalar(0, x))


@op("Col2Im", since=18)
def col2im(
    xp: Any,
    x: Tensor,
    image_shape: Sizes,
    block_shape: Sizes,
    *,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """Put columns of blocks back into an image; where blocks overlap, they add up."""
    n = len(image_shape)
    strides, dilations, pads = strides or [1] * n, dilations or [1] * n, pads or [0] * (2 * n)
    batch, rows, _ = xp.shape(x)
    total = xp.product(image_shape)
    taps: Any = None
    inside: Any = None
    step: Any = 1
    for i in reversed(range(n)):
        room = image_shape[i] + pads[i] + pads[n + i] - (block_shape[i] - 1) * dilations[i] - 1
        tap = xp.reshape(xp.positions(block_shape[i], dilations[i], -pads[i]), [-1, 1])
        place = tap + xp.reshape(xp.positions(room // strides[i] + 1, strides[i]), [1, -1])
        within = (place >= 0) & (place < xp.size_scalar(image_shape[i]))
        place = place * xp.size_scalar(step)
        if taps is None:
            taps, inside = place, within
        else:
            (tall, cols), (more, others) = xp.shape(place), xp.shape(taps)
            outer, inner, joined = [tall, 1, cols, 1], [1, more, 1, others], [tall * more, cols * others]
            taps = xp.reshape(xp.reshape(place, outer) + xp.reshape(taps, inner), joined)
            inside = xp.reshape(xp.reshape(within, outer) & xp.reshape(inside, inner), joined)
        step = step * image_shape[i]
    where = xp.reshape(xp.where(inside, taps, taps * 0 + xp.size_scalar(total)), [-1])
    count = xp.product(block_shape)
    channels = rows // count
    columns = xp.reshape(x, [batch, channels, count, -1])
    columns = xp.transpose(columns, [2, 3, 0, 1])
    sums = xp.add_rows(xp.reshape(columns, [-1, batch * channels]), where, total + 1)
    sums = xp.slice(sums, [(0, 0, total, 1)])
    image = xp.transpose(sums, [1, 0])
    return xp.reshape(image, [batch, channels, *image_shape])
