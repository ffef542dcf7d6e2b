"""The lists of tensors that TensorFlow's loops read and write: ``TensorArray`` is made of them.

A list that a loop fills from its first element to its last is what the loop stacks. Any other is one tensor, whose rows
are its elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, shaping, slicing
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_loops import same
from xport.convert.importing.tf_registry import Call, op
from xport.convert.importing.writer import Writer
from xport.signature import numpy_dtype


@dataclass(frozen=True)
class TensorList:
    """What TensorFlow calls a list of tensors.

    Attributes:
        tensor: Its elements along the first axis; None for one that has none yet.
        count: How many elements were reserved; None if it grows.
        slot: The loop's state that it is, inside a loop that stacks it; -1 elsewhere.
        index: Where the present iteration writes; None for the end.
        item: What the present iteration writes.
        joined: Its elements joined along their first axis.
        element: The dtype of its elements.
        grows: Whether writing behind its end makes it longer.
    """

    tensor: Tensor | None = None
    count: Tensor | None = None
    slot: int = -1
    index: Any = None
    item: Tensor | None = None
    joined: Tensor | None = None
    element: str = "float32"
    grows: bool = False


def wrapped(value: TensorList) -> Tensor:
    """A list as a value of the graph."""
    return Tensor("variant", (), label="a list of tensors", extra=value)


@op("TensorListFromTensor")
def _from_tensor(c: Call) -> Tensor:
    return wrapped(TensorList(c.x, element=c.x.dtype))


@op("TensorListReserve")
def _reserve(c: Call) -> Tensor:
    return wrapped(TensorList(count=c.inputs[1], element=c.attr("element_dtype")))


@op("EmptyTensorList")
def _empty(c: Call) -> Tensor:
    return wrapped(TensorList(element=c.attr("element_dtype")))


@op("TensorListSetItem")
def _set_item(c: Call) -> Tensor:
    items, index, item = c.inputs[:3]
    held = replace(items.extra, grows=bool(c.attr("resize_if_index_out_of_bounds", False)))
    if held.joined is not None and held.count is not None and same(held.count, index):
        return wrapped(TensorList(joined=joining.concat(c.w, [held.joined, item], 0), element=held.element))
    if held.slot >= 0 and held.item is None:
        return wrapped(replace(held, index=c.op.inputs[1], item=item))
    if held.tensor is None:
        if held.slot >= 0 or held.count is None:
            raise c.refuse("a list is written otherwise than once in each turn of a loop")
        held = replace(held, tensor=blank(c.w, held.count, item))
    return wrapped(replace(held, tensor=_placed(c.w, held, index, item), count=None))


@op("TensorListPushBack")
def _push_back(c: Call) -> Tensor:
    held: TensorList = c.inputs[0].extra
    if held.slot >= 0 and held.item is None:
        return wrapped(replace(held, index=None, item=c.inputs[1]))
    if held.slot >= 0 or held.count is not None:
        raise c.refuse("a list is written otherwise than once in each turn of a loop")
    row = shaping.unsqueeze(c.w, c.inputs[1], [0])
    return wrapped(replace(held, tensor=row if held.tensor is None else joining.concat(c.w, [held.tensor, row], 0)))


def blank(w: Writer, count: Tensor, item: Tensor) -> Tensor:
    """Zeros for ``count`` elements like ``item``."""
    row = shaping.unsqueeze(w, shaping.index_vector(w, count), [0])
    shape = joining.concat(w, [row, shaping.index_vector(w, shaping.shape_of(w, item))], 0)
    zeros = joining.fill(w, shape, constant(np.zeros((), numpy_dtype(item.dtype))))
    return zeros if item.dims is None else zeros.with_(dims=((zeros.dims or (w.fresh(),))[0], *item.dims))


def filled_up(w: Writer, x: Tensor, count: Tensor) -> Tensor:
    """Zeros behind the rows of a tensor, as many as are missing from ``count``."""
    missing = e.apply(w, "Sub", [shaping.index_vector(w, count), shaping.size_of(w, x, 0)])
    missing = e.apply(w, "Max", [missing, constant(0, "int64")])
    row = joining.concat(w, [constant([0], "int64"), shaping.unsqueeze(w, missing, [0])], 0)
    rest = constant(np.zeros((shaping.rank_of(x) - 1, 2), np.int64))
    rows = joining.concat(w, [shaping.unsqueeze(w, row, [0]), *([rest] if rest.dims != (0, 2) else [])], 0)
    made = slicing.pad(w, x, rows)
    return made.with_(dims=(w.fresh(), *(x.dims or ())[1:]))


def _placed(w: Writer, held: TensorList, index: Tensor, item: Tensor) -> Tensor:
    """The rows of a list, one of them new."""
    rows = held.tensor
    if rows is None:
        raise TypeError("a list without rows")
    place = shaping.index_vector(w, index)
    if held.grows:
        rows = filled_up(w, rows, e.apply(w, "Add", [place, constant(1, "int64")]))
    column = shaping.unsqueeze(w, place, [0, 1])
    return slicing.scatter(w, "ScatterND", rows, column, shaping.unsqueeze(w, item, [0]))


def content(c: Call) -> Tensor:
    """The elements of the list that is the first input."""
    held: TensorList = c.x.extra
    if held.tensor is None:
        raise c.refuse("a list is read before it is filled")
    return held.tensor


@op("TensorListGetItem")
def _get_item(c: Call) -> Tensor:
    return shaping.gather(c.w, content(c), c.inputs[1], 0)


@op("TensorListGather")
def _gather(c: Call) -> Tensor:
    return shaping.gather(c.w, content(c), c.inputs[1], 0)


@op("TensorListScatterV2", "TensorListScatter")
def _scatter(c: Call) -> Tensor:
    """Rows at their numbers; what has none is zero. ``num_elements`` is -1 for as many as the numbers ask for."""
    x, indices = c.inputs[:2]
    column = shaping.unsqueeze(c.w, shaping.index_vector(c.w, indices), [1])
    count = c.inputs[3] if len(c.inputs) > 3 else constant(-1, "int32")
    if count.const is None or int(count.const) < 0:
        count = e.apply(c.w, "Add", [_largest(c, shaping.index_vector(c.w, indices)), constant(1, "int64")])
    item = slicing.cut(c.w, x, [(0, 0, 1, 1)])
    rows = blank(c.w, count, shaping.squeeze(c.w, item, [0]))
    return wrapped(TensorList(slicing.scatter(c.w, "ScatterND", rows, column, x), element=x.dtype))


def _largest(c: Call, indices: Tensor) -> Tensor:
    made: Tensor = c.w.op("ReduceMax", [indices], "int64", (), keepdims=0)
    return made


@op("TensorListStack")
def _stack(c: Call) -> Tensor:
    return content(c)


@op("TensorListLength")
def _length(c: Call) -> Tensor:
    held: TensorList = c.x.extra
    if held.tensor is None and held.count is not None:
        return held.count
    return e.cast(c.w, shaping.size_of(c.w, content(c), 0), "int32")


@op("TensorListConcat", "TensorListConcatV2")
def _join(c: Call) -> Sequence[Tensor]:
    held: TensorList = c.x.extra
    if held.joined is None:
        raise c.refuse("a list is joined that no loop has filled")
    return [held.joined]


def is_joined(tensor: Any) -> Any:
    """The shape of what a list is joined to; None if it is not."""
    for op_ in tensor.consumers():
        if op_.type in ("Identity", "StopGradient", "TensorListSetItem"):
            found = is_joined(op_.outputs[0])
            if found is not None:
                return found
        if op_.type in ("TensorListConcat", "TensorListConcatV2"):
            return op_.outputs[0].shape
    return None


def appended(body: Any, i: int) -> Any:
    """The operation that adds an element to a loop's ``i``-th state in each turn; None if others use the list."""
    from xport.convert.importing.tf_loops import body_argument, source

    last = source(body.outputs[i])
    if last.type not in ("TensorListSetItem", "TensorListPushBack") or body_argument(body, last.inputs[0]) != i:
        return None
    todo, users = [body.inputs[i]], []
    while todo:
        for op_ in todo.pop().consumers():
            todo += op_.outputs if op_.type in ("Identity", "StopGradient") else ()
            users += [] if op_.type in ("Identity", "StopGradient") else [op_.name]
    kept = all(op_.type in ("Identity", "StopGradient") for op_ in last.outputs[0].consumers())
    return last if users == [last.name] and kept else None
