"""TensorFlow's operators on images: windows, colours and contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, shaping, slicing, spatial
from xport.convert.importing.formulas import Term, count_up
from xport.convert.importing.tensor import Tensor
from xport.convert.importing.tf_registry import Call, op
from xport.signature import numpy_dtype


@dataclass(frozen=True)
class Windows:
    """What a window sees of an image at each of its places.

    Attributes:
        content: Of the axes batch, row of places, row in the window, column of places, column in the window, channel.
        inside: Whether that is a pixel of the image; else it is any of them.
    """

    content: Term
    inside: Term


def _places(c: Call, axis: int, size: int, stride: int, rate: int) -> tuple[Term, Term]:
    """The pixels along one side that a window sees, a row a place, and whether they are in the image."""
    extent = Term(c.w, shaping.size_of(c.w, c.x, axis))
    reach, before = (size - 1) * rate + 1, None
    if c.attr("padding") == "SAME":
        count = (extent + (stride - 1)) / stride
        before = ((count - 1) * stride + reach - extent).most(0) / 2
    else:
        count = (extent - reach + stride).most(0) / stride
    index = (count_up(c.w, count.tensor) * stride).at(1) + count_up(c.w, size) * rate
    index = index if before is None else index - before
    return index.clip(0, extent - 1), (index >= 0) & (index < extent)


def windows(c: Call, sizes: tuple[int, int], strides: list[int], rates: list[int]) -> Windows:
    """Move a window over the call's first input."""
    rows, row_inside = _places(c, 1, sizes[0], strides[1], rates[1])
    columns, column_inside = _places(c, 2, sizes[1], strides[2], rates[2])
    content = Term(c.w, c.x).take(rows, 1).take(columns, 3)
    return Windows(content, row_inside.at(2, 3) & column_inside)


@op("ExtractImagePatches")
def _patches(c: Call) -> Tensor:
    _, height, width, _ = c.attr("ksizes")
    seen = windows(c, (height, width), c.attr("strides"), c.attr("rates"))
    content = seen.content
    if c.attr("padding") == "SAME":
        content = seen.inside.at(4).where(content, 0)
    turned = c.w.transpose(content.tensor, [0, 1, 3, 2, 4, 5])
    channels = (c.x.dims or (None,))[-1]
    return slicing.reshape_last(c.w, turned, 3, [height * width * channels if isinstance(channels, int) else -1])


@op("Dilation2D")
def _dilation(c: Call) -> Tensor:
    kernel = Term(c.w, c.inputs[1])
    height, width = (int(d) for d in shaping.static(shaping.shape_of(c.w, kernel.tensor), "A window's size")[:2])
    seen = windows(c, (height, width), c.attr("strides"), c.attr("rates"))
    kind = numpy_dtype(c.x.dtype)
    lowest = float(np.finfo(kind).min) if kind.kind not in "iu" else int(np.iinfo(kind).min)
    raised = seen.inside.at(4).where(seen.content + kernel.at(1), lowest)
    return raised.total(2, 4, op="ReduceMax", keep=False).most(lowest).tensor


@op("MaxPoolWithArgmax")
def _pool_with_places(c: Call) -> list[Tensor]:
    w, ones = c.w, [1, 1]
    kept = c.x.dtype in ("float16", "float32", "float64", "int8", "uint8")
    x = c.x if kept else e.cast(w, c.x, "float64")
    value, perm, extents, channels = spatial.image(w, x, first=False)
    window, strides = (list(c.attr(name)[1:3]) for name in ("ksize", "strides"))
    attributes: dict[str, Any] = {"kernel_shape": window, "strides": strides}
    attributes |= spatial.padding(c.attr("padding"), extents, window, strides, ones)
    made, where = w.emit("MaxPool", [value], [x.dtype, "int64"], attributes)
    fits = spatial.window_sizes(w, c.attr("padding"), extents, window, strides, ones)
    highest = spatial.pictured(x, made, perm, fits, channels)
    place = Term(w, spatial.pictured(x, where, perm, fits, channels).with_(dtype="int64"))
    height, width, depth = (Term(w, shaping.size_of(w, c.x, axis)) for axis in (1, 2, 3))
    area = height * width
    # ONNX counts pixels channel by channel, TensorFlow channels pixel by pixel.
    index = place.modulo(area) * depth + count_up(w, depth.tensor)
    if c.attr("include_batch_in_index", False):
        index = index + place / (area * depth) * (area * depth)
    return [e.cast(w, highest, c.x.dtype), e.cast(w, index.tensor, c.attr("Targmax", "int64"))]


