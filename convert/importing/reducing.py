"""Operators that reduce, sort and multiply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xport.convert.importing import shaping
from xport.convert.importing.elementwise import broadcast, cast
from xport.convert.importing.tensor import Size, Tensor, constant, stored_axes, without_axes
from xport.convert.importing.writer import Writer


def reduce(w: Writer, op: str, x: Tensor, axes: Tensor | Sequence[int], keepdims: bool) -> Tensor:
    """``ReduceSum`` and the like over axes; nothing happens where there are none."""
    if x.dtype == "bool":
        return cast(w, reduce(w, op, cast(w, x, "uint8"), axes, keepdims), "bool")
    if isinstance(axes, Tensor):
        if axes.const is None:
            made: Tensor = w.op(
                op, [x, shaping.index_vector(w, axes)], x.dtype, keepdims=int(keepdims), noop_with_empty_axes=1
            )
            return made
        axes = [int(a) for a in axes.const.reshape(-1)]
    rank = shaping.rank_of(x)
    named = sorted({a % max(rank, 1) for a in axes})
    if not named or rank == 0:
        return x
    if x.const is not None:
        folded: Tensor = w.op(op, [x, constant(named, "int64")], x.dtype, keepdims=int(keepdims))
        return folded
    wide = x.wide and op in ("ReduceProd", "ReduceMax", "ReduceMin", "ReduceSum")
    places = sorted(stored_axes(named, x.perm, rank))
    kind = "int64" if wide else x.dtype
    inputs = [w.stored(x, x.perm, wide=wide), w.constant(places, "int64")]
    value = w.emit(op, inputs, [kind], {"keepdims": int(keepdims)})[0]
    if keepdims:
        dims = tuple(1 if i in named else d for i, d in enumerate(x.dims or ()))
        return Tensor(x.dtype, dims, value, x.perm, wide=wide)
    kept = tuple(d for i, d in enumerate(x.dims or ()) if i not in named)
    elements = None
    if op == "ReduceProd" and x.elements is not None and x.rank == 1:
        rest = [e for e in x.elements if e != 1]
        if len(rest) == 1:
            elements = (rest[0],)
    return Tensor(x.dtype, kept, value, without_axes(x.perm, named), wide=wide, elements=elements)


def arg(w: Writer, op: str, x: Tensor, axis: int, dtype: str, *, keepdims: bool = False) -> Tensor:
    """``ArgMax`` or ``ArgMin``; the first of equals."""
    rank = shaping.rank_of(x)
    axis %= rank
    place = stored_axes([axis], x.perm, rank)[0]
    value = w.emit(op, [w.stored(x, x.perm)], ["int64"], {"axis": place, "keepdims": int(keepdims)})[0]
    if keepdims:
        dims = tuple(1 if i == axis else d for i, d in enumerate(x.dims or ()))
        return Tensor(dtype, dims, value, x.perm, wide=dtype == "int32")
    dims = tuple(d for i, d in enumerate(x.dims or ()) if i != axis)
    return Tensor(dtype, dims, value, without_axes(x.perm, [axis]), wide=dtype == "int32")


def softmax(w: Writer, op: str, x: Tensor, axis: int) -> Tensor:
    """``Softmax`` or ``LogSoftmax`` along an axis."""
    place = stored_axes([axis], x.perm, shaping.rank_of(x))[0]
    if not x.perm and axis == -1:
        place = -1
    value = w.emit(op, [w.stored(x, x.perm)], [x.dtype], {"axis": place})[0]
    return Tensor(x.dtype, x.dims, value, x.perm)


def top_k(w: Writer, x: Tensor, k: Tensor, *, ordered: bool = True, dtype: str = "int32") -> list[Tensor]:
    """The largest along the last axis and where they are; of equals the first."""
    count = shaping.index_vector(w, k)
    count = shaping.unsqueeze(w, count, [0]) if count.rank == 0 else count
    values, places = w.op("TopK", [x, count], [x.dtype, "int64"], axis=-1, sorted=int(ordered))
    known: Size = w.fresh()
    if count.elements is not None:
        known = next(iter(count.elements))
    dims = (*(x.dims or ())[:-1], known) if x.dims is not None else None
    return [values.with_(dims=dims), places.with_(dtype=dtype, wide=dtype == "int32", dims=dims)]


def cumulative_sum(w: Writer, x: Tensor, axis: Tensor, exclusive: bool, reverse: bool) -> Tensor:
    """Running sums along an axis."""
    flags: dict[str, Any] = {name: 1 for name, on in (("exclusive", exclusive), ("reverse", reverse)) if on}
    made: Tensor = w.op("CumSum", [x, shaping.index_vector(w, axis)], x.dtype, x.dims, integers=True, **flags)
    return made


def matmul(w: Writer, a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Matrix product over the last two axes, the others broadcast."""
    a = swapped(w, a) if transpose_a else a
    b = swapped(w, b) if transpose_b else b
    a, b = _unflattened(w, a, b)
    made: Tensor = w.op("MatMul", [a, b], a.dtype)
    if a.dims is None or b.dims is None or len(a.dims) < 2 or len(b.dims) < 2:
        return made
    lead = broadcast(w, [Tensor(a.dtype, a.dims[:-2]), Tensor(b.dtype, b.dims[:-2])]) or ()
    return made.with_(dims=(*lead, a.dims[len(a.dims) - 2], b.dims[-1]))


def _unflattened(w: Writer, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """A flattened image times known weights: the weights are put in the order in which the image is stored."""
    if not isinstance(a.extra, shaping.Flat) or b.const is None or b.const.ndim != 2:
        return a, b
    image = a.extra.source
    extents = list(image.dims or ())[1:]
    if image.perm[:1] != (0,) or not all(isinstance(d, int) for d in extents):
        return a, b
    order = [axis - 1 for axis in image.perm[1:]]
    rows = b.const.reshape([*(int(d) for d in extents), -1])
    weights = rows.transpose([*order, len(order)]).reshape(b.const.shape)
    value = w.emit("Reshape", [w.stored(image, image.perm), w.constant([-1, len(weights)], "int64")], [a.dtype])[0]
    return Tensor(a.dtype, a.dims, value), constant(weights, label=b.label)


def swapped(w: Writer, x: Tensor) -> Tensor:
    """The last two axes exchanged."""
    rank = shaping.rank_of(x)
    return w.transpose(x, [*range(rank - 2), rank - 1, rank - 2])


def band(w: Writer, x: Tensor, lower: int, upper: int) -> Tensor:
    """The elements within a number of diagonals of the main one; -1 keeps a whole side."""
    for keep, above in ((lower, 1), (upper, 0)):
        if keep >= 0:
            x = w.op("Trilu", [x, constant(-keep if above else keep, "int64")], x.dtype, x.dims, upper=above)
    return x


def where_true(w: Writer, x: Tensor) -> Tensor:
    """The indices of what is not zero, a row each."""
    found: Tensor = w.op("NonZero", [x], "int64")
    count = w.fresh()
    return w.transpose(found.with_(dims=(shaping.rank_of(x), count)), [1, 0])


def matrix_inverse_permutation(w: Writer, x: Tensor) -> Tensor:
    """The inverse of a permutation that is known."""
    return constant(np.argsort(shaping.static(x, "A permutation")), x.dtype)
