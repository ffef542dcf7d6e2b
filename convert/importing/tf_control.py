"""TensorFlow's functional control flow, and the lists that its loops read and write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, nested, shaping
from xport.convert.importing.tensor import Size, Tensor, constant
from xport.convert.importing.tf_loops import Counting, body_argument, constant_index, counting, same
from xport.convert.importing.tf_registry import Call, op
from xport.errors import UnsupportedError
from xport.signature import numpy_dtype


@dataclass(frozen=True)
class TensorList:
    """What TensorFlow calls a list of tensors.

    Attributes:
        tensor: Its elements along the first axis; None for one that has none yet.
        count: How many elements were reserved; None if it grows.
        slot: The loop's state that it is, inside the loop; -1 outside.
        index: Where the present iteration writes; None for the end.
        item: What the present iteration writes.
        joined: Its elements joined along their first axis.
        element: The dtype of its elements.
    """

    tensor: Tensor | None = None
    count: Tensor | None = None
    slot: int = -1
    index: Any = None
    item: Tensor | None = None
    joined: Tensor | None = None
    element: str = "float32"


def _list(value: TensorList) -> Tensor:
    return Tensor("variant", (), label="a list of tensors", extra=value)


@op("TensorListFromTensor")
def _from_tensor(c: Call) -> Tensor:
    return _list(TensorList(c.x, element=c.x.dtype))


@op("TensorListReserve")
def _reserve(c: Call) -> Tensor:
    return _list(TensorList(count=c.inputs[1], element=c.attr("element_dtype")))


@op("EmptyTensorList")
def _empty(c: Call) -> Tensor:
    return _list(TensorList(element=c.attr("element_dtype")))


@op("TensorListSetItem")
def _set_item(c: Call) -> Tensor:
    items, _, item = c.inputs[:3]
    return _written(c, items, item, c.op.inputs[1])


@op("TensorListPushBack")
def _push_back(c: Call) -> Tensor:
    return _written(c, c.inputs[0], c.inputs[1], None)


def _written(c: Call, items: Tensor, item: Tensor, index: Any) -> Tensor:
    held: TensorList = items.extra
    if held.joined is not None and held.count is not None and same(held.count, c.inputs[1]):
        both = joining.concat(c.w, [held.joined, item], 0)
        return _list(TensorList(joined=both, element=held.element))
    if held.slot < 0 or held.item is not None:
        raise c.refuse("a list is written elsewhere than once in each turn of a loop")
    return _list(TensorList(count=held.count, slot=held.slot, index=index, item=item, element=held.element))


def _content(c: Call) -> Tensor:
    held: TensorList = c.x.extra
    if held.tensor is None:
        raise c.refuse("a list is read while it is being written")
    return held.tensor


@op("TensorListGetItem")
def _get_item(c: Call) -> Tensor:
    return shaping.gather(c.w, _content(c), c.inputs[1], 0)


@op("TensorListStack")
def _stack(c: Call) -> Tensor:
    return _content(c)


@op("TensorListLength")
def _length(c: Call) -> Tensor:
    held: TensorList = c.x.extra
    if held.tensor is None and held.count is not None:
        return held.count
    size = shaping.size_of(c.w, _content(c), 0)
    return e.cast(c.w, size, "int32")


@op("If", "StatelessIf")
def _if(c: Call) -> Sequence[Tensor]:
    condition = c.x if c.x.dtype == "bool" else e.cast(c.w, c.x, "bool")
    then, otherwise = c.attr("then_branch").name, c.attr("else_branch").name
    rest = c.inputs[1:]
    return _plain(c, nested.branch(c.w, condition, lambda: _run(c, then, rest), lambda: _run(c, otherwise, rest)))


@op("Case", "StatelessCase")
def _case(c: Call) -> Sequence[Tensor]:
    names = [f.name for f in c.attr("branches")]
    rest = c.inputs[1:]

    def choose(i: int) -> list[Tensor]:
        if i == len(names) - 1:
            return _run(c, names[i], rest)
        chosen = e.apply(c.w, "Equal", [c.x, e.like(i, c.x)], "bool")
        return nested.branch(c.w, chosen, lambda: _run(c, names[i], rest), lambda: choose(i + 1))

    return _plain(c, choose(0))


def _run(c: Call, name: str, inputs: Sequence[Tensor]) -> list[Tensor]:
    return _plain(c, c.reader.call(name, inputs))


def _plain(c: Call, tensors: Sequence[Tensor]) -> list[Tensor]:
    for tensor in tensors:
        if tensor.dtype in ("variant", "resource"):
            raise c.refuse(f"a branch gives {tensor.label or 'a resource'}, which is no tensor")
    return list(tensors)


@op("TensorListConcat", "TensorListConcatV2")
def _join(c: Call) -> Sequence[Tensor]:
    held: TensorList = c.x.extra
    if held.joined is None:
        raise c.refuse("a list is joined that no loop has filled")
    return [held.joined]


def _is_joined(tensor: Any) -> Any:
    """The shape of what a list is joined to; None if it is not."""
    for op_ in tensor.consumers():
        if op_.type in ("Identity", "StopGradient", "TensorListSetItem"):
            found = _is_joined(op_.outputs[0])
            if found is not None:
                return found
        if op_.type in ("TensorListConcat", "TensorListConcatV2"):
            return op_.outputs[0].shape
    return None


@op("While", "StatelessWhile")
def _while(c: Call) -> Sequence[Tensor]:
    return _Loop(c).read()


class _Loop:
    """One ``While``, on its way to a ``Loop``.

    What no turn changes is seen from inside instead of being carried; a counter is the loop's own number; a list
    that each turn adds to is what the loop stacks.
    """

    def __init__(self, c: Call) -> None:
        self.c = c
        self.condition = c.reader.function(c.attr("cond").name)
        self.body = c.reader.function(c.attr("body").name)
        self.fixed = [body_argument(self.body, t) == i for i, t in enumerate(self.body.outputs)]
        constants = {i: x for i, x in enumerate(c.inputs) if self.fixed[i] or x.const is not None}
        self.counting: Counting | None = counting(self.condition, self.body, constants, self.fixed)
        counters = self.counting.counters if self.counting else ()
        self.lists = [i for i, x in enumerate(c.inputs) if x.dtype == "variant" and not self.fixed[i]]
        self.counters = list(counters)
        self.joined = [i for i in self.lists if _is_joined(c.op.outputs[i])]
        self.lists = [i for i in self.lists if i not in self.joined]
        skip = {*self.lists, *self.joined, *self.counters}
        self.states = [i for i, fixed in enumerate(self.fixed) if not fixed and i not in skip]

    def read(self) -> list[Tensor]:
        """The results of the ``While``."""
        c = self.c
        self._written: dict[int, TensorList] = {}
        limit = None if self.counting is None else self._limit(self.counting)
        start = None if self.counting else self._goes(list(c.inputs))
        initial = [c.inputs[i] for i in self.states] + [self._nothing(i) for i in self.joined]
        shapes = [self._sizes(i) for i in self.states]
        shapes += [(c.w.fresh(), *(x.dims or ())[1:]) for x in initial[len(self.states) :]]
        finals, stacked = nested.loop(c.w, limit, start, initial, shapes, self._turn)
        results = list(c.inputs)
        for i, tensor in zip((*self.states, *self.joined), finals, strict=True):
            results[i] = tensor
        for i in self.joined:
            results[i] = _list(TensorList(joined=results[i], count=limit, element=results[i].dtype))
        for i, tensor in zip(self.lists, stacked, strict=True):
            results[i] = self._list(i, tensor)
        for i in self.counters:
            results[i] = self._final_count(i, limit)
        return results

    def _limit(self, found: Counting) -> Tensor:
        w = self.c.w
        limits = [shaping.index_vector(w, x) for x in found.limits(self.c.inputs)]
        return nested.smallest(w, limits)

    def _final_count(self, i: int, limit: Tensor | None) -> Tensor:
        if limit is None:
            raise self.c.refuse("a counter without a limit")
        total = e.apply(self.c.w, "Max", [limit, constant(0, "int64")])
        return e.cast(self.c.w, total, self.c.inputs[i].dtype)

    def _goes(self, values: list[Tensor]) -> Tensor:
        feeds = {t.name: x for t, x in zip(self.condition.inputs, values, strict=True)}
        found: Tensor = self.c.reader.run(feeds, self.condition.outputs)[0]
        return found

    def _sizes(self, i: int) -> tuple[Size, ...] | None:
        """The sizes that a state keeps, as far as TensorFlow says."""
        shape = self.body.inputs[i].shape
        if shape.rank is None:
            return None
        return tuple(self.c.w.fresh() if d is None else int(d) for d in shape.as_list())

    def _turn(self, number: Tensor, states: list[Tensor]) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        c = self.c
        values = list(c.inputs)
        for i, state in zip(self.states, states, strict=False):
            values[i] = state
        for i in self.counters:
            values[i] = number.with_(dtype=c.inputs[i].dtype, wide=c.inputs[i].dtype == "int32")
        for i in (*self.lists, *self.joined):
            held: TensorList = c.inputs[i].extra
            values[i] = _list(TensorList(count=held.count, slot=i, element=held.element))
        feeds = {t.name: x for t, x in zip(self.body.inputs, values, strict=True)}
        made = c.reader.run(feeds, self.body.outputs)
        goes = None if self.counting else self._goes(made)
        ends = [made[i] for i in self.states]
        for i, state in zip(self.joined, states[len(self.states) :], strict=True):
            ends.append(joining.concat(c.w, [state, self._item(i, made[i])], 0))
        return goes, ends, [self._item(i, made[i]) for i in self.lists]

    def _nothing(self, i: int) -> Tensor:
        """A tensor to which elements can be joined."""
        shape = _is_joined(self.c.op.outputs[i])
        rest = None if shape is None or shape.rank is None else shape.as_list()[1:]
        if rest is None or None in rest:
            raise self.c.refuse("the elements of a list that are joined have unknown sizes")
        held: TensorList = self.c.inputs[i].extra
        return constant(np.zeros([0, *rest], numpy_dtype(held.element)))

    def _item(self, i: int, tensor: Tensor) -> Tensor:
        held: TensorList = tensor.extra
        if held.slot != i or held.item is None:
            raise self.c.refuse("a list is changed otherwise than by adding an element in each turn")
        if held.index is None or body_argument(self.body, held.index) in self.counters or self._overwrites(held):
            return held.item
        raise self.c.refuse("a list is not filled from its first element to its last")

    def _overwrites(self, held: TensorList) -> bool:
        """Whether each turn writes the only element of a list, as a loop does that keeps the last result."""
        count = None if held.count is None else held.count.const
        return count is not None and int(count) == 1 and constant_index(held.index) == 0

    def _list(self, i: int, tensor: Tensor) -> Tensor:
        held: TensorList = self.c.inputs[i].extra
        if held.tensor is not None:
            raise self.c.refuse("a loop adds to a list that holds something")
        if held.count is not None and held.count.const is not None and int(held.count.const) == 1:
            last = shaping.gather(self.c.w, tensor, constant([-1], "int64"), 0)
            return _list(TensorList(last, element=held.element))
        if held.count is not None and not (self.counting and self.counting.is_limit(held.count, self.c.inputs)):
            raise UnsupportedError(
                f"TensorFlow operator {self.c.op.type} ({self.c.op.name}): it may end before its list is full."
            )
        return _list(TensorList(tensor, element=held.element))