def _channels(c: Call) -> list[Term]:
    return [Term(c.w, c.x).take(i, -1) for i in range(3)]


def _stacked(c: Call, parts: list[Term]) -> Tensor:
    return joining.stack(c.w, [p.tensor for p in parts], -1)


def _hue(red: Term, green: Term, blue: Term, value: Term, spread: Term) -> Term:
    """The place on the circle of colours, from 0 to 1; 0 for greys."""
    scale = 1 / (6 * spread)
    of_green, of_blue = scale * (blue - red) + 2 / 6, scale * (red - green) + 4 / 6
    found = red.equals(value).where(scale * (green - blue), green.equals(value).where(of_green, of_blue))
    found = (spread > 0).where(found, 0)
    return (found < 0).where(found + 1, found)


def _pure(hue: Term) -> list[Term]:
    """Red, green and blue of a full colour."""
    turn = hue * 6
    red = ((turn - 3).of("Abs") - 1).clip(0, 1)
    return [red, *((2 - (turn - centre).of("Abs")).clip(0, 1) for centre in (2, 4))]


def _split_up(c: Call) -> tuple[Term, Term, Term, Term]:
    """Hue, saturation, value and the distance of the largest from the smallest part of colours."""
    red, green, blue = _channels(c)
    value = red.most(green).most(blue)
    spread = value - red.least(green).least(blue)
    saturation = (value > 0).where(spread / value, 0)
    return _hue(red, green, blue, value, spread), saturation, value, spread


@op("RGBToHSV")
def _to_hsv(c: Call) -> Tensor:
    return _stacked(c, list(_split_up(c)[:3]))


@op("HSVToRGB")
def _to_rgb(c: Call) -> Tensor:
    hue, saturation, value = _channels(c)
    return _stacked(c, [((1 - saturation) + saturation * part) * value for part in _pure(hue)])


@op("AdjustHue")
def _adjust_hue(c: Call) -> Tensor:
    hue, _, value, spread = _split_up(c)
    turned = hue + Term(c.w, e.cast(c.w, c.inputs[1], c.x.dtype))
    turned = turned - turned.of("Floor")
    return _stacked(c, [value - spread + spread * part for part in _pure(turned)])


@op("AdjustSaturation")
def _adjust_saturation(c: Call) -> Tensor:
    hue, saturation, value, _ = _split_up(c)
    depth = (saturation * Term(c.w, e.cast(c.w, c.inputs[1], c.x.dtype))).clip(0, 1) * value
    return _stacked(c, [value - depth + depth * part for part in _pure(hue)])


@op("AdjustContrastv2")
def _adjust_contrast(c: Call) -> Tensor:
    image, factor = Term(c.w, c.x), Term(c.w, e.cast(c.w, c.inputs[1], c.x.dtype))
    mean = image.total(-3, -2, op="ReduceMean")
    return ((image - mean) * factor + mean).tensor


@op("SpaceToBatch", "BatchToSpace")
def _batches(c: Call) -> Tensor:
    change = spatial.space_to_batch if c.op.type == "SpaceToBatch" else spatial.batch_to_space
    return change(c.w, c.x, [c.attr("block_size")] * 2, c.inputs[1])
