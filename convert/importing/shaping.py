"""Operators that rearrange tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.convert.importing import sizes
from xport.convert.importing.elementwise import Wrapped, arithmetic, cast
from xport.convert.importing.tensor import (
    Perm,
    Size,
    Tensor,
    constant,
    stored_axes,
    with_axes,
    without_axes,
)
from xport.convert.importing.writer import Writer
from xport.errors import UnsupportedError

FAR = np.iinfo(np.int64).max


def rank_of(x: Tensor) -> int:
    """The rank.

    Raises:
        UnsupportedError: If it is unknown.
    """
    if x.rank is None:
        raise UnsupportedError("A tensor of unknown rank cannot be rearranged.", "Give the model's inputs their ranks.")
    return x.rank


def static(x: Tensor, what: str) -> np.ndarray:
    """The content of a tensor that must be known while converting.

    Raises:
        UnsupportedError: If it is computed at run time.
    """
    if x.const is not None:
        return x.const
    if x.elements is not None and all(isinstance(e, int) for e in x.elements):
        shape = () if x.rank == 0 else (len(x.elements),)
        return np.asarray(x.elements, np.int64).reshape(shape)
    raise UnsupportedError(f"{what} is computed at run time, but ONNX wants it known.")


def shape_of(w: Writer, x: Tensor, dtype: str = "int64") -> Tensor:
    """The sizes as a vector."""
    if x.dims is not None:
        w.remember(x)
        made = vector_of(w, x.dims, dtype)
        if made is not None:
            return made
    found = Tensor("int64", None if x.rank is None else (x.rank,), w.emit("Shape", [w.value(x)], ["int64"])[0])
    return found.with_(dtype=dtype, wide=dtype == "int32", elements=x.dims)


def vector_of(w: Writer, dims: Sequence[Size], dtype: str = "int64") -> Tensor | None:
    """A vector of sizes, read off where their symbols stand; None if one stands nowhere in sight."""
    if all(isinstance(d, int) for d in dims):
        return constant(np.asarray(dims, np.int64).reshape(-1), dtype)
    whole = _whole_shape(w, dims)
    if whole is None:
        parts = [_entry(w, d) for d in dims]
        known = [p for p in parts if p is not None]
        if len(known) < len(parts):
            return None
        whole = w.emit("Concat", [w.value(p) for p in known], ["int64"], {"axis": 0})[0]
    return Tensor(dtype, (len(dims),), whole, wide=dtype == "int32", elements=tuple(dims))


def _whole_shape(w: Writer, dims: Sequence[Size]) -> Any:
    """The ``Shape`` of a value that has all these sizes in this order; None if there is none."""
    places = [w.origin(d) if isinstance(d, str) else None for d in dims]
    symbols = [p for p in places if p is not None]
    if not symbols or any(isinstance(d, str) and p is None for d, p in zip(dims, places, strict=True)):
        return None
    value = symbols[0][0]
    if any(p is not None and (p[0] is not value or p[1] != i) for i, p in enumerate(places)):
        return None
    if value.shape is None or len(value.shape) != len(dims):
        return None
    same = [isinstance(d, str) or value.shape[i] == d for i, d in enumerate(dims)]
    return w.emit("Shape", [value], ["int64"])[0] if all(same) else None


def _entry(w: Writer, size: Size) -> Tensor | None:
    """A size as a vector of one element."""
    found = scalar_of(w, size)
    return None if found is None else unsqueeze(w, found, [0])


def scalar_of(w: Writer, size: Size) -> Tensor | None:
    """A size as an int64 scalar; None if its symbols stand nowhere in sight."""
    if isinstance(size, int):
        return constant(size, "int64")
    total: Tensor | None = None
    for product, factor in sizes.terms(size):
        found: Tensor | None = constant(factor, "int64")
        for symbol in product:
            origin = w.origin(symbol)
            if origin is None or found is None:
                return None
            shape = Tensor("int64", (None,), w.emit("Shape", [origin[0]], ["int64"])[0])  # type: ignore[arg-type]
            value = w.emit("Gather", [w.value(shape), w.constant(origin[1], "int64")], ["int64"], {"axis": 0})[0]
            found = arithmetic(w, "Mul", Tensor("int64", (), value, elements=(symbol,)), found)
        total = found if total is None or found is None else arithmetic(w, "Add", total, found)
    return total


def size_of(w: Writer, x: Tensor, axis: int) -> Tensor:
    """One size, as an int64 scalar."""
    if x.dims is not None:
        w.remember(x)
        found = scalar_of(w, x.dims[axis])
        if found is not None:
            return found
    return gather(w, shape_of(w, x), constant(axis, "int64"), 0)


def reshape(w: Writer, x: Tensor, shape: Tensor) -> Tensor:
    """Other sizes with the same elements; one may be -1, none means "as before"."""
    wanted = shape.elements
    if wanted is None and shape.const is not None:
        wanted = tuple(int(i) for i in shape.const)
    if wanted is None:
        return _reshape_freely(w, x, shape)
    if x.const is not None and all(isinstance(s, int) for s in wanted):
        return constant(x.const.reshape([int(s) for s in wanted]), label=x.label)
    dims = _resolve(w, x, wanted)
    if x.dims is not None and dims == x.dims:
        return x
    order = _unit_move(x, dims)
    if order is not None:
        return w.transpose(x, order)
    request = _request(x, dims)
    zeros = {"allowzero": 1} if 0 in dims else {}
    if request is None:
        vector = vector_of(w, dims)
        target = w.int64(shape if vector is None else vector)
    else:
        target = w.constant(request, "int64")
    # A zero copies the size at its own place, so that the axes have to be in order.
    value = w.value(x, wide=x.wide) if request is not None and 0 in request else _plain(w, x)
    made = w.emit("Reshape", [value, target], [kind_of(x)], zeros)[0]
    flat = Flat(x) if x.perm and len(dims) == 2 and x.dims is not None and dims[0] == x.dims[0] else None
    return Tensor(x.dtype, dims, made, wide=x.wide, extra=flat)


def _reshape_freely(w: Writer, x: Tensor, shape: Tensor) -> Tensor:
    """A reshape to sizes of which nothing is known."""
    count = shape.dims[0] if shape.dims else None
    made = w.emit("Reshape", [_plain(w, x), w.int64(shape)], [kind_of(x)], {"allowzero": 1})[0]
    dims = tuple(w.fresh() for _ in range(count)) if isinstance(count, int) else None
    return Tensor(x.dtype, dims, made, wide=x.wide)


@dataclass(frozen=True)
class Flat:
    """A tensor whose axes but the first were made one.

    Attributes:
        source: The tensor before.
    """

    source: Tensor


def _unit_move(x: Tensor, dims: Sequence[Size]) -> list[int] | None:
    """The transpose that a reshape is which only moves axes of size one; None if it is another one."""
    if x.dims is None or len(x.dims) != len(dims) or x.const is not None:
        return None
    kept = [i for i, d in enumerate(x.dims) if d != 1]
    if [x.dims[i] for i in kept] != [d for d in dims if d != 1]:
        return None
    units = [i for i, d in enumerate(x.dims) if d == 1]
    return [units.pop(0) if d == 1 else kept.pop(0) for d in dims]


def kind_of(x: Tensor) -> str:
    """The dtype that a value is stored with."""
    return "int64" if x.wide else x.dtype


def _plain(w: Writer, x: Tensor) -> Any:
    """The value in an order that a reshape can start from: moved axes of size one do not matter."""
    if x.perm and x.dims is not None:
        moved = [axis for axis in x.perm if x.dims[axis] != 1]
        if moved == sorted(moved):
            return w.stored(x, x.perm, wide=x.wide)
    return w.value(x, wide=x.wide)


def _resolve(w: Writer, x: Tensor, wanted: Sequence[Size]) -> tuple[Size, ...]:
    """The sizes of a reshape's result, -1 replaced by what it stands for or by a symbol."""
    if -1 not in wanted:
        return tuple(wanted)
    own = list(x.dims) if x.dims is not None else None
    rest = [s for s in wanted if s != -1]
    size: Size = w.fresh()
    if own is not None:
        for s in list(rest):
            if isinstance(s, str) and s in own:
                own.remove(s)
                rest.remove(s)
        symbols = [s for s in own if isinstance(s, str)]
        total = int(np.prod([s for s in own if isinstance(s, int)], dtype=np.int64))
        divisor = int(np.prod([s for s in rest if isinstance(s, int)], dtype=np.int64))
        if all(isinstance(s, int) for s in rest) and divisor > 0:
            if not symbols:
                size = total // divisor
            elif len(symbols) == 1 and total == divisor:
                size = symbols[0]
    return tuple(size if s == -1 else s for s in wanted)


