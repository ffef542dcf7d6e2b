"""Operators that cut, pad, turn, pick and place parts of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xport.convert.importing import joining, shaping, sizes
from xport.convert.importing.elementwise import apply, like
from xport.convert.importing.tensor import Perm, Size, Tensor, constant, stored_axes
from xport.convert.importing.writer import Writer

FAR = int(np.iinfo(np.int64).max)
Bound = int | Tensor
Range = tuple[int, Bound, Bound, int]
"""Axis, start, end and step of numpy's slicing."""


def cut(w: Writer, x: Tensor, ranges: Sequence[Range]) -> Tensor:
    """Numpy's slicing along some axes."""
    ranges = [r for r in ranges if not (r[1] == 0 and r[2] == FAR and r[3] == 1)]
    if not ranges:
        return x
    keys = _keys(ranges, shaping.rank_of(x))
    if x.const is not None and keys is not None:
        return constant(x.const[keys])
    axes = stored_axes([r[0] for r in ranges], x.perm, shaping.rank_of(x))
    inputs = [w.stored(x, x.perm, wide=x.wide), _bounds(w, [r[1] for r in ranges]), _bounds(w, [r[2] for r in ranges])]
    inputs.append(w.constant(axes, "int64"))
    if any(r[3] != 1 for r in ranges):
        inputs.append(w.constant([r[3] for r in ranges], "int64"))
    made = w.emit("Slice", inputs, ["int64" if x.wide else x.dtype])[0]
    dims = list(x.dims or ())
    for axis, start, end, step in ranges:
        dims[axis] = _length(w, dims[axis], start, end, step)
    elements = None
    if x.elements is not None and x.rank == 1 and keys is not None:
        elements = x.elements[keys[0]]
    return Tensor(x.dtype, tuple(dims), made, x.perm, wide=x.wide, elements=elements)


def _keys(ranges: Sequence[Range], rank: int) -> tuple[slice, ...] | None:
    """Numpy's way to say it, if all bounds are numbers."""
    keys = [slice(None)] * rank
    for axis, start, end, step in ranges:
        if not isinstance(start, int) or not isinstance(end, int):
            return None
        keys[axis] = slice(start, None if step < 0 and end <= -FAR else end, step)
    return tuple(keys)


def _bounds(w: Writer, bounds: Sequence[Bound]) -> Any:
    if all(isinstance(b, int) for b in bounds):
        return w.constant([int(b) for b in bounds if isinstance(b, int)], "int64")
    parts = [constant([b], "int64") if isinstance(b, int) else _vector(w, b) for b in bounds]
    return w.int64(joining.concat(w, parts, 0))


def _vector(w: Writer, scalar: Tensor) -> Tensor:
    return shaping.unsqueeze(w, shaping.index_vector(w, scalar), [0]) if scalar.rank == 0 else scalar


def _length(w: Writer, size: Size, start: Bound, end: Bound, step: int) -> Size:
    low = known(start)
    high = known(end)
    if isinstance(size, int) and isinstance(low, int) and isinstance(high, int):
        stop = None if step < 0 and high <= -FAR else high
        return len(range(*slice(low, stop, step).indices(size)))
    if step == 1 and isinstance(low, int) and low >= 0 and high == FAR:
        return sizes.subtract(size, low)
    if step == 1 and isinstance(low, int) and low >= 0 and isinstance(high, int) and high < 0:
        return sizes.add(size, high - low)
    if step == 1 and low == 0 and high is not None and high == size:
        return size
    if step == -1 and low == -1 and isinstance(high, int) and high <= -FAR:
        return size
    return w.fresh()


def known(bound: Bound) -> Size | None:
    """A bound as a size, if its content is known."""
    if isinstance(bound, int):
        return bound
    return bound.elements[0] if bound.elements is not None and len(bound.elements) == 1 else None


