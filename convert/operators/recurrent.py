"""RNN, GRU and LSTM in full: directions, lengths, initial states, activations, peepholes, clipping, both layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, op, refuse
from xport.convert.lowering.values import Value
from xport.convert.operators import recurrent_cells
from xport.convert.operators.recurrent_cells import Cell, gru_step, lstm_step, rnn_step
from xport.signature import numpy_dtype

Step = Callable[[Any, Cell, Any, list[Any], list[Any]], list[Any]]


@dataclass
class Network:
    """One node's tensors, time-major.

    Attributes:
        x: The sequence [T, B, I].
        w: Input weights [directions, gates * H, I].
        r: Recurrent weights [directions, gates * H, H].
        b: Both biases [directions, 2 * gates * H]; None for zeros.
        states: Initial states [directions, B, H] each.
        lengths: Length of each sequence [B]; None if all are T.
        reverse: For each direction, whether it runs backwards.
    """

    x: Any
    w: Any
    r: Any
    b: Any
    states: list[Any]
    lengths: Any
    reverse: list[bool]


_REVERSE = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}


def _network(
    xp: Any,
    context: Context,
    tensors: tuple[Any, Any, Any, Any],
    lengths: Value | None,
    states: list[Any],
    direction: str,
    batch_first: bool,
    hidden: int | None,
) -> Network:
    x, w, r, b = tensors
    if direction not in _REVERSE:
        raise refuse(f"direction={direction!r}", "it must be forward, reverse or bidirectional")
    reverse = _REVERSE[direction]
    if batch_first:
        x = xp.transpose(x, [1, 0, 2])
        states = [None if s is None else xp.transpose(s, [1, 0, 2]) for s in states]
    if hidden is not None:  # a size that the shapes may not tell while converting
        n = len(reverse)
        rows = {"RNN": 1, "GRU": 3, "LSTM": 4}[context.node.op_type] * hidden
        w = xp.reshape(w, [n, rows, xp.shape(w)[2]])
        r = xp.reshape(r, [n, rows, hidden])
        b = b if b is None else xp.reshape(b, [n, 2 * rows])
        states = [None if s is None else xp.reshape(s, [n, xp.shape(s)[1], hidden]) for s in states]
    sizes = [len(reverse), xp.shape(x)[1], xp.shape(r)[2]]
    zero = np.zeros((), dtype=numpy_dtype(xp.dtype(x)))
    # The types agree in ONNX; a module moved to double precision may still compute initial states in single.
    states = [xp.fill(sizes, zero) if s is None else xp.cast(s, xp.dtype(x)) for s in states]
    known = None if lengths is None else lengths.static()
    if lengths is None or (known is not None and all(n == xp.shape(x)[0] for n in known.reshape(-1).tolist())):
        return Network(x, w, r, b, states, None, reverse)
    return Network(x, w, r, b, states, context.tensor(lengths), reverse)


def _at(xp: Any, tensor: Any, index: int) -> Any:
    """One direction's part."""
    part = xp.slice(tensor, [(0, index, index + 1, 1)])
    return xp.reshape(part, xp.shape(tensor)[1:])


def _direction(
    xp: Any, network: Network, index: int, cell: Cell, step: Step, weights: list[Any], bias: Any
) -> tuple[Any, list[Any]]:
    """Run one direction: all outputs [T, B, H] in the order of the input, and the final states."""
    x, lengths = network.x, network.lengths

    def turned(sequence: Any) -> Any:
        if not network.reverse[index]:
            return sequence
        return xp.flip(sequence, 0) if lengths is None else xp.reverse_sequence(sequence, lengths)

    # One product for all steps: only the recurrent part is left for the loop.
    projected = xp.matmul(turned(x), xp.transpose(_at(xp, network.w, index), [1, 0]))
    projected = projected if bias is None else xp.add(projected, bias)
    inputs = [projected]
    length, batch = xp.shape(x)[:2]
    if lengths is not None:
        inputs.append(xp.reshape(xp.steps_mask(length, lengths), [length, batch, 1]))
    states = [_at(xp, s, index) for s in network.states]

    def advance(current: list[Any], now: list[Any], operands: list[Any]) -> tuple[list[Any], list[Any]]:
        after = step(xp, cell, now[0], current, operands)
        if lengths is None:
            return after, [after[0]]
        kept = [xp.where(now[1], new, old) for new, old in zip(after, current, strict=True)]
        return kept, [xp.where(now[1], after[0], xp.scalar(0, after[0]))]

    final, (outputs,) = xp.scan(advance, states, inputs, weights, [xp.shape(states[0])])
    return turned(outputs), final


