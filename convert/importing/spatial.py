"""Convolutions, pools and resizing; images come and go channels-last and are stored channels-first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xport.convert.importing import joining, shaping, sizes, slicing
from xport.convert.importing.elementwise import apply
from xport.convert.importing.tensor import Perm, Size, Tensor, channels_first, constant
from xport.convert.importing.writer import Writer
from xport.errors import UnsupportedError

Pads = Sequence[tuple[int, int]]


def padding(
    mode: str, extents: Sequence[Size], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
    explicit: Pads = (),
) -> dict[str, Any]:  # fmt: skip
    """The padding attributes of a window that moves over an image.

    Args:
        mode: ``SAME``, ``VALID`` or ``EXPLICIT``.
        extents: The image's spatial sizes.
        kernel: The window's.
        strides: Its steps.
        dilations: The distances of its elements.
        explicit: Elements to add before and after, for ``EXPLICIT``.

    Returns:
        ONNX's attributes; none where nothing is padded.
    """
    pairs: list[tuple[int, int]] = []
    if mode == "EXPLICIT":
        pairs = [(int(a), int(b)) for a, b in explicit]
    elif mode == "SAME":
        for extent, k, s, d in zip(extents, kernel, strides, dilations, strict=True):
            reach = (k - 1) * d + 1
            if isinstance(extent, int):
                total = max((-(-extent // s) - 1) * s + reach - extent, 0)
            elif s == 1:
                total = reach - 1
            elif reach <= s and s % reach == 0 and reach == 1:
                total = 0
            else:
                return {"auto_pad": "SAME_UPPER"}
            pairs.append((total // 2, total - total // 2))
    if not any(a or b for a, b in pairs):
        return {}
    return {"pads": [a for a, _ in pairs] + [b for _, b in pairs]}


def window_sizes(
    w: Writer, mode: str, extents: Sequence[Size], kernel: Sequence[int], strides: Sequence[int],
    dilations: Sequence[int], explicit: Pads = (), *, ceil: bool = False,
) -> list[Size]:  # fmt: skip
    """How often a window fits."""
    found: list[Size] = []
    pairs = list(explicit) or [(0, 0)] * len(extents)
    for extent, k, s, d, (before, after) in zip(extents, kernel, strides, dilations, pairs, strict=True):
        reach = (k - 1) * d + 1
        span = extent if mode == "SAME" else sizes.add(extent, before + after - reach)
        if isinstance(span, int):
            found.append(-(-span // s) if mode == "SAME" else span // s + 1)
        elif s == 1:
            found.append(span if mode == "SAME" else sizes.add(span, 1))
        else:
            found.append(w.fresh())
    return found


def image(w: Writer, x: Tensor, first: bool) -> tuple[Any, Perm, list[Size], Size]:
    """An image's ONNX value, the order of the result, its spatial sizes and channels.

    Args:
        w: The writer.
        x: The image.
        first: Whether its channels come first, as ONNX has it, or last.
    """
    rank = shaping.rank_of(x)
    dims = x.dims or ()
    if first:
        return w.value(x), (), list(dims[2:]), dims[1]
    perm = channels_first(rank)
    return w.stored(x, perm), perm, list(dims[1:-1]), dims[-1]


def pictured(x: Tensor, value: Any, perm: Perm, extents: Sequence[Size], channels: Size) -> Tensor:
    """The result of an operator on an image."""
    batch = (x.dims or (1,))[0]
    dims = (batch, *extents, channels) if perm else (batch, channels, *extents)
    return Tensor(x.dtype, dims, value, perm)


def conv(
    w: Writer, x: Tensor, kernel: Tensor, *, strides: Sequence[int], mode: str, dilations: Sequence[int],
    explicit: Pads = (), first: bool = False, depthwise: bool = False, bias: Tensor | None = None, groups: int = 0,
) -> Tensor:  # fmt: skip
    """Convolution; the kernel is (spatial…, in / groups, out), or (spatial…, in, multiplier) if ``depthwise``.

    The number of groups is found from the channels, unless it is given.
    """
    value, perm, extents, channels = image(w, x, first)
    *window, per_group, out = [_number(d, "A kernel's size") for d in kernel.dims or ()]
    spatial = len(window)
    if depthwise:
        groups, out = per_group, per_group * out
        shape = constant([*window, 1, out], "int64")
        kernel = shaping.reshape(w, kernel, shape)
    elif not groups:
        groups = channels // per_group if isinstance(channels, int) and per_group else 1
    weights = w.transpose(kernel, [spatial + 1, spatial, *range(spatial)])
    attributes: dict[str, Any] = {"kernel_shape": window, "strides": list(strides)}
    if any(d != 1 for d in dilations):
        attributes["dilations"] = list(dilations)
    if groups != 1:
        attributes["group"] = groups
    attributes |= padding(mode, extents, window, strides, dilations, explicit)
    inputs = [value, w.value(weights)] + ([w.value(bias)] if bias is not None else [])
    made = w.emit("Conv", inputs, [x.dtype], attributes)[0]
    fits = window_sizes(w, mode, extents, window, strides, dilations, explicit)
    return pictured(x, made, perm, fits, out)


def _number(size: Size, what: str) -> int:
    if isinstance(size, int):
        return size
    raise UnsupportedError(f"{what} is not known while converting, but ONNX wants it known.")


def conv_transpose(
    w: Writer, sizes_out: Tensor, kernel: Tensor, x: Tensor, *, strides: Sequence[int], mode: str,
    dilations: Sequence[int], explicit: Pads = (), first: bool = False, bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The gradient of a convolution, used as an upsampling layer; the kernel is (spatial…, out, in)."""
    value, perm, extents, _ = image(w, x, first)
    *window, out, _ = [_number(d, "A kernel's size") for d in kernel.dims or ()]
    spatial = len(window)
    weights = w.transpose(kernel, [spatial + 1, spatial, *range(spatial)])
    attributes: dict[str, Any] = {"kernel_shape": window, "strides": list(strides)}
    if any(d != 1 for d in dilations):
        attributes["dilations"] = list(dilations)
    inputs = [value, w.value(weights)] + ([w.value(bias)] if bias is not None else [])
    wanted = _wanted(w, sizes_out, spatial, first)
    full = [
        sizes.add(sizes.times(sizes.subtract(e, 1), s), (k - 1) * d + 1)
        for e, k, s, d in zip(extents, window, strides, dilations, strict=True)
    ]
    surplus = [_surplus(f, slicing.known(o)) for f, o in zip(full, wanted, strict=True)]
    ends: list[Size] = [size if (size := slicing.known(o)) is not None else w.fresh() for o in wanted]
    if all(s is not None for s in surplus):
        numbers = [int(s) for s in surplus if s is not None]
        cuts = [_cut(mode, n, explicit[i] if explicit else (0, 0)) for i, n in enumerate(numbers)]
        extra = [n - a - b for n, (a, b) in zip(numbers, cuts, strict=True)]
        if any(a or b for a, b in cuts):
            attributes["pads"] = [a for a, _ in cuts] + [b for _, b in cuts]
        if any(extra):
            attributes["output_padding"] = [-e for e in extra]
        made = w.emit("ConvTranspose", inputs, [x.dtype], attributes)[0]
        return pictured(x, made, perm, ends, out)
    if any(s > 1 for s in strides):
        attributes["output_padding"] = [s - 1 for s in strides]
    made = w.emit("ConvTranspose", inputs, [x.dtype], attributes)[0]
    whole = pictured(x, made, perm, [w.fresh() for _ in full], out)
    axes = range(1, spatial + 1) if perm else range(2, spatial + 2)
    cropped = _crop(w, x, whole, list(axes), wanted, window, strides, dilations, mode)
    return cropped.with_(dims=pictured(x, made, perm, ends, out).dims)


