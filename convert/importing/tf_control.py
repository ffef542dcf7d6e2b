"""TensorFlow's functional control flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, nested, shaping, tf_recurrent
from xport.convert.importing.tensor import Size, Tensor, constant
from xport.convert.importing.tf_lists import TensorList, appended, blank, filled_up, is_joined, wrapped
from xport.convert.importing.tf_loops import Counting, body_argument, constant_index, counters, counting, same
from xport.convert.importing.tf_registry import Call, op
from xport.signature import numpy_dtype


@op("If", "StatelessIf")
def _if(c: Call) -> Sequence[Tensor]:
    condition = c.x if c.x.dtype == "bool" else e.cast(c.w, c.x, "bool")
    then, otherwise = c.attr("then_branch").name, c.attr("else_branch").name
    rest = c.inputs[1:]
    return _lists(c, nested.branch(c.w, condition, lambda: _run(c, then, rest), lambda: _run(c, otherwise, rest)))


@op("Case", "StatelessCase")
def _case(c: Call) -> Sequence[Tensor]:
    names = [f.name for f in c.attr("branches")]
    rest = c.inputs[1:]

    def choose(i: int) -> list[Tensor]:
        if i == len(names) - 1:
            return _run(c, names[i], rest)
        chosen = e.apply(c.w, "Equal", [c.x, e.like(i, c.x)], "bool")
        return nested.branch(c.w, chosen, lambda: _run(c, names[i], rest), lambda: choose(i + 1))

    return _lists(c, choose(0))


def _run(c: Call, name: str, inputs: Sequence[Tensor]) -> list[Tensor]:
    return _plain(c, c.reader.call(name, inputs))


def _plain(c: Call, tensors: Sequence[Tensor]) -> list[Tensor]:
    """What a branch gives, with the rows of lists in their place."""
    found = []
    for tensor in tensors:
        held = tensor.extra
        if tensor.dtype == "variant" and isinstance(held, TensorList) and held.tensor is not None:
            found.append(held.tensor)
        elif tensor.dtype in ("variant", "resource"):
            raise c.refuse(f"a branch gives {tensor.label or 'a resource'}, which is no tensor")
        else:
            found.append(tensor)
    return found


def _lists(c: Call, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The results of branches, rows of lists as lists again."""
    kinds = [t.dtype.base_dtype.name for t in c.op.outputs]
    return [
        wrapped(TensorList(t, element=t.dtype)) if kind == "variant" else t
        for t, kind in zip(tensors, kinds, strict=True)
    ]


@op("While", "StatelessWhile")
def _while(c: Call) -> Sequence[Tensor]:
    return _Loop(c).read()