@dataclass
class Masks:
    """The bit masks of a strided slice; bit ``i`` is about entry ``i`` of the specification."""

    begin: int = 0
    end: int = 0
    ellipsis: int = 0
    new_axis: int = 0
    shrink: int = 0


@dataclass
class _Plan:
    """What a strided slice does: ranges by axis, axes that are indexed away, axes that appear."""

    ranges: list[Range] = field(default_factory=list)
    picks: list[tuple[int, Tensor]] = field(default_factory=list)
    new: list[int] = field(default_factory=list)


def strided_slice(w: Writer, x: Tensor, begin: Tensor, end: Tensor, strides: Tensor, masks: Masks) -> Tensor:
    """TensorFlow's slicing, as Python writes it: ``x[1:, ..., None, -1]``.

    Raises:
        UnsupportedError: If the rank or the number of entries is unknown, or steps are computed at run time.
    """
    plan = _plan(w, x, begin, end, shaping.static(strides, "The step of a slice").reshape(-1), masks)
    result = cut(w, x, plan.ranges)
    for axis, index in sorted(plan.picks, key=lambda pick: -pick[0]):
        result = shaping.gather(w, result, index, axis)
    return shaping.unsqueeze(w, result, plan.new)


def _plan(w: Writer, x: Tensor, begin: Tensor, end: Tensor, strides: np.ndarray, masks: Masks) -> _Plan:
    plan, count = _Plan(), len(strides)
    consumed = sum(1 for i in range(count) if not (masks.new_axis | masks.ellipsis) >> i & 1)
    axis, place, seen = 0, 0, False
    for i in range(count):
        bit = 1 << i
        if masks.ellipsis & bit and not seen:
            seen = True
            skip = shaping.rank_of(x) - consumed
            axis, place = axis + skip, place + skip
        elif masks.new_axis & bit:
            plan.new.append(place)
            place += 1
        elif masks.shrink & bit:
            index = entry(w, begin, i)
            plan.picks.append((axis, constant(index, "int64") if isinstance(index, int) else index))
            axis += 1
        else:
            step = int(strides[i])
            low: Bound = (0 if step > 0 else FAR) if masks.begin & bit else entry(w, begin, i)
            high: Bound = (FAR if step > 0 else -FAR) if masks.end & bit else entry(w, end, i)
            plan.ranges.append((axis, low, high, step))
            axis, place = axis + 1, place + 1
    return plan


def entry(w: Writer, vector: Tensor, i: int) -> Bound:
    """One element of a vector of integers: a number, or an int64 scalar."""
    if vector.const is not None:
        return int(vector.const.reshape(-1)[i])
    if vector.elements is not None and isinstance(vector.elements[i], int):
        return int(vector.elements[i])
    return shaping.gather(w, shaping.index_vector(w, vector), constant(i, "int64"), 0)