def _wanted(w: Writer, sizes_out: Tensor, spatial: int, first: bool) -> list[slicing.Bound]:
    """The spatial sizes that a transposed convolution has to give."""
    count = len(sizes_out.elements) if sizes_out.elements is not None else int((sizes_out.dims or (0,))[0])
    begin = 0 if count == spatial else 2 if first else 1
    found: list[slicing.Bound] = []
    for i in range(begin, begin + spatial):
        bound = slicing.entry(w, sizes_out, i)
        if isinstance(bound, Tensor) and sizes_out.elements is not None:
            bound = bound.with_(elements=(sizes_out.elements[i],))
        found.append(bound)
    return found


def _surplus(full: Size, wanted: Size | None) -> int | None:
    """How much more a transposed convolution without padding gives than is wanted, if that can be told."""
    if wanted is None:
        return None
    rest = sizes.subtract(full, wanted)
    return rest if isinstance(rest, int) else None


def _cut(mode: str, surplus: int, explicit: tuple[int, int]) -> tuple[int, int]:
    if mode == "EXPLICIT":
        return int(explicit[0]), int(explicit[1])
    total = max(surplus, 0)
    return total // 2, total - total // 2


def _crop(
    w: Writer, x: Tensor, whole: Tensor, axes: Sequence[int], wanted: Sequence[slicing.Bound],
    window: Sequence[int], strides: Sequence[int], dilations: Sequence[int], mode: str,
) -> Tensor:  # fmt: skip
    """The wanted part of a transposed convolution whose sizes only run time knows."""
    if mode == "EXPLICIT":
        raise UnsupportedError("A transposed convolution with explicit padding and unknown sizes has no ONNX form.")
    ranges: list[slicing.Range] = []
    for axis, out, k, s, d in zip(axes, wanted, window, strides, dilations, strict=True):
        size = constant(out, "int64") if isinstance(out, int) else shaping.index_vector(w, out)
        before: slicing.Bound = 0
        if mode == "SAME":
            extent = shaping.size_of(w, x, axis)
            reach = constant((k - 1) * d + 1 - s, "int64")
            full = apply(w, "Add", [apply(w, "Mul", [extent, constant(s, "int64")]), reach])
            total = apply(w, "Max", [apply(w, "Sub", [full, size]), constant(0, "int64")])
            half = apply(w, "Div", [total, constant(2, "int64")])
            before, size = half, apply(w, "Add", [half, size])
        ranges.append((axis, before, size, 1))
    return slicing.cut(w, whole, ranges)


