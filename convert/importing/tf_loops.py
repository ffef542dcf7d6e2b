"""Loops that count: what a ``While``'s condition and body say about the number of its turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.convert.importing.tensor import Tensor, constant

_ENDLESS = int(np.iinfo(np.int32).max)


@dataclass(frozen=True)
class Counting:
    """A loop that ends when a counter reaches a limit.

    Attributes:
        counters: The states that go 0, 1, 2, …
        bounds: What they stay below: the number of an input, or a constant.
    """

    counters: tuple[int, ...]
    bounds: tuple[int | Tensor, ...]

    def limits(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The distinct limits as tensors."""
        found: list[Tensor] = []
        for bound in self.bounds:
            tensor = inputs[bound] if isinstance(bound, int) else bound
            endless = tensor.const is not None and int(tensor.const) >= _ENDLESS
            if not any(same(tensor, other) for other in found) and not endless:
                found.append(tensor)
        return found or [constant(_ENDLESS, "int64")]

    def is_limit(self, count: Tensor, inputs: Sequence[Tensor]) -> bool:
        """Whether the loop certainly runs that many times."""
        limits = self.limits(inputs)
        return len(limits) == 1 and same(limits[0], count)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two scalars are certainly equal."""
    if a.const is not None and b.const is not None:
        return int(a.const) == int(b.const)
    if a.value is not None and a.value is b.value:
        return True
    return a.elements is not None and a.elements == b.elements


def source(tensor: Any) -> Any:
    """The operation that a tensor comes from; what changes nothing is skipped."""
    op = tensor.op
    while op.type in ("Identity", "StopGradient", "EnsureShape") or _stays_scalar(op):
        op = op.inputs[0].op
    return op


def _stays_scalar(op: Any) -> bool:
    return bool(op.type == "Reshape" and op.inputs[0].shape.rank == 0 and op.outputs[0].shape.rank == 0)


def body_argument(graph: Any, tensor: Any) -> int:
    """The number of the function's input that a tensor is; -1 if it is none."""
    op = source(tensor)
    names = [t.op.name for t in graph.inputs]
    return names.index(op.name) if op.name in names else -1


def counters(body: Any, constants: Mapping[int, Tensor]) -> tuple[int, ...]:
    """The states of a loop that begin with zero and grow by one each turn.

    Args:
        body: The graph of its body.
        constants: See `counting`.
    """
    return tuple(i for i in range(len(body.inputs)) if _counts(body, i, constants))


def counting(
    condition: Any, counters: Sequence[int], constants: Mapping[int, Tensor], fixed: Sequence[bool]
) -> Counting | None:
    """Find out whether a loop counts up to a limit.

    Args:
        condition: The graph of its condition.
        counters: The states that count.
        constants: The inputs that no turn changes, or that begin with a constant.
        fixed: Whether no turn changes an input.

    Returns:
        How it counts; None if it ends otherwise.
    """
    bounds: list[int | Tensor] = []
    todo = [condition.outputs[0]]
    while todo:
        op = source(todo.pop())
        place = body_argument(condition, op.outputs[0])
        if op.type == "LogicalAnd":
            todo += list(op.inputs)
        elif place >= 0 and fixed[place] and _holds(constants.get(place)):
            continue
        elif op.type == "Less" and body_argument(condition, op.inputs[0]) in counters:
            bound = _bound(condition, op.inputs[1], fixed)
            if bound is None:
                return None
            bounds.append(bound)
        else:
            return None
    return Counting(tuple(counters), tuple(bounds))


def _holds(flag: Tensor | None) -> bool:
    return flag is not None and flag.const is not None and flag.dtype == "bool" and bool(np.all(flag.const))


def _counts(body: Any, i: int, constants: Mapping[int, Tensor]) -> bool:
    """Whether a state begins with zero and grows by one each turn."""
    start = constants.get(i)
    if start is None or start.const is None or start.const.shape != () or start.const.dtype.kind not in "iu":
        return False
    step = source(body.outputs[i])
    if step.type not in ("AddV2", "Add") or int(start.const) != 0:
        return False
    places = [body_argument(body, t) for t in step.inputs]
    if i not in places:
        return False
    other = step.inputs[1 - places.index(i)]
    place = body_argument(body, other)
    if place >= 0:  # the step of a range, which stands outside
        given = constants.get(place)
        unchanged = body_argument(body, body.outputs[place]) == place
        return unchanged and given is not None and given.const is not None and int(given.const) == 1
    found = source(other)
    return found.type == "Const" and int(_value(found)) == 1


def _bound(condition: Any, tensor: Any, fixed: Sequence[bool]) -> int | Tensor | None:
    op = source(tensor)
    if op.type == "Const":
        return constant(_value(op))
    place = body_argument(condition, tensor)
    return place if place >= 0 and fixed[place] else None


def constant_index(tensor: Any) -> int | None:
    """The number that a tensor always is."""
    op = source(tensor)
    return int(_value(op)) if op.type == "Const" else None


def _value(op: Any) -> np.ndarray:
    from tensorflow import make_ndarray

    return np.asarray(make_ndarray(op.node_def.attr["value"].tensor))
