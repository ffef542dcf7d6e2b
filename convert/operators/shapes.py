"""Operators that rearrange or make tensors without computing on their elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.host import sizes_of
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, op, refuse
from xport.convert.lowering.values import Dim, Value, divide, factors, identity, product


@op("Constant")
def constant(
    xp: Any,
    *,
    value: np.ndarray | None = None,
    value_float: float | None = None,
    value_floats: list[float] | None = None,
    value_int: int | None = None,
    value_ints: list[int] | None = None,
    value_string: str | None = None,
    value_strings: list[str] | None = None,
) -> Any:
    """A constant in the graph."""
    forms = (
        (value, None),
        (value_float, np.float32),
        (value_floats, np.float32),
        (value_int, np.int64),
        (value_ints, np.int64),
        (value_string, object),
        (value_strings, object),
    )
    content, dtype = next((v, d) for v, d in forms if v is not None)
    return content if dtype is None else np.array(content, dtype=dtype)


@op("Identity")
def identity_op(xp: Any, x: RawValue) -> Any:
    """The value itself, in whatever order it is stored."""
    return x


@op("Transpose", target="tensorflow")
def transpose_lazily(xp: Any, x: RawValue, *, perm: list[int] | None = None, context: Context) -> Any:
    """Note the new order; somebody who needs it materialised will pay for it."""
    if x.tensor is None:
        tensor = context.tensor(x)
        return xp.transpose(tensor, perm or list(reversed(range(xp.rank(tensor)))))
    order = perm if perm is not None else list(reversed(range(xp.rank(x.tensor))))
    stored = x.perm or tuple(range(len(order)))
    # Logical axis j of the result is logical axis order[j] of x.
    moved = tuple(order.index(axis) for axis in stored)
    dims = None if x.dims is None else tuple(x.dims[axis] for axis in order)
    return Value(context.node.outputs[0].name or "", tensor=x.tensor, perm=identity(moved), dims=dims)


@op("Transpose", target="torch")
def transpose(xp: Any, x: Tensor, *, perm: list[int] | None = None) -> Any:
    """Permute the axes; reverse them if no order is given."""
    return xp.transpose(x, perm if perm is not None else list(reversed(range(xp.rank(x)))))


@op("Reshape", since=5)
def reshape(xp: Any, x: RawValue, shape: RawValue, *, allowzero: int = 0, context: Context) -> Any:
    """Reshape; 0 copies a size unless ``allowzero``, -1 is inferred."""
    if not (shape.known or shape.vector is not None):
        return xp.reshape_to(context.tensor(x), context.tensor(shape), bool(allowzero))
    wanted = context.interpreter.as_sizes(shape)
    copies = not (allowzero and any(_is_zero(s) for s in wanted))  # exporters set allowzero where no size is zero
    if copies and context.interpreter.is_row_flatten(x, wanted):
        return Value(context.node.outputs[0].name or "", flattened=x)
    if not allowzero and any(_is_zero(s) for s in wanted):
        sizes = sizes_of(x, xp) or xp.shape(context.tensor(x))
        wanted = [sizes[i] if _is_zero(s) else s for i, s in enumerate(wanted)]
    if not xp.channels_last:
        return xp.reshape(context.tensor(x), wanted)
    return _reshape_as_stored(xp, x, _settle(wanted, sizes_of(x, xp), context.output_shape()), context)


def _reshape_as_stored(xp: Any, x: Value, wanted: list[Any], context: Context) -> Any:
    """Reshape without giving up the storage order, where that is possible."""
    sizes = sizes_of(x, xp)
    if x.tensor is not None and x.perm is not None and sizes is not None and -1 not in wanted:
        moved = layout.regroup(sizes, wanted, x.perm)
        if moved is not None:
            name = context.node.outputs[0].name or ""
            return Value(name, tensor=xp.reshape(x.tensor, moved[0]), perm=identity(moved[1]))
    return xp.reshape(context.tensor(x), wanted)


def _settle(wanted: list[Any], sizes: list[Any] | None, inferred: list[int | str | None] | None) -> list[Any]:
    """Sizes with what shape inference and symbols know: a number for -1, and the names that it gives to the others."""
    if inferred is not None and len(inferred) == len(wanted):
        wanted = [_known(s, d) for s, d in zip(wanted, inferred, strict=True)]
    places = [i for i, s in enumerate(wanted) if isinstance(s, int) and s == -1]
    if len(places) == 1 and sizes is not None:
        rest = product([s for s in wanted if not (isinstance(s, int) and s == -1)])
        found = divide(product(sizes), rest)
        wanted = [found if s == -1 and found is not None else s for s in wanted]
    return wanted


def _known(size: Any, inferred: int | str | None) -> Any:
    if isinstance(size, Dim):
        return Dim(*factors(inferred), lambda: size.scalar) if isinstance(inferred, str) else size
    return inferred if size == -1 and isinstance(inferred, int) else size


def _is_zero(size: Any) -> bool:
    return isinstance(size, (int, np.integer)) and int(size) == 0


@op("Flatten", since=1)
def flatten(xp: Any, x: RawValue, *, axis: int = 1, context: Context) -> Any:
    """Flatten to a matrix: axes before ``axis`` become rows, the others columns."""
    rank = context.interpreter.rank(x)
    if axis == 1 and context.interpreter.is_row_flatten(x, None):
        return Value(context.node.outputs[0].name or "", flattened=x)
    tensor = context.tensor(x)
    sizes = xp.shape(tensor)
    split = axis % rank if axis < 0 and rank else axis
    return xp.reshape(tensor, [xp.product(sizes[:split]), xp.product(sizes[split:])])


@op("Squeeze", since=13, layout=layout.squeeze)
def squeeze(xp: Any, x: Tensor, axes: RawValue | None = None, *, context: Context) -> Any:
    """Remove axes of size one."""
    known = None if axes is None else axes.static()
    if axes is not None and known is None:
        return xp.squeeze_at(x, context.tensor(axes))
    return _squeeze(xp, x, None if known is None else known.reshape(-1).tolist())


@op("Squeeze", since=1, until=12, layout=layout.squeeze)
def squeeze_1(xp: Any, x: Tensor, *, axes: list[int] | None = None) -> Any:
    """The older form, with axes as an attribute."""
    return _squeeze(xp, x, axes)


def _squeeze(xp: Any, x: Any, axes: list[int] | None) -> Any:
    if axes is None and (xp.rank(x) is None or not all(isinstance(s, int) for s in xp.shape(x))):
        return xp.squeeze_all(x)  # which axes are of size one is known at run time only
    sizes = xp.shape(x)
    gone = {a % len(sizes) for a in axes} if axes is not None else {i for i, s in enumerate(sizes) if xp.is_one(s)}
    if wrong := [a for a in sorted(gone) if isinstance(sizes[a], int) and sizes[a] != 1]:
        raise refuse(f"axis {wrong[0]} of size {sizes[wrong[0]]}", "only axes of size one can be removed")
    return xp.reshape(x, [s for i, s in enumerate(sizes) if i not in gone])


@op("Unsqueeze", since=13, layout=layout.unsqueeze)
def unsqueeze(xp: Any, x: Tensor, axes: RawValue, *, context: Context) -> Any:
    """Insert axes of size one."""
    known = axes.static()
    return xp.unsqueeze_at(x, context.tensor(axes)) if known is None else _unsqueeze(xp, x, known.reshape(-1).tolist())


@op("Unsqueeze", since=1, until=12, layout=layout.unsqueeze)
def unsqueeze_1(xp: Any, x: Tensor, *, axes: list[int]) -> Any:
    """The older form, with axes as an attribute."""
    return _unsqueeze(xp, x, axes)


def _unsqueeze(xp: Any, x: Any, axes: list[int]) -> Any:
    sizes = xp.shape(x)
    rank = len(sizes) + len(axes)
    for axis in sorted(a % rank for a in axes):
        sizes.insert(axis, 1)
    return xp.reshape(x, sizes)


@op("Concat", since=4, layout=layout.along_axis)
def concat(xp: Any, *inputs: Tensor, axis: int) -> Any:
    """Join tensors along an axis."""
    return xp.concat(list(inputs), axis)


@op("Expand", since=8)
def expand(xp: Any, x: Tensor, shape: RawValue, *, context: Context) -> Any:
    """Broadcast both ways: a size of one in ``shape`` keeps the input's."""
    if shape.known or shape.vector is not None:
        return xp.expand(x, context.interpreter.as_sizes(shape))
    return xp.expand_to(x, context.tensor(shape))


@op("Tile", since=6)
def tile(xp: Any, x: Tensor, repeats: RawValue, *, context: Context) -> Any:
    """Repeat along every axis."""
    if repeats.known or repeats.vector is not None:
        return xp.tile(x, context.interpreter.as_sizes(repeats))
    return xp.tile_to(x, context.tensor(repeats))


@op("Shape", since=1)
def shape(xp: Any, x: Tensor, *, start: int = 0, end: int | None = None) -> Any:
    """The sizes of a tensor of unknown rank; others are found on the host."""
    return xp.shape_tensor(x)[start:end]


@op("Size", since=1)
def size(xp: Any, x: Tensor) -> Any:
    """The number of elements of a tensor of unknown rank; others are found on the host."""
    return xp.reduce_prod(xp.shape_tensor(x), [0], False)