def pool(
    w: Writer, op: str, x: Tensor, *, window: Sequence[int], strides: Sequence[int], mode: str,
    explicit: Pads = (), first: bool = False,
) -> Tensor:  # fmt: skip
    """``MaxPool`` or ``AveragePool``; padding is never counted."""
    value, perm, extents, channels = image(w, x, first)
    ones = [1] * len(window)
    attributes: dict[str, Any] = {"kernel_shape": list(window), "strides": list(strides)}
    attributes |= padding(mode, extents, window, strides, ones, explicit)
    made = w.emit(op, [value], [x.dtype], attributes)[0]
    return pictured(x, made, perm, window_sizes(w, mode, extents, window, strides, ones, explicit), channels)


def resize(
    w: Writer, x: Tensor, size: Tensor, *, linear: bool, align_corners: bool, half_pixel: bool, first: bool = False
) -> Tensor:
    """Resize an image to a height and width, as TensorFlow does."""
    value, perm, _, channels = image(w, x, first)
    attributes: dict[str, Any] = {"mode": "linear" if linear else "nearest"}
    attributes["coordinate_transformation_mode"] = (
        "align_corners" if align_corners else "half_pixel" if half_pixel else "asymmetric"
    )
    if not linear:
        attributes["nearest_mode"] = "round_prefer_ceil" if align_corners or half_pixel else "floor"
    # All four sizes: ONNX Runtime fails on two of them where it moves transposes through the operator.
    kept = [shaping.unsqueeze(w, shaping.size_of(w, x, axis), [0]) for axis in (0, 1 if first else 3)]
    sizes_out = joining.concat(w, [*kept, shaping.index_vector(w, size)], 0)
    made = w.emit("Resize", [value, None, None, w.int64(sizes_out)], [x.dtype], attributes)[0]
    ends = list(size.elements) if size.elements is not None else [w.fresh(), w.fresh()]
    return pictured(x, made, perm, ends, channels)


def depth_to_space(w: Writer, x: Tensor, block: int, *, first: bool = False) -> Tensor:
    """Channels moved into blocks of space."""
    value, perm, extents, channels = image(w, x, first)
    made = w.emit("DepthToSpace", [value], [x.dtype], {"blocksize": block, "mode": "DCR"})[0]
    fewer = channels // block**2 if isinstance(channels, int) else w.fresh()
    return pictured(x, made, perm, [sizes.times(e, block) for e in extents], fewer)


def space_to_depth(w: Writer, x: Tensor, block: int, *, first: bool = False) -> Tensor:
    """Blocks of space moved into channels."""
    value, perm, extents, channels = image(w, x, first)
    made = w.emit("SpaceToDepth", [value], [x.dtype], {"blocksize": block})[0]
    more = channels * block**2 if isinstance(channels, int) else w.fresh()
    ends = [size if (size := sizes.divide(e, block)) is not None else w.fresh() for e in extents]
    return pictured(x, made, perm, ends, more)


def batch_to_space(w: Writer, x: Tensor, block: Sequence[int], crops: Tensor) -> Tensor:
    """Groups of the batch moved into blocks of space, then cropped; ``crops`` has a row (before, after) an axis."""
    dims, n = list(x.dims or ()), len(block)
    rest = list(range(n + 1, len(dims)))
    blocks = int(np.prod(block))
    parts = [*block, _Over(0, blocks), *range(1, len(dims))]
    split_up = _reshape(w, x, [p if i < n else _at(p) for i, p in enumerate(parts)])
    order = [n]
    for i in range(n):
        order += [n + 1 + i, i]
    order += [n + axis for axis in rest]
    joined: list[Any] = [_Over(0, blocks)] + [_Times(1 + i, b) for i, b in enumerate(block)] + [_at(a) for a in rest]
    whole = _reshape_like(w, w.transpose(split_up, order), x, joined)
    return cropped(w, whole, crops)


