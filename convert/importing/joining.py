"""Operators that join, cut apart and repeat tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.importing.shaping import gather, index_vector, kind_of, rank_of, unsqueeze
from xport.convert.importing.tensor import Size, Tensor, constant, stored_axes
from xport.convert.importing.writer import Writer


def concat(w: Writer, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Join along an axis."""
    tensors = [t for t in tensors if t.dims is None or t.dims != (0,)] or list(tensors[:1])
    if len(tensors) == 1:
        return tensors[0]
    rank = rank_of(tensors[0])
    axis %= rank
    wide = w.stays_wide(tensors)
    if all(t.const is not None for t in tensors):
        return constant(np.concatenate([t.const for t in tensors if t.const is not None], axis))
    perm = w.choose(tensors)
    values = [w.stored(t, perm, wide=wide) for t in tensors]
    kind = "int64" if wide else tensors[0].dtype
    made = w.emit("Concat", values, [kind], {"axis": stored_axes([axis], perm, rank)[0]})[0]
    columns = list(zip(*(t.dims or () for t in tensors), strict=True))
    dims: list[Size] = [next((s for s in column if isinstance(s, int)), column[0]) for column in columns]
    parts = columns[axis]
    dims[axis] = sum(int(s) for s in parts) if all(isinstance(s, int) for s in parts) else w.fresh()
    elements: tuple[Size, ...] | None = None
    if rank == 1 and all(t.elements is not None for t in tensors):
        elements = tuple(e for t in tensors for e in t.elements or ())
    return Tensor(tensors[0].dtype, tuple(dims), made, perm, wide=wide, elements=elements)


def stack(w: Writer, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Join along a new axis."""
    rank = rank_of(tensors[0]) + 1
    if all(t.const is not None for t in tensors):
        return constant(np.stack([t.const for t in tensors if t.const is not None], axis))
    return concat(w, [unsqueeze(w, t, [axis % rank]) for t in tensors], axis % rank)


def split(
    w: Writer, x: Tensor, axis: int, known: Sequence[int] | None, count: int, lengths: Tensor | None = None
) -> list[Tensor]:
    """Parts along an axis: of known sizes, of sizes in ``lengths``, or ``count`` equal ones."""
    rank = rank_of(x)
    axis %= rank
    place = stored_axes([axis], x.perm, rank)[0]
    whole = (x.dims or ())[axis]
    if known is not None and -1 in known and isinstance(whole, int):
        rest = whole - sum(s for s in known if s != -1)
        known = [rest if s == -1 else s for s in known]
    if known is None and isinstance(whole, int) and lengths is None:
        known = [whole // count] * count
    if x.const is not None and known is not None:
        ends = np.cumsum(known)[:-1]
        return [constant(part) for part in np.split(x.const, ends, axis)]
    attributes: dict[str, Any] = {"axis": place}
    inputs = [w.stored(x, x.perm, wide=x.wide)]
    if lengths is not None:
        inputs.append(w.int64(lengths))
    elif known is not None:
        inputs.append(w.constant(list(known), "int64"))
    else:
        attributes["num_outputs"] = count
    made = w.emit("Split", inputs, [kind_of(x)] * count, attributes)
    parts: list[Size] = list(known) if known is not None else [w.fresh() for _ in range(count)]
    dims = [tuple(p if i == axis else d for i, d in enumerate(x.dims or ())) for p in parts]
    return [Tensor(x.dtype, d, v, x.perm, wide=x.wide) for d, v in zip(dims, made, strict=True)]


def unstack(w: Writer, x: Tensor, axis: int, count: int) -> list[Tensor]:
    """Parts of size one along an axis, which goes away."""
    return [gather(w, x, constant(i, "int64"), axis) for i in range(count)]


def tile(w: Writer, x: Tensor, repeats: Tensor) -> Tensor:
    """Repeat along every axis."""
    if repeats.const is not None and bool(np.all(repeats.const == 1)):
        return x
    made = w.op("Tile", [x, index_vector(w, repeats)], x.dtype)
    known = repeats.elements
    if x.dims is not None and known is not None:
        made = made.with_(dims=tuple(_times(w, d, r) for d, r in zip(x.dims, known, strict=True)))
    found: Tensor = made
    return found


def _times(w: Writer, size: Size, factor: Size) -> Size:
    if isinstance(size, int) and isinstance(factor, int):
        return size * factor
    if size == 1:
        return factor
    return size if factor == 1 else w.fresh()


def expand(w: Writer, x: Tensor, shape: Tensor) -> Tensor:
    """Broadcast to a shape."""
    return _sized(w, w.op("Expand", [x, index_vector(w, shape)], x.dtype), shape)


def _sized(w: Writer, made: Tensor, shape: Tensor) -> Tensor:
    """A tensor that got its sizes from a vector of them."""
    if made.dims is not None:
        return made
    if shape.elements is not None:
        return made.with_(dims=shape.elements)
    count = shape.dims[0] if shape.dims else None
    return made.with_(dims=tuple(w.fresh() for _ in range(count))) if isinstance(count, int) else made


def fill(w: Writer, shape: Tensor, value: Tensor) -> Tensor:
    """A tensor of one value."""
    if value.const is not None and value.const.dtype != object and not (shape.const is not None):
        made: Tensor = w.op(
            "ConstantOfShape", [index_vector(w, shape)], value.dtype, value=ir.Tensor(value.const.reshape(1))
        )
    else:
        made = w.op("Expand", [value, index_vector(w, shape)], value.dtype)
    return _sized(w, made, shape)
