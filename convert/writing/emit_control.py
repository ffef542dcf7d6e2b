"""Branches and loops, written as Python's own: ``if``, ``for`` and ``while``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.writing.code import LOWEST, OR, Code, Dim, Hole, Operand, Var, call, index, literal, method, plain
from xport.convert.writing.control import Branch, Loop
from xport.convert.writing.node import Entry, NodeView
from xport.convert.writing.registry import emit, refuse
from xport.convert.writing.sizes import Size, Sizes
from xport.convert.writing.translator import dtype_code

_ENDLESS = 2**31 - 1
"""Exporters write a limit of at least this where there is none."""


@dataclass
class Rows:
    """What a loop makes in each run, stacked in the end.

    Attributes:
        value: What one run makes.
        axis: The new axis.
        backwards: Whether the last run's comes first.
    """

    value: ir.Value
    axis: int = 0
    backwards: bool = False


@emit("If")
def if_(node: NodeView) -> Any:
    """One of two graphs; a known condition leaves nothing of the other one."""
    graphs = [node.attr("then_branch"), node.attr("else_branch")]
    condition = node.const(0)
    if condition is not None:
        chosen = graphs[0] if condition.reshape(-1)[0] else graphs[1]
        node.translator.nodes(chosen)
        return [node.translator.entry(value) for value in chosen.outputs]
    then, otherwise = (node.translator.region(graph, []) for graph in graphs)
    outs = [node.translator.variable(value) for value in node.node.outputs]
    node.translator.state(outs, Branch(condition=node.x(), then=then, otherwise=otherwise), node.node)
    return outs


@emit("Loop")
def loop(node: NodeView) -> Any:
    """A graph that runs a number of times, or while a condition holds."""
    graph, count = node.attr("body"), node.count - 2
    states = [node.translator.variable(value, "state") for value in graph.inputs[2:]]
    number = Var("i", (), "int")
    counter = Sizes((Code((Hole(number),)),), scalar=True)
    # A body only runs where the condition held: inside of it the condition is known to be true.
    body = node.translator.region(graph, [counter, np.array(True), *states])
    asked = any(item is number for item in body.operands())
    starts, more = [node.x(2 + i) for i in range(count)], body.gives.pop(0)
    begins = _truth(node.entry(1)) if node.has(1) else True
    limit = _limit(node)
    conditional = not (_truth(node.translator.entry(graph.outputs[0])) and (begins or limit is not None))
    if conditional:
        body.gives.insert(0, more)
        states.insert(0, Var("running", (), "bool"))
        starts.insert(0, node.x(1) if node.has(1) else call("torch.tensor", True))
    elif limit is None:
        raise refuse("a loop without an end")
    elif not begins:
        limit = _either(limit, node.x(1), 0)
    if asked and limit is None:
        limit = plain("2**63 - 1")
    body.takes = [*states, number]
    made = Loop(
        body=body,
        starts=starts,
        limit=None if limit is None else literal(limit),
        counter=number if asked else None,
        conditional=conditional,
    )
    rows = [Rows(value) for value in graph.outputs[1 + count :]]
    return _results(node, made, rows, certain=not conditional and isinstance(limit, int) and limit > 0)


@emit("Scan", since=9)
def scan(node: NodeView) -> Any:
    """A graph that runs for each slice of some tensors."""
    graph, runs = node.attr("body"), node.attr("num_scan_inputs")
    count = node.count - runs
    states = [node.translator.variable(value, "state") for value in graph.inputs[:count]]
    elements = [node.translator.variable(value) for value in graph.inputs[count:]]
    body = node.translator.region(graph, [*states, *elements])
    body.takes = [*states, *elements]
    axes = node.attr("scan_input_axes") or [0] * runs
    backwards = node.attr("scan_input_directions") or [0] * runs
    sequences = []
    for i, axis, turned in zip(range(count, node.count), axes, backwards, strict=True):
        x = method(node.x(i), "flip", axis) if turned else node.x(i)
        sequences.append(method(x, "unbind", *([axis] if axis else [])))
    made = Loop(body=body, starts=[node.x(i) for i in range(count)], sequences=sequences)
    values = graph.outputs[count:]
    turns = node.attr("scan_output_directions") or [0] * len(values)
    places = node.attr("scan_output_axes") or [0] * len(values)
    rows = [Rows(value, axis, bool(turned)) for value, axis, turned in zip(values, places, turns, strict=True)]
    dims = node.shape(count)
    size = dims[axes[0]] if dims is not None else None
    return _results(node, made, rows, certain=isinstance(size, int) and size > 0)


def _results(node: NodeView, made: Loop, rows: Sequence[Rows], *, certain: bool) -> list[Any]:
    """What a loop gives: its states in the end, and stacks of what each run made."""
    states = [Var(var.hint, var.dims, var.dtype) for var in made.states]
    lists = [Var("outputs", None, "list") for _ in rows]
    scope = node.translator.state([*states, *lists], made, node.node)
    results = states[1:] if made.conditional else states
    for row, kept, value in zip(rows, lists, node.node.outputs[len(results) :], strict=False):
        out = node.translator.variable(value)
        node.translator.state([out], _stacked(node, row, kept, certain=certain), scope=scope)
        results = [*results, out]
    return results


def _stacked(node: NodeView, row: Rows, kept: Var, *, certain: bool) -> Code:
    """The stack; for no runs, one without rows, whose other sizes are zero where only a run would tell them."""
    items: Any = index(kept, [slice(None, None, -1)]) if row.backwards else kept
    stack = call("torch.stack", items, **({"dim": row.axis} if row.axis else {}))
    if certain:
        return stack
    translator = node.translator
    sizes: list[Size] = [_size(node, size) for size in translator.dims(row.value) or ()]
    sizes.insert(row.axis if row.axis >= 0 else len(sizes) + 1 + row.axis, 0)
    dtype = translator.dtype(row.value)
    kind = {} if dtype is None else {"dtype": dtype_code(dtype)}
    return _either(stack, kept, call("torch.zeros", tuple(sizes), **kind, device=node.device()))


def _size(node: NodeView, size: int | str | None) -> Size:
    """A size, as it can be told from the model's inputs."""
    if isinstance(size, int):
        return size
    for var in node.translator.program.inputs:
        if size is not None and size in (var.dims or ()):
            return Dim(var, (var.dims or ()).index(size), size)
    return 0


def _either(one: Any, condition: Operand, other: Any) -> Code:
    """``one if condition else other``."""
    parts = (Hole(literal(one), OR), " if ", Hole(condition, OR), " else ", Hole(literal(other), OR))
    return Code(parts, LOWEST)


def _limit(node: NodeView) -> Size | None:
    """How many times at most; None for any number."""
    found = node.sizes(0)[0] if node.has(0) else None
    return None if isinstance(found, int) and found >= _ENDLESS else found


def _truth(entry: Entry) -> bool | None:
    """A condition that is known."""
    return bool(entry.reshape(-1)[0]) if isinstance(entry, np.ndarray) else None
