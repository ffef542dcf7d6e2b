"""Operators that make tensors from sizes and numbers: fills, ranges, masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering.interpreter import Context, dtype_name
from xport.convert.lowering.registry import RawValue, Tensor, op
from xport.convert.lowering.values import Value


@op("ConstantOfShape", since=9)
def constant_of_shape(xp: Any, shape: RawValue, *, value: np.ndarray | None = None, context: Context) -> Any:
    """A tensor of one value; float32 zero by default."""
    content = np.zeros((), np.float32) if value is None else value.reshape(())
    if shape.known or shape.vector is not None:
        return xp.fill(context.interpreter.as_sizes(shape), content)
    return xp.fill_to(context.tensor(shape), content)


@op("Range", since=11)
def range_(xp: Any, start: RawValue, limit: RawValue, delta: RawValue, *, stash_type: int = 1, context: Context) -> Any:
    """``start + i * delta`` up to and without the limit; 16-bit floats are computed in float32."""
    counted = _counted_range(xp, (start, limit, delta), context)
    if counted is not None:
        return counted
    ends = [context.tensor(value) for value in (start, limit, delta)]
    name = xp.dtype(ends[0])
    wide = {"float16": "float32", "bfloat16": "float32", "int16": "int64"}.get(name, name)
    result = xp.arange(*(xp.reshape(xp.cast(v, wide) if wide != name else v, []) for v in ends))
    return xp.cast(result, name) if wide != name else result


def _counted_range(xp: Any, ends: tuple[Value, Value, Value], context: Context) -> Any | None:
    """A range in steps of one over sizes: it keeps the size's name, and needs no arithmetic to count."""
    start, limit, delta = ends
    step = delta.static()
    if step is None or step.dtype.kind not in "iu" or int(step.reshape(())) != 1:
        return None
    if start.static() is None or limit.vector is None:
        return None
    first, size = int(start.static().reshape(())), context.interpreter.as_sizes(limit)[0]  # type: ignore[union-attr]
    if first:
        return None
    return xp.index_range(size, step.dtype.name)


def _counts(start: Any, delta: Any) -> bool:
    """Whether a range surely starts at zero and goes in steps of one."""
    first, step = start.static(), delta.static()
    return first is not None and step is not None and int(first.reshape(())) == 0 and int(step.reshape(())) == 1


@op("EyeLike", since=9)
def eye_like(xp: Any, x: Tensor, *, dtype: int | None = None, k: int = 0) -> Any:
    """Ones on diagonal ``k`` of a matrix of the input's sizes, zeros elsewhere."""
    diagonal = xp.equal(*_places(xp, x, k))
    return xp.cast(diagonal, xp.dtype(x) if dtype is None else dtype_name(ir.DataType(dtype)))


@op("Trilu", since=14)
def trilu(xp: Any, x: Tensor, k: RawValue = None, *, upper: int = 1, context: Context) -> Any:
    """Keep the elements on and above (or below) diagonal ``k`` of the last two axes; zero the others."""
    known = np.zeros((), np.int64) if k is None else k.static()
    diagonal = xp.reshape(context.tensor(k), []) if known is None else int(known.reshape(()))
    # An offset beyond the sizes means what one just beyond them means; clip it lest the sum overflows.
    diagonal = min(max(diagonal, -(2**31)), 2**31) if isinstance(diagonal, int) else diagonal
    rows, columns = _places(xp, x, diagonal)
    kept = xp.greater_equal(columns, rows) if upper else xp.less_equal(columns, rows)
    return xp.where(kept, x, xp.zeros_like(x))


def _places(xp: Any, x: Any, k: Any) -> tuple[Any, Any]:
    """Row numbers plus ``k`` as a column, and column numbers as a row, of the last two axes."""
    height, width = xp.shape(x)[-2:]
    rows = xp.reshape(xp.index_range(height), [height, 1])
    return xp.add(rows, xp.size64(k) if isinstance(k, int) else k), xp.reshape(xp.index_range(width), [1, width])


@op("OneHot", since=9)
def one_hot(xp: Any, indices: Tensor, depth: RawValue, values: Tensor, *, axis: int = -1, context: Context) -> Any:
    """``values[1]`` where the new axis is at the index and ``values[0]`` elsewhere; out of range is nowhere."""
    rank = xp.rank(indices)
    known = depth.static()
    if known is not None:
        size = int(known.reshape(()))
    elif depth.vector is not None:
        size = depth.vector.items[0]
    else:
        size = xp.unstack(xp.cast(xp.reshape(context.tensor(depth), []), "int64"), "depth")[0]
    axis %= rank + 1
    sizes = xp.shape(indices)
    sizes.insert(axis, 1)
    indices = xp.reshape(xp.cast(indices, "int64"), sizes)
    steps = xp.index_range(size)
    places = xp.reshape(steps, [size if i == axis else 1 for i in range(rank + 1)])
    on = xp.logical_or(xp.equal(places, indices), xp.equal(places, xp.add(indices, xp.size64(size))))
    return xp.where(on, values[1], values[0])
