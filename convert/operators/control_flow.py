"""If, Loop and Scan: nested graphs that run under a condition or many times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, op, refuse
from xport.convert.lowering.values import Value
from xport.convert.operators.subgraphs import Body, scalar_condition, varying, wrap

UNROLL = 8
"""A loop of at most this many known iterations is written out, so that sizes in it are found while converting."""

UNROLL_SEQUENCES = 1000
"""The same for a loop that carries sequences, for which no target has a run-time form here."""


@op("If", since=1)
def if_(xp: Any, condition: RawValue, *, then_branch: ir.Graph, else_branch: ir.Graph, context: Context) -> Any:
    """Evaluate one of two graphs: the chosen one alone if the condition is known, else a run-time branch."""
    known = scalar_condition(xp, context, condition)
    if known is not None:
        return tuple(context.run(then_branch if known else else_branch, []))
    bodies = [Body(xp, context, graph) for graph in (then_branch, else_branch)]
    lengths: list[list[int | None]] = [[], []]

    def run(which: int, operands: list[Any]) -> list[Any]:
        values = bodies[which]([], operands)
        lengths[which] = [None if v.sequence is None else len(v.sequence) for v in values]
        return [_tensor(context, v) for value in values for v in _members(value)]

    split = len(bodies[0].operands)
    results = xp.branch(
        xp.reshape(context.tensor(condition), []),
        lambda operands: run(0, operands[:split]),
        lambda operands: run(1, operands[split:]),
        [*bodies[0].operands, *bodies[1].operands],
    )
    if all(lengths) and lengths[0] != lengths[1]:
        raise refuse("branches that give sequences of different lengths", "the length must be known while converting")
    for i, result in enumerate(results):
        if xp.rank(result) is None and (i >= context.n_outputs or context.output_shape(i) is None):
            raise refuse("branches whose results differ in rank", "the condition must be known while converting")
    return tuple(_regrouped(results, lengths[0] or lengths[1]))


def _members(value: Value) -> list[Value]:
    return [value] if value.sequence is None else value.sequence


def _tensor(context: Context, value: Value) -> Any:
    if value.sequence is not None or (value.tensor is None and not value.known and value.vector is None):
        raise refuse(f"value {value.name!r} out of a branch or loop", "it is no tensor")
    return context.tensor(value)


def _regrouped(tensors: Sequence[Any], lengths: Sequence[int | None]) -> list[Any]:
    left = iter(tensors)
    return [next(left) if n is None else [wrap(next(left)) for _ in range(n)] for n in lengths]


@op("Loop", since=1)
def loop(
    xp: Any,
    limit: RawValue | None = None,
    condition: RawValue | None = None,
    *states: RawValue,
    body: ir.Graph,
    context: Context,
) -> Any:
    """Repeat a graph while a condition holds, at most ``limit`` times; states are carried, other outputs stacked."""
    start = True if condition is None else scalar_condition(xp, context, condition)
    bound = None if limit is None else limit.static()
    trips = None if bound is None else int(bound.reshape(())[()])
    carried = list(states)
    if start is False or (trips is not None and trips <= 0):
        return _no_trips(xp, context, body, carried)
    most = UNROLL_SEQUENCES if any(v.sequence is not None for v in carried) else UNROLL
    if start and trips is not None and trips <= most:
        unrolled = _unrolled(xp, context, body, trips, carried)
        if unrolled is not None:
            return unrolled
    return _run_time_loop(xp, context, body, limit, condition, carried)


def _no_trips(xp: Any, context: Context, body: ir.Graph, states: list[Value]) -> tuple[Any, ...]:
    """States as they are; outputs with no rows, of the sizes that inference knows and zero elsewhere."""
    results: list[Any] = list(states)
    for out in body.outputs[1 + len(states) :]:
        if out.shape is None or out.dtype is None:
            raise refuse(f"output {out.name!r} of a loop that never runs", "its rank is unknown")
        sizes = [d if isinstance(d, int) else 0 for d in out.shape]
        results.append(np.zeros([0, *sizes], dtype=out.dtype.numpy()))
    return tuple(results)


def _unrolled(xp: Any, context: Context, graph: ir.Graph, trips: int, states: list[Value]) -> tuple[Any, ...] | None:
    """The iterations one after another; None if one decides at run time whether the next takes place."""
    n = len(states)
    inner = Body(xp, context, graph)
    if varying(graph, n, 2, 1):
        inner.forget_shapes()
    current, rows = list(states), []
    for i in range(trips):
        number = Value(const=np.asarray(i, dtype=np.int64))
        going, *results = context.run(graph, [number, Value(const=np.asarray(True)), *current])
        current, made = results[:n], results[n:]
        rows.append(made)
        more = scalar_condition(xp, context, going)
        if more is None and i < trips - 1:
            return None
        if more is False:
            break
    if any(v.sequence is not None for row in rows for v in row):
        raise refuse("a sequence among a loop's stacked outputs", "only tensors can be stacked")
    stacked = [_stack(xp, [context.tensor(v) for v in column]) for column in zip(*rows, strict=True)]
    return (*current, *stacked)


def _stack(xp: Any, tensors: list[Any]) -> Any:
    return xp.concat([xp.reshape(t, [1, *xp.shape(t)]) for t in tensors], 0)


def _run_time_loop(
    xp: Any, context: Context, graph: ir.Graph, limit: Value | None, condition: Value | None, states: list[Value]
) -> tuple[Any, ...]:
    n = len(states)
    if any(v.sequence is not None for v in states):
        raise refuse("a loop that carries a sequence", "the number of iterations must be known while converting")
    if varying(graph, n, 2, 1):
        Body(xp, context, graph).forget_shapes()
    inner = Body(xp, context, graph)

    def step(i: Any, going: Any, current: list[Any], operands: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        values = inner([wrap(i), wrap(going), *map(wrap, current)], operands)
        more, *results = [_tensor(context, v) for v in values]
        return xp.reshape(more, []), results[:n], results[n:]

    begin = context.tensor(Value(const=np.asarray(True)) if condition is None else condition)
    bound = None if limit is None else xp.reshape(context.tensor(limit), [])
    n_outputs = len(graph.outputs) - 1 - n
    start = [context.tensor(v) for v in states]
    final, outputs = xp.loop(step, bound, xp.reshape(begin, []), start, inner.operands, n_outputs)
    return (*final, *outputs)


@op("Scan", since=9)
def scan(
    xp: Any,
    *inputs: RawValue,
    body: ir.Graph,
    num_scan_inputs: int,
    scan_input_axes: list[int] | None = None,
    scan_input_directions: list[int] | None = None,
    scan_output_axes: list[int] | None = None,
    scan_output_directions: list[int] | None = None,
    context: Context,
) -> Any:
    """Step a graph over slices of tensors; states are carried, other outputs stacked along an axis of choice."""
    n = len(inputs) - num_scan_inputs
    states = [context.tensor(v) for v in inputs[:n]]
    sequences = []
    for i, value in enumerate(inputs[n:]):
        axis = (scan_input_axes or [0] * num_scan_inputs)[i]
        sequence = _moved(xp, context.tensor(value), axis, 0)
        sequences.append(xp.flip(sequence, 0) if scan_input_directions and scan_input_directions[i] else sequence)
    inner = Body(xp, context, body)
    final, outputs = xp.scan(_step(xp, context, inner, n), states, sequences, inner.operands)
    for i, output in enumerate(outputs):
        turned = xp.flip(output, 0) if scan_output_directions and scan_output_directions[i] else output
        outputs[i] = _moved(xp, turned, 0, scan_output_axes[i] if scan_output_axes else 0)
    return (*final, *outputs)


def _step(xp: Any, context: Context, inner: Body, n: int) -> Any:
    def step(current: list[Any], now: list[Any], operands: list[Any]) -> tuple[list[Any], list[Any]]:
        results = [_tensor(context, v) for v in inner([wrap(t) for t in (*current, *now)], operands)]
        return results[:n], results[n:]

    return step


def _moved(xp: Any, tensor: Any, source: int, target: int) -> Any:
    """Move an axis; negative ones count from the end."""
    rank = xp.rank(tensor)
    order = list(range(rank))
    order.insert(target % rank, order.pop(source % rank))
    return tensor if order == sorted(order) else xp.transpose(tensor, order)


@op("Scan", since=8, until=8)
def scan_8(
    xp: Any,
    sequence_lens: RawValue | None = None,
    *inputs: RawValue,
    body: ir.Graph,
    directions: list[int] | None = None,
    num_scan_inputs: int,
    context: Context,
) -> Any:
    """The older form, with a batch axis in front of every input and an optional length for each sequence."""
    n = len(inputs) - num_scan_inputs
    tensors = [context.tensor(v) for v in inputs]
    batch = xp.shape(tensors[0])[0]
    if not isinstance(batch, int):
        raise refuse("Scan before opset 9 with a batch of unknown size", "it must be known while converting")
    lengths = [xp.shape(tensors[-1])[1]] * batch
    if sequence_lens is not None:
        known = sequence_lens.static()
        if known is None:
            raise refuse("sequence_lens", "the lengths must be known while converting")
        lengths = [int(i) for i in known.reshape(-1)]
    inner = Body(xp, context, body)
    rows = []
    for b in range(batch):
        own = [xp.reshape(xp.slice(t, [(0, b, b + 1, 1)]), xp.shape(t)[1:]) for t in tensors]
        sequences = [_forward(xp, t, bool(directions and directions[i]), lengths[b]) for i, t in enumerate(own[n:])]
        final, outputs = xp.scan(_step(xp, context, inner, n), own[:n], sequences, inner.operands)
        rows.append([*final, *(_lengthened(xp, y, xp.shape(tensors[-1])[1]) for y in outputs)])
    return tuple(_stack(xp, list(column)) for column in zip(*rows, strict=True))


def _forward(xp: Any, sequence: Any, reverse: bool, length: Any) -> Any:
    part = xp.slice(sequence, [(0, 0, length, 1)]) if isinstance(length, int) else sequence
    return xp.flip(part, 0) if reverse else part


def _lengthened(xp: Any, output: Any, size: Any) -> Any:
    """Zeros after the last step of a shorter sequence."""
    sizes = xp.shape(output)
    if not isinstance(sizes[0], int) or not isinstance(size, int) or sizes[0] == size:
        return output
    zeros = xp.fill([size - sizes[0], *sizes[1:]], np.zeros((), dtype=np.float32))
    return xp.concat([output, xp.cast(zeros, xp.dtype(output))], 0)