def slice_sizes(w: Writer, x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """A block by its corner and its sizes; a size of -1 reaches to the end."""
    ranges: list[Range] = []
    for axis in range(shaping.rank_of(x)):
        low, length = entry(w, begin, axis), entry(w, size, axis)
        ranges.append((axis, low, _end(w, low, length), 1))
    result = cut(w, x, ranges)
    if result.dims is None or size.elements is None:
        return result
    dims = tuple(e if isinstance(e, str) else d for d, e in zip(result.dims, size.elements, strict=True))
    return result.with_(dims=dims)


def _end(w: Writer, low: Bound, length: Bound) -> Bound:
    if isinstance(length, int):
        if length == -1:
            return FAR
        if isinstance(low, int):
            return low + length
    if isinstance(low, int) and low == 0:
        return length
    low_tensor = constant(low, "int64") if isinstance(low, int) else low
    if isinstance(length, int):
        return apply(w, "Add", [low_tensor, constant(length, "int64")])
    total = apply(w, "Add", [low_tensor, length])
    minus = apply(w, "Equal", [length, constant(-1, "int64")], "bool")
    return apply(w, "Where", [minus, constant(FAR, "int64"), total], "int64")


def reshape_last(w: Writer, x: Tensor, kept: int, ends: Sequence[int]) -> Tensor:
    """A reshape that keeps the leading axes and gives the others new sizes, one of which may be -1."""
    lead = cut(w, shaping.shape_of(w, x), [(0, 0, kept, 1)])
    rows = [lead] if kept else []
    return shaping.reshape(w, x, joining.concat(w, [*rows, constant(list(ends), "int64")], 0))


def reverse(w: Writer, x: Tensor, axes: Sequence[int]) -> Tensor:
    """The other way round along axes."""
    rank = shaping.rank_of(x)
    return cut(w, x, [(axis % rank, -1, -FAR, -1) for axis in axes])


def roll(w: Writer, x: Tensor, shifts: Sequence[Bound], axes: Sequence[int]) -> Tensor:
    """Shift along axes; what leaves at one end enters at the other."""
    for shift, axis in zip(shifts, axes, strict=True):
        axis %= shaping.rank_of(x)
        size = (x.dims or ())[axis]
        start: Bound = 0
        if isinstance(shift, int) and isinstance(size, int):
            start = -shift % max(size, 1)
        elif not isinstance(shift, int) or shift:
            length = apply(w, "Max", [shaping.size_of(w, x, axis), constant(1, "int64")])
            back = apply(w, "Neg", [constant(shift, "int64") if isinstance(shift, int) else shift])
            start = apply(w, "Mod", [back, length])
        if start != 0:
            tail, head = cut(w, x, [(axis, start, FAR, 1)]), cut(w, x, [(axis, 0, start, 1)])
            x = joining.concat(w, [tail, head], axis).with_(dims=x.dims)
    return x


def pad(w: Writer, x: Tensor, paddings: Tensor, value: Tensor | None = None, mode: str = "constant") -> Tensor:
    """Add elements at both ends of every axis; ``paddings`` has a row (before, after) an axis."""
    if mode == "symmetric":
        return _pad_symmetric(w, x, shaping.static(paddings, "The width of symmetric padding"))
    if paddings.const is None:
        turned = w.op("Transpose", [shaping.index_vector(w, paddings)], "int64", perm=[1, 0])
        amounts = w.value(w.op("Reshape", [turned, constant([-1], "int64")], "int64"))
        perm: Perm = ()
        dims: tuple[Size, ...] = tuple(w.fresh() for _ in range(shaping.rank_of(x)))
    else:
        rows = paddings.const.astype(np.int64)
        if not rows.any():
            return x
        perm = x.perm
        dims = tuple(sizes.add(d, int(r.sum())) for d, r in zip(x.dims or (), rows, strict=True))
        amounts = w.constant((rows[list(perm)] if perm else rows).T.reshape(-1), "int64")
    inputs = [w.stored(x, perm), amounts]
    if value is not None and not (value.const is not None and not np.any(value.const)):
        inputs.append(w.value(value))
    made = w.emit("Pad", inputs, [x.dtype], {} if mode == "constant" else {"mode": mode})[0]
    return Tensor(x.dtype, dims, made, perm)


def _pad_symmetric(w: Writer, x: Tensor, rows: np.ndarray) -> Tensor:
    """Mirror about the edges, so that the first and last elements repeat; ONNX has it without repetition only."""
    for axis, (before, after) in enumerate(rows.tolist()):
        parts = [x]
        if before:
            parts.insert(0, cut(w, cut(w, x, [(axis, 0, before, 1)]), [(axis, -1, -FAR, -1)]))
        if after:
            parts.append(cut(w, cut(w, x, [(axis, -after, FAR, 1)]), [(axis, -1, -FAR, -1)]))
        x = joining.concat(w, parts, axis)
    return x


def gather_batched(w: Writer, x: Tensor, indices: Tensor, axis: int, batch_dims: int) -> Tensor:
    """Numpy's ``take`` within each of the leading ``batch_dims`` axes."""
    rank = shaping.rank_of(x)
    axis, batch_dims = axis % max(rank, 1), batch_dims % (shaping.rank_of(indices) + 1)
    if batch_dims == 0:
        return shaping.gather(w, x, indices, axis)
    indices = shaping.unwrapped(x, indices, axis)
    if axis != batch_dims:
        order = [i for i in range(rank) if i != axis]
        order.insert(batch_dims, axis)
        inner = gather_batched(w, w.transpose(x, order), indices, batch_dims, batch_dims)
        extra = shaping.rank_of(indices) - batch_dims
        total = shaping.rank_of(inner)
        # The picked axes stand at batch_dims; they belong where ``axis`` was.
        rest = [i for i in range(total) if not batch_dims <= i < batch_dims + extra]
        picked = list(range(batch_dims, batch_dims + extra))
        return w.transpose(inner, rest[:axis] + picked + rest[axis:])
    column = shaping.unsqueeze(w, shaping.index_vector(w, indices), [shaping.rank_of(indices)])
    made: Tensor = w.op("GatherND", [x, column], x.dtype, batch_dims=batch_dims)
    return made.with_(dims=(*(indices.dims or ()), *(x.dims or ())[axis + 1 :]))


def one_hot(w: Writer, indices: Tensor, depth: Tensor, on: Tensor, off: Tensor, axis: int) -> Tensor:
    """``on`` where the position along a new axis equals the index; ONNX's own would count from the end."""
    rank = shaping.rank_of(indices) + 1
    axis %= rank
    kind = indices.dtype if indices.dtype in ("int32", "int64") else "int64"
    picks = shaping.index_vector(w, indices) if kind != indices.dtype else indices
    count = shaping.index_vector(w, depth)
    if count.const is not None:
        numbers = constant(np.arange(int(count.const.reshape(()))), kind)
    else:
        numbers = w.op("Range", [constant(0, "int64"), count, constant(1, "int64")], "int64", (w.fresh(),))
        picks, kind = shaping.index_vector(w, indices), "int64"
    ahead = list(range(1, rank - axis))
    numbers = shaping.unsqueeze(w, numbers, ahead) if ahead else numbers
    hits = apply(w, "Equal", [shaping.unsqueeze(w, picks, [axis]), numbers], "bool")
    from xport.convert.importing.elementwise import cast, select

    if on.const is not None and off.const is not None and on.const == 1 and off.const == 0:
        return cast(w, hits, on.dtype)
    return select(w, hits, on, off)


def scatter(w: Writer, op: str, data: Tensor, indices: Tensor, updates: Tensor, reduction: str = "none") -> Tensor:
    """``ScatterND`` or ``ScatterElements`` with its reduction."""
    attributes: dict[str, Any] = {} if reduction == "none" else {"reduction": reduction}
    made: Tensor = w.op(op, [data, shaping.index_vector(w, indices), updates], data.dtype, **attributes)
    return made.with_(dims=data.dims)


def scatter_nd(w: Writer, indices: Tensor, updates: Tensor, shape: Tensor) -> Tensor:
    """Updates added into zeros."""
    zeros = joining.fill(w, shape, like(0, updates))
    return scatter(w, "ScatterND", zeros, indices, updates, "add")


def reverse_sequence(w: Writer, x: Tensor, lengths: Tensor, seq_axis: int, batch_axis: int) -> Tensor:
    """Reverse the first ``lengths[b]`` elements of each sequence."""
    rank = shaping.rank_of(x)
    rest = [i for i in range(rank) if i not in (seq_axis, batch_axis)]
    order = [batch_axis, seq_axis, *rest]
    turned = w.transpose(x, order)
    made: Tensor = w.op(
        "ReverseSequence", [turned, shaping.index_vector(w, lengths)], x.dtype, turned.dims, batch_axis=0, time_axis=1
    )
    return w.transpose(made, [order.index(i) for i in range(rank)])