class _Loop:
    """One ``While``, on its way to a ``Loop``.

    What no turn changes is seen from inside instead of being carried; a counter is the loop's own number; a list
    that each turn adds to is what the loop stacks, and any other list one tensor.
    """

    def __init__(self, c: Call) -> None:
        self.c = c
        self.condition = c.reader.function(c.attr("cond").name)
        self.body = c.reader.function(c.attr("body").name)
        self.fixed = [body_argument(self.body, t) == i for i, t in enumerate(self.body.outputs)]
        constants = {i: x for i, x in enumerate(c.inputs) if self.fixed[i] or x.const is not None}
        self.steady = counters(self.body, constants)
        self.counting: Counting | None = counting(self.condition, self.steady, constants, self.fixed)
        self.counters = list(self.steady) if self.counting else []
        lists = [i for i, x in enumerate(c.inputs) if x.dtype == "variant" and not self.fixed[i]]
        self.joined = [i for i in lists if is_joined(c.op.outputs[i]) and c.inputs[i].extra.tensor is None]
        self.stacked = [i for i in lists if i not in self.joined and self._appends(i)]
        self.rows = [i for i in lists if i not in (*self.joined, *self.stacked)]
        skip = {*lists, *self.counters}
        self.states = [i for i, fixed in enumerate(self.fixed) if not fixed and i not in skip]

    def read(self) -> list[Tensor]:
        """The results of the ``While``."""
        c = self.c
        limit = None if self.counting is None else self._limit(self.counting)
        known = None if limit is None else self._layer(limit)
        if known is not None:
            return known
        start = None if self.counting else self._goes(list(c.inputs))
        begun = self._begun()
        initial = [c.inputs[i] for i in self.states] + [self._nothing(i) for i in self.joined] + begun
        shapes = [self._sizes(i) for i in self.states]
        shapes += [(c.w.fresh(), *(x.dims or ())[1:]) for x in initial[len(self.states) : len(initial) - len(begun)]]
        shapes += [None if x.dims is None else (c.w.fresh(), *x.dims[1:]) for x in begun]
        finals, stacked = nested.loop(c.w, limit, start, initial, shapes, self._turn)
        results = list(c.inputs)
        for i, tensor in zip((*self.states, *self.joined, *self.rows), finals, strict=True):
            results[i] = tensor
        for i in self.joined:
            results[i] = wrapped(TensorList(joined=results[i], count=limit, element=results[i].dtype))
        for i in self.rows:
            results[i] = wrapped(TensorList(results[i], element=results[i].dtype))
        for i, tensor in zip(self.stacked, stacked, strict=True):
            results[i] = self._list(i, tensor)
        for i in self.counters:
            results[i] = self._final_count(i, limit)
        return results

    def _layer(self, limit: Tensor) -> list[Tensor] | None:
        """The results of a loop that is a recurrent layer; None for any other loop."""
        c, body = self.c, self.body
        if self.joined or self.rows or len(self.stacked) > 1 or not 1 <= len(self.states) <= 2:
            return None
        last = appended(body, self.stacked[0]) if self.stacked else None
        feeds = {t.name: x for t, x in zip(body.inputs, c.inputs, strict=True)}
        written = None if last is None else last.inputs[-1]
        cell = tf_recurrent.recognized(body, self.states, written, lambda t: c.reader.run(feeds, [t])[0].const)
        if cell is None or body_argument(body, cell.item.op.inputs[1]) not in self.counters:
            return None
        place = body_argument(body, cell.item.op.inputs[0])
        held = c.inputs[place].extra if place >= 0 and self.fixed[place] else None
        x = held.tensor if isinstance(held, TensorList) else None
        if x is None or x.rank != 3 or not same(limit, shaping.size_of(c.w, x, 0)):
            return None
        begun = [None if tf_recurrent.zeros(c.op.inputs[i]) else c.inputs[i] for i in cell.states]
        every, ends = tf_recurrent.layer(c.w, cell, x, begun)
        results = list(c.inputs)
        for i, end in zip(cell.states, ends, strict=True):
            results[i] = end
        for i in self.stacked:
            results[i] = self._list(i, every)
        for i in self.counters:
            results[i] = self._final_count(i, limit)
        return results

    def _appends(self, i: int) -> bool:
        """Whether each turn writes one element of a list and no more, from the first to the last."""
        held: TensorList = self.c.inputs[i].extra
        last = appended(self.body, i) if held.tensor is None else None
        if last is None:
            return False
        if last.type == "TensorListPushBack" or body_argument(self.body, last.inputs[1]) in self.steady:
            return True
        # A loop that keeps the last result writes the only element of a list in each turn.
        count = None if held.count is None else held.count.const
        return count is not None and int(count) == 1 and constant_index(last.inputs[1]) == 0

    def _begun(self) -> list[Tensor]:
        """The lists that are one tensor, as the loop finds them; the first turn tells the size of their elements."""
        c = self.c
        held: list[TensorList] = [c.inputs[i].extra for i in self.rows]
        if all(x.tensor is not None for x in held):
            return [x.tensor for x in held if x.tensor is not None]
        values = [
            wrapped(replace(x.extra, slot=i))
            if x.dtype == "variant" and i in self.rows and x.extra.tensor is None
            else x
            for i, x in enumerate(c.inputs)
        ]
        feeds = {t.name: x for t, x in zip(self.body.inputs, values, strict=True)}
        made = c.reader.run(feeds, [self.body.outputs[i] for i in self.rows])
        found = []
        for before, after in zip(held, made, strict=True):
            item = after.extra.item
            if before.tensor is not None:
                found.append(before.tensor)
            elif item is None or before.count is None:
                raise c.refuse("it is not known of what size the elements of a list are before a loop has filled it")
            else:
                found.append(blank(c.w, before.count, item))
        return found

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
        for i in (*self.stacked, *self.joined):
            held: TensorList = c.inputs[i].extra
            values[i] = wrapped(TensorList(count=held.count, slot=i, element=held.element))
        held_rows = states[len(self.states) + len(self.joined) :]
        for i, rows in zip(self.rows, held_rows, strict=True):
            values[i] = wrapped(TensorList(rows, element=rows.dtype))
        feeds = {t.name: x for t, x in zip(self.body.inputs, values, strict=True)}
        made = c.reader.run(feeds, self.body.outputs)
        goes = None if self.counting else self._goes(made)
        ends = [made[i] for i in self.states]
        for i, state in zip(self.joined, states[len(self.states) :], strict=False):
            ends.append(joining.concat(c.w, [state, self._item(i, made[i])], 0))
        ends += [self._rows_of(made[i]) for i in self.rows]
        return goes, ends, [self._item(i, made[i]) for i in self.stacked]

    def _rows_of(self, made: Tensor) -> Tensor:
        held = made.extra
        if not isinstance(held, TensorList) or held.tensor is None:
            raise self.c.refuse("a list is exchanged for another one")
        return held.tensor

    def _nothing(self, i: int) -> Tensor:
        """A tensor to which elements can be joined."""
        shape = is_joined(self.c.op.outputs[i])
        rest = None if shape is None or shape.rank is None else shape.as_list()[1:]
        if rest is None or None in rest:
            raise self.c.refuse("the elements of a list that are joined have unknown sizes")
        held: TensorList = self.c.inputs[i].extra
        return constant(np.zeros([0, *rest], numpy_dtype(held.element)))

    def _item(self, i: int, tensor: Tensor) -> Tensor:
        held: TensorList = tensor.extra
        if held.slot != i or held.item is None:
            raise self.c.refuse("a list is changed otherwise than by adding an element in each turn")
        if i in self.joined and held.index is not None and body_argument(self.body, held.index) not in self.steady:
            raise self.c.refuse("a list that is joined is not filled from its first element to its last")
        return held.item

    def _list(self, i: int, tensor: Tensor) -> Tensor:
        """What a list is behind the loop that stacked its elements."""
        held: TensorList = self.c.inputs[i].extra
        last = appended(self.body, i)
        if held.count is None or (self.counting and self.counting.is_limit(held.count, self.c.inputs)):
            return wrapped(TensorList(tensor, element=held.element))
        if constant_index(last.inputs[1]) == 0:  # the only element, written in each turn
            row = shaping.gather(self.c.w, tensor, constant([-1], "int64"), 0)
            return wrapped(TensorList(row, element=held.element))
        grows = last.get_attr("resize_if_index_out_of_bounds")
        if grows and held.count.const is not None and int(held.count.const) == 0:
            return wrapped(TensorList(tensor, element=held.element))
        return wrapped(TensorList(filled_up(self.c.w, tensor, held.count), element=held.element))
