"""TFLite's control flow: graphs of the file that call each other."""

from __future__ import annotations

from collections.abc import Sequence

from xport.convert.importing import nested
from xport.convert.importing.tensor import Tensor
from xport.convert.importing.tflite_registry import Call, op


@op("IF")
def _if(c: Call) -> Sequence[Tensor]:
    then, otherwise = c.option("thenSubgraphIndex"), c.option("elseSubgraphIndex")
    rest = c.tensors[1:]
    return nested.branch(c.w, c.x, lambda: c.reader.run(then, rest), lambda: c.reader.run(otherwise, rest))


@op("CALL")
def _call(c: Call) -> Sequence[Tensor]:
    found: list[Tensor] = c.reader.run(c.option("subgraph"), c.tensors)
    return found


@op("WHILE")
def _while(c: Call) -> Sequence[Tensor]:
    """What no turn changes is seen from inside instead of being carried."""
    condition, body = c.option("condSubgraphIndex"), c.option("bodySubgraphIndex")
    graph = c.reader.file.model.subgraphs[body]
    fixed = [a == b for a, b in zip(graph.inputs, graph.outputs, strict=True)]
    states = [i for i, same in enumerate(fixed) if not same]
    shapes = [c.reader.sizes(graph.tensors[graph.inputs[i]]) for i in states]

    def turn(number: Tensor, given: list[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        values = list(c.tensors)
        for i, state in zip(states, given, strict=True):
            values[i] = state
        made = c.reader.run(body, values)
        return c.reader.run(condition, made)[0], [made[i] for i in states], []

    start = c.reader.run(condition, c.tensors)[0]
    finals, _ = nested.loop(c.w, None, start, [c.tensors[i] for i in states], shapes, turn)
    results = list(c.tensors)
    for i, tensor in zip(states, finals, strict=True):
        results[i] = tensor
    return results
