"""Operators that pick elements by position: Gather, Slice, Split and their kin."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, Weight, op, refuse


@op("Gather", since=1, layout=layout.gather)
def gather(xp: Any, data: Tensor, indices: RawValue, *, axis: int = 0, context: Context) -> Any:
    """Slices of ``data`` along an axis, by indices of any rank; negative ones count from the end."""
    known = indices.static()
    return xp.gather(data, context.tensor(indices) if known is None else known, axis % xp.rank(data))


@op("GatherElements", since=11)
def gather_elements(xp: Any, data: Tensor, indices: Tensor, *, axis: int = 0) -> Any:
    """One element a place, found along ``axis`` at the index that stands there."""
    if not xp.rank(data):
        return data
    return xp.gather_elements(data, indices, axis % xp.rank(data))


@op("GatherND", since=11)
def gather_nd(xp: Any, data: Tensor, indices: Weight, *, batch_dims: int = 0) -> Any:
    """Slices of ``data`` at the index tuples along the last axis of ``indices``."""
    return xp.gather_nd(data, indices, batch_dims)


@op("Slice", since=10, layout=layout.slices)
def slice_(
    xp: Any,
    x: Tensor,
    starts: RawValue,
    ends: RawValue,
    axes: RawValue | None = None,
    steps: RawValue | None = None,
    *,
    context: Context,
) -> Any:
    """Numpy's slicing along some axes; bounds beyond the data are clamped."""
    rank = xp.rank(x)
    where = None if axes is None else axes.static()
    strides = None if steps is None else steps.static()
    hidden = (axes is not None and where is None) or (steps is not None and strides is None)
    if hidden or not all(v.known or v.vector is not None for v in (starts, ends)):
        bounds = (context.tensor(starts), context.tensor(ends))
        return xp.slice_at(x, *bounds, *(None if v is None else context.tensor(v) for v in (axes, steps)))
    begins, stops = (context.interpreter.as_sizes(v) for v in (starts, ends))
    places = list(range(len(begins))) if where is None else [int(a) % rank for a in where.reshape(-1)]
    paces = [1] * len(places) if strides is None else [int(s) for s in strides.reshape(-1)]
    return xp.slice(x, list(zip(places, begins, stops, paces, strict=True)))


@op("Slice", since=1, until=9, layout=layout.slices_1)
def slice_1(xp: Any, x: Tensor, *, starts: list[int], ends: list[int], axes: list[int] | None = None) -> Any:
    """The older form: bounds as attributes, steps of one."""
    rank = xp.rank(x)
    places = list(range(len(starts))) if axes is None else [a % rank for a in axes]
    return xp.slice(x, list(zip(places, starts, ends, [1] * len(places), strict=True)))


@op("Split", since=13, layout=layout.along_axis)
def split(
    xp: Any,
    x: Tensor,
    sizes: RawValue | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    context: Context,
) -> Any:
    """Cut a tensor into parts along an axis: of given sizes, or equal ones of which the last may be smaller."""
    axis %= xp.rank(x)
    if sizes is None:
        return _equal_parts(xp, x, num_outputs or context.n_outputs, axis)
    if sizes.known or sizes.vector is not None:
        return tuple(xp.split(x, context.interpreter.as_sizes(sizes), axis))
    return tuple(xp.split_at(x, context.tensor(sizes), axis, context.n_outputs))


@op("Split", since=1, until=12, layout=layout.along_axis)
def split_2(xp: Any, x: Tensor, *, split: list[int] | None = None, axis: int = 0, context: Context) -> Any:
    """The older form, with the sizes as an attribute."""
    axis %= xp.rank(x)
    return _equal_parts(xp, x, context.n_outputs, axis) if split is None else tuple(xp.split(x, split, axis))


def _equal_parts(xp: Any, x: Any, count: int, axis: int) -> tuple[Any, ...]:
    size = xp.shape(x)[axis]
    if isinstance(size, int):
        part = -(-size // count)
        last = size - part * (count - 1)
        if last < 0:
            raise refuse(f"{count} parts of an axis of size {size}", "the specification leaves no element for the last")
        return tuple(xp.split(x, [part] * (count - 1) + [last], axis))
    part = (size + (count - 1)) // count
    return tuple(xp.slice(x, [(axis, part * i, part * (i + 1), 1)]) for i in range(count))


@op("Compress", since=9)
def compress(xp: Any, x: Tensor, condition: Tensor, *, axis: int | None = None) -> Any:
    """Slices along an axis, or elements of the flattened tensor, where a boolean vector is true."""
    if axis is None:
        return xp.compress(xp.reshape(x, [-1]), condition, 0)
    return xp.compress(x, condition, axis % xp.rank(x))


@op("ReverseSequence", since=10)
def reverse_sequence(xp: Any, x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> Any:
    """Reverse the first elements along time, as many as each batch element's length says."""
    return xp.reverse_sequences(x, lengths, batch_axis % xp.rank(x), time_axis % xp.rank(x))


@op("NonZero", since=9)
def nonzero(xp: Any, x: Tensor) -> Any:
    """The indices of elements that are not zero, one row an axis."""
    if xp.rank(x) == 0:
        raise refuse("NonZero of a scalar", "the specification and ONNX Runtime disagree about its shape")
    return xp.transpose(xp.nonzero(x), [1, 0])