def cropped(w: Writer, x: Tensor, crops: Tensor) -> Tensor:
    """An image without its edges: ``crops`` has a row (before, after) for each axis behind the first."""
    ranges: list[slicing.Range] = []
    if crops.const is not None:
        ranges = [(1 + i, int(a), -int(b) if b else slicing.FAR, 1) for i, (a, b) in enumerate(crops.const)]
        return slicing.cut(w, x, ranges)
    flat = shaping.reshape(w, shaping.index_vector(w, crops), constant([-1], "int64"))
    count = (crops.dims or (None,))[0]
    if not isinstance(count, int):
        raise UnsupportedError("It is not known while converting how many axes are cropped, but ONNX wants it known.")
    for i in range(count):
        before, after = (shaping.gather(w, flat, constant(2 * i + k, "int64"), 0) for k in (0, 1))
        ranges.append((1 + i, before, apply(w, "Sub", [shaping.size_of(w, x, 1 + i), after]), 1))
    return slicing.cut(w, x, ranges)


def all_axes(w: Writer, x: Tensor, paddings: Tensor) -> Tensor:
    """Paddings with a row for each axis of ``x``, from those of the axes behind the first."""
    rank = shaping.rank_of(x)
    if paddings.const is not None:
        rows = np.zeros((rank, 2), np.int64)
        rows[1 : 1 + len(paddings.const)] = paddings.const
        return constant(rows)
    count = (paddings.dims or (None,))[0]
    if not isinstance(count, int):
        raise UnsupportedError("It is not known while converting how many axes are padded, but ONNX wants it known.")
    ahead, behind = (constant(np.zeros((n, 2), np.int64)) for n in (1, rank - 1 - count))
    return joining.concat(w, [ahead, shaping.index_vector(w, paddings), *([behind] if rank - 1 - count else [])], 0)


def space_to_batch(w: Writer, x: Tensor, block: Sequence[int], paddings: Tensor) -> Tensor:
    """Blocks of padded space moved into the batch; ``paddings`` has a row (before, after) an axis."""
    rank, n = shaping.rank_of(x), len(block)
    x = slicing.pad(w, x, all_axes(w, x, paddings))
    inner: list[Any] = [_at(0)]
    for i, b in enumerate(block):
        inner += [_Over(1 + i, b), b]
    rest = [_at(axis) for axis in range(n + 1, rank)]
    split_up = _reshape(w, x, inner + rest)
    order = [2 * i + 2 for i in range(n)] + [0] + [2 * i + 1 for i in range(n)] + list(range(2 * n + 1, rank + n))
    joined = [_Times(0, int(np.prod(block)))] + [_Over(1 + i, b) for i, b in enumerate(block)] + rest
    return _reshape_like(w, w.transpose(split_up, order), x, joined)


class _Times:
    """The size of an axis times a number."""

    def __init__(self, axis: int, factor: int) -> None:
        self.axis, self.factor = axis, factor

    def size(self, w: Writer, dims: Sequence[Size]) -> Size:
        return sizes.times(dims[self.axis], self.factor)


class _Over(_Times):
    """The size of an axis over a number."""

    def size(self, w: Writer, dims: Sequence[Size]) -> Size:
        found = sizes.divide(dims[self.axis], self.factor)
        return w.fresh() if found is None else found


def _at(axis: Any) -> Any:
    return axis if isinstance(axis, _Times) else _Times(axis, 1)


def _reshape(w: Writer, x: Tensor, parts: Sequence[Any]) -> Tensor:
    return _reshape_like(w, x, x, parts)


def _reshape_like(w: Writer, value: Tensor, x: Tensor, parts: Sequence[Any]) -> Tensor:
    """Reshape to sizes that are numbers, or computed from the sizes of ``x``."""
    dims = tuple(p if isinstance(p, int) else p.size(w, x.dims or ()) for p in parts)
    rows = []
    for part in parts:
        if isinstance(part, int):
            rows.append(constant([part], "int64"))
            continue
        size = shaping.unsqueeze(w, shaping.size_of(w, x, part.axis), [0])
        if part.factor != 1:
            size = apply(w, "Div" if isinstance(part, _Over) else "Mul", [size, constant([part.factor], "int64")])
        rows.append(size)
    shape = joining.concat(w, rows, 0)
    return shaping.reshape(w, value, shape.with_(elements=dims) if shape.const is None else shape)
