"""Bodies of If, Loop and Scan: graphs that see the values around them, as functions of tensors."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering.interpreter import Context, Scope, dims_of
from xport.convert.lowering.registry import refuse
from xport.convert.lowering.values import HostVector, Value


class Body:
    """A nested graph as a function.

    Targets that need it (`explicit_captures`) are handed every outer tensor that the graph uses as an operand, and so
    the graph's own constants too, since a body that is traced by itself can hold neither.

    Args:
        xp: The target's primitives.
        context: The call that the graph is an attribute of.
        graph: The graph.
    """

    def __init__(self, xp: Any, context: Context, graph: ir.Graph) -> None:
        self.graph = graph
        self._xp = xp
        self._context = context
        self._captured: dict[ir.Value, Value] = {}
        self.operands: list[Any] = []
        if xp.explicit_captures:
            self._captured = dict(self._captures())
            for value in self._captured.values():
                self.operands.extend(self._flatten(value))

    def __call__(self, inputs: Sequence[Value], operands: Sequence[Any]) -> list[Value]:
        """Evaluate the graph; ``operands`` stand for `operands`, in their order."""
        scope = self._context.scope
        left = iter(operands)
        overlay = {key: self._rebuild(value, left) for key, value in self._captured.items()}
        inner = Scope(ChainMap({}, overlay, scope.env), scope.opsets, scope.attributes)
        return self._context.interpreter.run_graph(self.graph, inputs, inner)

    def tensors(self, values: Sequence[Value]) -> list[Any]:
        """Results as tensors in logical order."""
        return [self._context.tensor(v) for v in values]

    def forget_shapes(self) -> None:
        """Drop what shape inference says inside, where it took a state's first shape for every iteration's."""
        for graph in (self.graph, *_inner_graphs(self.graph)):
            for value in (*graph.inputs, *(v for node in graph for v in node.outputs)):
                value.shape = None

    def _captures(self) -> Iterator[tuple[ir.Value, Value]]:
        env, seen = self._context.scope.env, set()
        for used in _free_values(self.graph):
            if used in env and used not in seen:
                seen.add(used)
                yield used, env[used]
        for graph in (self.graph, *_inner_graphs(self.graph)):
            for initializer in graph.initializers.values():
                if initializer.const_value is not None:
                    yield initializer, self._context.interpreter.initializer(initializer)
            for node in graph:
                if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                    (made,) = self._context.interpreter.evaluate(node, self._context.scope)
                    yield node.outputs[0], made

    def _flatten(self, value: Value) -> list[Any]:
        if value.sequence is not None:
            return [t for item in value.sequence for t in self._flatten(item)]
        if value.vector is not None:
            return [] if value.vector.static else [self._xp.as_operand(i) for i in _run_time(value.vector)]
        if value.const is not None:
            return [] if value.const.dtype == object else [self._context.tensor(value)]
        return [] if value.tensor is None else [value.tensor]

    def _rebuild(self, value: Value, operands: Iterator[Any]) -> Value:
        if value.sequence is not None:
            return Value(value.name, sequence=[self._rebuild(item, operands) for item in value.sequence])
        if value.vector is not None:
            items = [i if isinstance(i, (int, np.integer)) else next(operands) for i in value.vector.items]
            return Value(value.name, vector=HostVector(items, value.vector.scalar, value.vector.dtype))
        if value.const is not None:
            if value.const.dtype == object:
                return value
            cache = {(None, self._xp.graph_key()): next(operands)}
            return Value(value.name, const=value.const, cache=cache)
        if value.tensor is None:
            return value
        return Value(value.name, tensor=next(operands), perm=value.perm, dims=value.dims)


def _run_time(vector: HostVector) -> list[Any]:
    return [i for i in vector.items if not isinstance(i, (int, np.integer))]


def _inner_graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.is_ref():
                continue
            if attribute.type == ir.AttributeType.GRAPH:
                yield attribute.value
                yield from _inner_graphs(attribute.value)
            elif attribute.type == ir.AttributeType.GRAPHS:
                for inner in attribute.value:
                    yield inner
                    yield from _inner_graphs(inner)


def _free_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Values that a graph or one inside it uses but none of them defines."""
    graphs = [graph, *_inner_graphs(graph)]
    defined: set[ir.Value] = set()
    for g in graphs:
        defined.update(g.inputs, g.initializers.values(), *(node.outputs for node in g))
    for g in graphs:
        for value in (*(v for node in g for v in node.inputs), *g.outputs):
            if value is not None and value not in defined:
                yield value


def wrap(tensor: Any, name: str = "") -> Value:
    """A tensor in logical order as a value."""
    return Value(name, tensor=tensor)


def varying(graph: ir.Graph, n_states: int, skip_inputs: int, skip_outputs: int) -> bool:
    """Whether a state's shape at the body's end may differ from that at its beginning."""
    pairs = zip(graph.inputs[skip_inputs:][:n_states], graph.outputs[skip_outputs:][:n_states], strict=True)
    return any(dims_of(a) != dims_of(b) for a, b in pairs)


def scalar_condition(xp: Any, context: Context, value: Value) -> bool | None:
    """A condition's truth where it is known while converting.

    Raises:
        UnsupportedError: If it holds more than one element.
    """
    known = value.static()
    if known is None:
        return None
    if known.size != 1:
        raise refuse(f"a condition of {known.size} elements", "it must be one boolean")
    return bool(known.reshape(())[()])
