"""Branches and loops: graphs inside a graph, which see the values around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from xport.convert.importing.elementwise import apply
from xport.convert.importing.tensor import Size, Tensor, constant
from xport.convert.importing.writer import LIMIT, Scope, Writer

Body = Callable[[Tensor, list[Tensor]], tuple[Tensor | None, list[Tensor], list[Tensor]]]
"""Of the iteration's number and the states: whether to go on (None: until the limit), the new states, what to stack."""


def produced(w: Writer, scope: Scope, tensors: Sequence[Tensor]) -> list[ir.Value]:
    """The values of tensors, each made by a node of its own in a scope, as a graph's outputs have to be."""
    found: list[ir.Value] = []
    for tensor in tensors:
        value = w.value(tensor)
        if value in found or value.producer() not in scope.nodes:
            value = w.emit("Identity", [value], [tensor.dtype])[0]
        found.append(value)
    return found


def branch(
    w: Writer, condition: Tensor, then: Callable[[], list[Tensor]], otherwise: Callable[[], list[Tensor]]
) -> list[Tensor]:
    """One of two computations, chosen at run time."""
    if condition.const is not None:
        return then() if bool(condition.const) else otherwise()
    graphs, results = [], []
    for name, side in (("then", then), ("else", otherwise)):
        with w.subgraph() as scope:
            tensors = side()
            values = produced(w, scope, tensors)
        graphs.append(ir.Graph([], values, nodes=scope.nodes, name=w.unique(f"{w.name}_{name}")))
        results.append(tensors)
    dtypes = [t.dtype for t in results[0]]
    made = w.emit("If", [w.value(condition)], dtypes, {"then_branch": graphs[0], "else_branch": graphs[1]})
    return [
        Tensor(dtype, _either(w, a.dims, b.dims), value)
        for dtype, a, b, value in zip(dtypes, results[0], results[1], made, strict=True)
    ]


def _either(w: Writer, a: tuple[Size, ...] | None, b: tuple[Size, ...] | None) -> tuple[Size, ...] | None:
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else w.fresh() for x, y in zip(a, b, strict=True))


def loop(
    w: Writer,
    limit: Tensor | None,
    condition: Tensor | None,
    states: Sequence[Tensor],
    shapes: Sequence[tuple[Size, ...] | None],
    body: Body,
) -> tuple[list[Tensor], list[Tensor]]:
    """Repeat a computation.

    Args:
        w: The writer.
        limit: How often at most; None for any number.
        condition: Whether to begin; None for yes.
        states: What the first iteration is given.
        shapes: Sizes that the states keep through all iterations.
        body: The computation.

    Returns:
        The final states, and what was to be stacked.
    """
    with w.subgraph() as scope:
        iteration = w.input("iteration", "int64", ())
        going = w.input("going", "bool", ())
        given = [
            w.input(f"{w.name}/state", s.dtype, None if d is None else [_no_symbol(x) for x in d])
            for s, d in zip(states, shapes, strict=True)
        ]
        given = [g.with_(dims=d) for g, d in zip(given, shapes, strict=True)]
        for state in given:
            w.remember(state)
        goes, ends, stacked = body(iteration, given)
        values = produced(w, scope, [going if goes is None else goes, *ends, *stacked])
    inputs = [t.value for t in (iteration, going, *given) if t.value is not None]
    graph = ir.Graph(inputs, values, nodes=scope.nodes, name=w.unique(f"{w.name}_body"))
    start = constant(True) if condition is None else condition
    feeds = [None if limit is None else w.int64(limit), w.value(start), *(w.value(s) for s in states)]
    dtypes = [t.dtype for t in (*ends, *stacked)]
    made = w.emit("Loop", feeds, dtypes, {"body": graph})
    if limit is not None and limit.elements is not None and made:
        made[0].meta[LIMIT] = limit.elements[0]
    finals = [Tensor(s.dtype, d, v) for s, d, v in zip(ends, shapes, made, strict=False)]
    length = w.fresh()
    rows = [
        Tensor(t.dtype, None if t.dims is None else (length, *t.dims), v)
        for t, v in zip(stacked, made[len(ends) :], strict=True)
    ]
    return finals, rows


def _no_symbol(size: Size) -> Any:
    return size if isinstance(size, int) else None


def smallest(w: Writer, limits: Sequence[Tensor]) -> Tensor:
    """The least of some int64 scalars."""
    found = limits[0]
    for limit in limits[1:]:
        found = apply(w, "Min", [found, limit])
    return found