def _results(
    xp: Any, context: Context, outputs: list[Any], finals: list[list[Any]], batch_first: bool
) -> tuple[Any, ...]:
    """Join directions: Y [T, directions, B, H] and each final state [directions, B, H], or batch-major."""
    axis = 2 if batch_first else 1
    results = []
    if context.wants(0):
        moved = [xp.transpose(y, [1, 0, 2]) if batch_first else y for y in outputs]
        results.append(_stack(xp, moved, axis))
    else:
        results.append(None)
    for k in range(len(finals[0])):
        results.append(_stack(xp, [final[k] for final in finals], 1 if batch_first else 0))
    return tuple(results[: context.n_outputs])


def _stack(xp: Any, tensors: list[Any], axis: int) -> Any:
    def lifted(tensor: Any) -> Any:
        sizes = xp.shape(tensor)
        return xp.reshape(tensor, [*sizes[:axis], 1, *sizes[axis:]])

    parts = [lifted(t) for t in tensors]
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis)


def _fused(xp: Any, context: Context, network: Network, kind: str, batch_first: bool) -> tuple[Any, ...] | None:
    """The target's own kernel; the caller has checked that it computes the same."""
    if network.lengths is not None or network.reverse == [True]:
        return None
    directions = len(network.reverse)
    gates_hidden = xp.shape(network.r)[1]
    weights = []
    for i in range(directions):
        both = _at(xp, network.b, i) if network.b is not None else None
        if both is None:
            zero = np.zeros((), dtype=numpy_dtype(xp.dtype(network.x)))
            biases = [xp.fill([gates_hidden], zero)] * 2
        else:
            biases = list(xp.split(both, [gates_hidden] * 2, 0))
        weights.append([_at(xp, network.w, i), _at(xp, network.r, i), *biases])
    result = xp.fused_recurrent(kind, network.x, weights, network.states)
    if result is None:
        return None
    y, finals = result
    hidden = xp.shape(network.r)[2]
    outputs = xp.split(y, [hidden] * directions, 2) if directions > 1 else [y]
    per_direction = [[_at(xp, final, i) for final in finals] for i in range(directions)]
    return _results(xp, context, list(outputs), per_direction, batch_first)


def _functions(
    names: list[str] | None, default: list[str], directions: int, alpha: list[float] | None, beta: list[float] | None
) -> list[list[Any]]:
    names = names or default * directions
    n = len(default)
    if len(names) != n * directions:
        raise refuse(f"{len(names)} activations", f"{directions} direction(s) take {n * directions}")
    functions = recurrent_cells.activations(names, alpha, beta)
    return [functions[i * n : (i + 1) * n] for i in range(directions)]


def _plain(names: list[str] | None, default: list[str], directions: int, clip: float | None) -> bool:
    return (
        clip is None and [n.lower() for n in names or default * directions] == [n.lower() for n in default] * directions
    )


def _bias(xp: Any, network: Network, index: int, gates: int) -> tuple[Any, Any]:
    """One direction's biases of the input and of the recurrent product."""
    if network.b is None:
        return None, None
    size = xp.shape(network.r)[2]
    wb, rb = xp.split(_at(xp, network.b, index), [size * gates] * 2, 0)
    return wb, rb


