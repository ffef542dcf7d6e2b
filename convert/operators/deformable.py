"""Deformable convolution; images come in the target's own order of axes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Tensor, Weight, op, refuse
from xport.convert.operators.windows import spatial_sizes


@op("DeformConv", since=19, layout=layout.spatial)
def deform_conv(
    xp: Any,
    x: Tensor,
    w: Weight,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    offset_group: int = 1,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """Convolution whose taps are each moved by an offset, sampled bilinearly, and weighted by a mask."""
    if xp.rank(x) != 4:
        raise refuse(f"deformable convolution of rank {xp.rank(x)}", "ONNX Runtime has two spatial axes only")
    strides, dilations, pads = strides or [1, 1], dilations or [1, 1], pads or [0] * 4
    sizes = xp.shape_of_weight(w)
    kernel = [int(k) for k in kernel_shape or sizes[2:] if isinstance(k, (int, np.integer))]
    channels = xp.shape(x)[xp.image_axis(1, 4)]
    if len(kernel) != 2 or not isinstance(channels, int) or not isinstance(sizes[0], int):
        raise refuse("weights of unknown size", "the kernel's sizes must be known while converting")
    wide, offset = xp.widened(x), xp.widened(offset)
    weight = xp.as_tensor(xp.widened(w))
    out = xp.shape(offset)[2:]
    total = None
    for tap in range(kernel[0] * kernel[1]):
        steps = (tap // kernel[1], tap % kernel[1])
        sampled = []
        for part in range(offset_group):
            index = part * kernel[0] * kernel[1] + tap
            places = [
                _places(xp, out[i], i, steps[i] * dilations[i] - pads[i], strides[i], offset[:, 2 * index + i])
                for i in range(2)
            ]
            width = channels // offset_group
            image = _bilinear(xp, xp.channel_slice(wide, part * width, (part + 1) * width), places)
            sampled.append(image if mask is None else image * xp.per_pixel(xp.widened(mask)[:, index]))
        joined = xp.concat(sampled, xp.image_axis(1, 4)) if len(sampled) > 1 else sampled[0]
        mixed = _by_groups(xp, joined, weight[:, :, steps[0], steps[1]], group, channels, sizes[0])
        total = mixed if total is None else total + mixed
    if b is not None:
        total = total + xp.channelwise(xp.widened(b), 4)
    return xp.cast(total, xp.dtype(x))


def _places(xp: Any, count: Any, axis: int, start: int, stride: int, offset: Any) -> Any:
    line = xp.cast(xp.positions(count, stride, start), xp.dtype(offset))
    return offset + xp.reshape(line, [-1, 1] if axis == 0 else [1, -1])


def _bilinear(xp: Any, x: Any, places: list[Any]) -> Any:
    """Sample between the four pixels around each place; outside the image there are zeros."""
    batch = xp.reshape(xp.positions(xp.shape(x)[0]), [-1, 1, 1])
    sizes = [xp.size_like(size, places[0]) for size in spatial_sizes(xp, x)]
    total = None
    for corner in itertools.product((0.0, 1.0), repeat=2):
        weight, valid, at = None, None, []
        for place, size, side in zip(places, sizes, corner, strict=True):
            pixel = xp.floor(place) + side
            share = 1.0 - xp.abs(place - pixel)
            inside = (pixel >= 0.0) & (pixel <= size - 1.0)
            weight = share if weight is None else weight * share
            valid = inside if valid is None else valid & inside
            at.append(xp.indices(xp.where(inside, pixel, pixel * 0.0)))
        found = xp.pixels(x, batch, at) * xp.per_pixel(weight)
        found = xp.where(xp.per_pixel(valid), found, xp.scalar(0, found))
        total = found if total is None else total + found
    return total


def _by_groups(xp: Any, x: Any, w: Any, groups: int, channels: int, out: int) -> Any:
    if groups == 1:
        return xp.mix_channels(x, w)
    width, each = channels // groups, out // groups
    parts = [
        xp.mix_channels(xp.channel_slice(x, g * width, (g + 1) * width), w[g * each : (g + 1) * each])
        for g in range(groups)
    ]
    return xp.concat(parts, xp.image_axis(1, 4))
