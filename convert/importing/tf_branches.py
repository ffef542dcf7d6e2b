"""Branches of TensorFlow 1 whose condition is known, such as ``is_training`` with a default: one side is never taken.

TensorFlow 1 writes a condition as ``Switch``, which hands a value to one of two sides, and ``Merge``, which takes what
arrives. Functional control flow, which TensorFlow 2 writes, is read by `xport.convert.importing.tf_control`.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_loops import source
from xport.convert.importing.tf_registry import Call, op

SWITCHES, MERGES = ("Switch", "RefSwitch"), ("Merge", "RefMerge")


def arriving(op_: Any, feeds: Container[str]) -> list[Any]:
    """The inputs of an operation that can have a value.

    Args:
        op_: The operation.
        feeds: The names of the tensors that are given: what they decide is not known.
    """
    if op_.type not in MERGES:
        return list(op_.inputs)
    return [t for t in op_.inputs if not _never(t, feeds)]


def _never(tensor: Any, feeds: Container[str]) -> bool:
    """Whether a tensor comes from the side of a switch that is not taken."""
    todo, done = [tensor], set()
    while todo:
        found = todo.pop()
        if found.op.type in SWITCHES:
            flag = _known(found.op.inputs[1], feeds)
            if flag is not None and found.value_index != int(flag):
                return True
        if found.op.name in done or found.op.type in (*SWITCHES, *MERGES):
            continue
        done.add(found.op.name)
        todo += found.op.inputs
        todo += [t for before in found.op.control_inputs for t in before.inputs if t.op.type in SWITCHES]
    return False


def _known(tensor: Any, feeds: Container[str]) -> bool | None:
    """A flag that no input decides; None for any other."""
    from tensorflow import make_ndarray

    if tensor.name in feeds:
        return None
    found = source(tensor)
    if found.type == "LogicalNot":
        flag = _known(found.inputs[0], feeds)
        return None if flag is None else not flag
    if found.type == "PlaceholderWithDefault":
        return None if found.outputs[0].name in feeds else _known(found.inputs[0], feeds)
    return bool(make_ndarray(found.node_def.attr["value"].tensor)) if found.type == "Const" else None


@op(*SWITCHES)
def _switch(c: Call) -> list[Tensor]:
    return [c.x, c.x]


@op(*MERGES)
def _merge(c: Call) -> list[Tensor]:
    if len(c.inputs) != 1:
        raise c.refuse("which branch of TensorFlow 1's control flow is taken is only known at run time")
    taken = next(i for i, t in enumerate(c.op.inputs) if c.values.get(t.name) is c.x)
    return [c.x, constant(taken, "int32")]