def _request(x: Tensor, dims: Sequence[Size]) -> list[int] | None:
    """What to ask ONNX for, where numbers, one -1 and copied sizes suffice."""
    unknown = [i for i, d in enumerate(dims) if isinstance(d, str)]
    if len(unknown) <= 1 and not (unknown and 0 in dims):
        return [-1 if isinstance(d, str) else d for d in dims]
    if 0 in dims or x.dims is None:
        return None
    own = x.dims
    same = [i for i in unknown if i < len(own) and own[i] == dims[i]]
    rest = [i for i in unknown if i not in same]
    if not rest:
        rest = []
    if len(rest) > 1:
        return None
    return [int(d) if isinstance(d, int) else (0 if i in same else -1) for i, d in enumerate(dims)]


def squeeze(w: Writer, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Remove axes of size one; all of them if none are named."""
    rank = rank_of(x)
    named = sorted(axis % rank for axis in axes) if len(axes) else [i for i, d in enumerate(x.dims or ()) if d == 1]
    if not named:
        return x
    if x.const is not None:
        return constant(x.const.squeeze(tuple(named)), label=x.label)
    dims = tuple(d for i, d in enumerate(x.dims or ()) if i not in named)
    places = sorted(stored_axes(named, x.perm, rank))
    made = w.emit("Squeeze", [w.stored(x, x.perm, wide=x.wide), w.constant(places, "int64")], [kind_of(x)])[0]
    return Tensor(x.dtype, dims, made, without_axes(x.perm, named), wide=x.wide, elements=x.elements)


def unsqueeze(w: Writer, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Insert axes of size one, at places in the result."""
    rank = rank_of(x) + len(axes)
    named = sorted(axis % rank for axis in axes)
    if not named:
        return x
    if x.const is not None:
        return constant(np.expand_dims(x.const, tuple(named)), label=x.label)
    old = iter(x.dims or ())
    dims = tuple(1 if i in named else next(old) for i in range(rank))
    perm = with_axes(x.perm, named, rank) if x.perm else ()
    made = w.emit("Unsqueeze", [w.stored(x, x.perm, wide=x.wide), w.constant(named, "int64")], [kind_of(x)])[0]
    return Tensor(x.dtype, dims, made, perm, wide=x.wide, elements=x.elements if rank <= 1 else None)


def gather(w: Writer, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Numpy's ``take``."""
    rank = rank_of(x)
    axis %= max(rank, 1)
    indices = unwrapped(x, indices, axis)
    if x.const is not None and indices.const is not None:
        return constant(np.take(x.const, indices.const, axis))
    picked = _picked(x, indices)
    if picked is not None and indices.rank == 0:
        found = scalar_of(w, picked[0])
        if found is not None:
            kind = {"dtype": "int32", "wide": True} if x.dtype == "int32" else {}
            return constant(found.const, x.dtype) if found.const is not None else found.with_(elements=picked, **kind)
    inner = indices.dims
    dims = None if inner is None else (*(x.dims or ())[:axis], *inner, *(x.dims or ())[axis + 1 :])
    # Picking keeps the order of the axes if as many come back as go: none or one.
    keeps = x.perm != () and indices.rank in (0, 1)
    place = stored_axes([axis], x.perm, rank)[0] if keeps else axis
    data = w.stored(x, x.perm if keeps else (), wide=x.wide)
    picks = w.int64(indices) if indices.wide or indices.const is not None else w.value(indices)
    if indices.dtype not in ("int32", "int64"):
        picks = w.int64(indices)
    made = w.emit("Gather", [data, picks], [kind_of(x)], {"axis": place})[0]
    perm: Perm = ()
    if keeps:
        perm = x.perm if indices.rank == 1 else without_axes(x.perm, [axis])
    return Tensor(x.dtype, dims, made, perm, wide=x.wide, elements=picked)


def unwrapped(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Indices before negative ones were counted from the end of an axis."""
    found = indices.extra
    if isinstance(found, Wrapped) and x.dims is not None and found.size == x.dims[axis]:
        return found.index
    return indices


def _picked(x: Tensor, indices: Tensor) -> tuple[Size, ...] | None:
    """The elements that known indices pick from a vector of sizes."""
    if x.elements is None or x.rank != 1 or indices.const is None or indices.const.ndim > 1:
        return None
    return tuple(x.elements[int(i)] for i in indices.const.reshape(-1))


def _wide(x: Tensor) -> Tensor:
    """An integer vector as ONNX wants it: int64."""
    if x.const is not None:
        return constant(x.const, "int64", x.label)
    return x.with_(dtype="int64", wide=False) if x.wide else x


def index_vector(w: Writer, x: Tensor) -> Tensor:
    """A tensor of sizes or indices as int64."""
    made = _wide(x)
    return made if made.dtype == "int64" else cast(w, made, "int64")


def arange(w: Writer, bounds: Sequence[Tensor], dtype: str) -> Tensor:
    """Numbers from a start up to a limit by a step; as many as there are, where that is told in sizes."""
    ends = [x.elements[0] if x.elements is not None and len(x.elements) == 1 else None for x in bounds]
    made: Tensor = w.op("Range", bounds, dtype, integers=True)
    start, limit, step = ends
    if made.const is not None:
        return made
    count = None if start is None or limit is None or step != 1 else sizes.subtract(limit, start)
    return made.with_(dims=(w.fresh() if count is None or not sizes.never_negative(count) else count,))