@op("RNN", since=7)
def rnn(
    xp: Any,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: RawValue | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    context: Context,
) -> Any:
    """A simple recurrent network: each step is an activation of the input's and the last state's projections."""
    network = _network(xp, context, (x, w, r, b), sequence_lens, [initial_h], direction, bool(layout), hidden_size)
    n = len(network.reverse)
    for function in ("Tanh", "Relu"):
        if _plain(activations, [function], n, clip) and (activations or function == "Tanh"):
            fused = _fused(xp, context, network, f"rnn_{function.lower()}", bool(layout))
            if fused is not None:
                return fused
    functions = _functions(activations, ["Tanh"], n, activation_alpha, activation_beta)
    outputs, finals = [], []
    for i in range(n):
        wb, rb = _bias(xp, network, i, 1)
        weights = [xp.transpose(_at(xp, network.r, i), [1, 0])]
        bias = None if wb is None else xp.add(wb, rb)
        y, final = _direction(xp, network, i, Cell(functions[i], clip), rnn_step, weights, bias)
        outputs.append(y)
        finals.append(final)
    return _results(xp, context, outputs, finals, bool(layout))


@op("GRU", since=7)
def gru(
    xp: Any,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: RawValue | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    context: Context,
) -> Any:
    """Gated recurrent units; ``linear_before_reset`` applies the reset gate after the recurrent product."""
    default = ["Sigmoid", "Tanh"]
    network = _network(xp, context, (x, w, r, b), sequence_lens, [initial_h], direction, bool(layout), hidden_size)
    n = len(network.reverse)
    if linear_before_reset and _plain(activations, default, n, clip):
        fused = _fused(xp, context, network, "gru", bool(layout))
        if fused is not None:
            return fused
    functions = _functions(activations, default, n, activation_alpha, activation_beta)
    outputs, finals = [], []
    for i in range(n):
        cell = Cell(functions[i], clip, linear_first=bool(linear_before_reset))
        weights, bias = _gru_weights(xp, network, i, cell.linear_first)
        y, final = _direction(xp, network, i, cell, gru_step, weights, bias)
        outputs.append(y)
        finals.append(final)
    return _results(xp, context, outputs, finals, bool(layout))


def _gru_weights(xp: Any, network: Network, index: int, linear_first: bool) -> tuple[list[Any], Any]:
    """What `gru_step` multiplies by, and the bias that the projected input carries."""
    size = xp.shape(network.r)[2]
    recurrent = _at(xp, network.r, index)
    wb, rb = _bias(xp, network, index, 3)
    if linear_first:
        weights = [xp.transpose(recurrent, [1, 0])]
        if wb is None:
            zero = np.zeros((), dtype=numpy_dtype(xp.dtype(network.x)))
            return [*weights, xp.fill([size], zero)], None
        rzr, rh = xp.split(rb, [2 * size, size], 0)
        wzr, wh = xp.split(wb, [2 * size, size], 0)
        return [*weights, rh], xp.concat([xp.add(wzr, rzr), wh], 0)
    gates, hidden = xp.split(recurrent, [2 * size, size], 0)
    weights = [xp.transpose(gates, [1, 0]), xp.transpose(hidden, [1, 0])]
    return weights, None if wb is None else xp.add(wb, rb)


@op("LSTM", since=7)
def lstm(
    xp: Any,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: RawValue | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    context: Context,
) -> Any:
    """Long short-term memory, with peepholes and with coupled input and forget gates if the node asks for them."""
    default = ["Sigmoid", "Tanh", "Tanh"]
    network = _network(
        xp, context, (x, w, r, b), sequence_lens, [initial_h, initial_c], direction, bool(layout), hidden_size
    )
    n = len(network.reverse)
    if _plain(activations, default, n, clip) and p is None and not input_forget:
        fused = _fused(xp, context, network, "lstm", bool(layout))
        if fused is not None:
            return fused
    functions = _functions(activations, default, n, activation_alpha, activation_beta)
    size = xp.shape(r)[2]
    outputs, finals = [], []
    for i in range(n):
        wb, rb = _bias(xp, network, i, 4)
        peepholes = [] if p is None else list(xp.split(_at(xp, p, i), [size] * 3, 0))
        weights = [xp.transpose(_at(xp, network.r, i), [1, 0]), *peepholes]
        cell = Cell(functions[i], clip, coupled=bool(input_forget))
        y, final = _direction(xp, network, i, cell, lstm_step, weights, None if wb is None else xp.add(wb, rb))
        outputs.append(y)
        finals.append(final)
    return _results(xp, context, outputs, finals, bool(layout))
