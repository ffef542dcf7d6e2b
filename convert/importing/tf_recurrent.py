"""Loops whose body is the cell of a recurrent layer, as ONNX's LSTM, GRU or RNN.

A cell can be written in many ways, so that it is told by what it computes: the body runs on random numbers, weights
included, and has to give what the layer's formula gives. Whatever else a loop does keeps it a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, shaping
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_loops import source
from xport.convert.importing.writer import Writer

Arrays = list[np.ndarray]
_BATCH, _SCALES, _CLOSE = 3, (0.3, 1.0, 3.0), 2e-5
_LEAVES = ("Placeholder", "ReadVariableOp", "TensorListGetItem", "Const")
_MOST = 400
"""Operations that a cell has at most; a body with more is no cell."""


def _sigmoid(x: np.ndarray) -> np.ndarray:
    made: np.ndarray = 0.5 * (1 + np.tanh(0.5 * x))
    return made


def _lstm(x: np.ndarray, states: Arrays, w: np.ndarray, r: np.ndarray, b: np.ndarray) -> Arrays:
    h, c = states
    i, f, g, o = np.split(x @ w + h @ r + b, 4, axis=1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return [_sigmoid(o) * np.tanh(c), c]


def _gru_after(x: np.ndarray, states: Arrays, w: np.ndarray, r: np.ndarray, b: np.ndarray) -> Arrays:
    (h,) = states
    xz, xr, xh = np.split(x @ w + b[0], 3, axis=1)
    hz, hr, hh = np.split(h @ r + b[1], 3, axis=1)
    z = _sigmoid(xz + hz)
    return [z * h + (1 - z) * np.tanh(xh + _sigmoid(xr + hr) * hh)]


def _gru_before(x: np.ndarray, states: Arrays, w: np.ndarray, r: np.ndarray, b: np.ndarray) -> Arrays:
    (h,) = states
    n = h.shape[1]
    xz, xr, xh = np.split(x @ w + b, 3, axis=1)
    z, reset = _sigmoid(xz + h @ r[:, :n]), _sigmoid(xr + h @ r[:, n : 2 * n])
    return [z * h + (1 - z) * np.tanh(xh + (reset * h) @ r[:, 2 * n :])]


def _tanh(x: np.ndarray, states: Arrays, w: np.ndarray, r: np.ndarray, b: np.ndarray) -> Arrays:
    return [np.tanh(x @ w + states[0] @ r + b)]


def _relu(x: np.ndarray, states: Arrays, w: np.ndarray, r: np.ndarray, b: np.ndarray) -> Arrays:
    return [np.maximum(x @ w + states[0] @ r + b, 0)]


@dataclass(frozen=True)
class Kind:
    """A recurrent layer.

    Attributes:
        op: ONNX's operator.
        gates: How many gates a cell has.
        states: How many states.
        rows: How many rows the bias has; 0 for a vector.
        order: The gates in ONNX's order.
        step: The formula of one step, of the input, the states, the weights of both and the bias.
        attributes: ONNX's.
    """

    op: str
    gates: int
    states: int
    rows: int
    order: tuple[int, ...]
    step: Callable[[np.ndarray, Arrays, np.ndarray, np.ndarray, np.ndarray], Arrays]
    attributes: tuple[tuple[str, Any], ...] = ()


KINDS = (
    Kind("LSTM", 4, 2, 0, (0, 3, 1, 2), _lstm),
    Kind("GRU", 3, 1, 2, (0, 1, 2), _gru_after, (("linear_before_reset", 1),)),
    Kind("GRU", 3, 1, 0, (0, 1, 2), _gru_before),
    Kind("RNN", 1, 1, 0, (0,), _tanh),
    Kind("RNN", 1, 1, 0, (0,), _relu, (("activations", ["Relu"]),)),
)
"""The cells that are known, with Keras' order of gates: i f c o, and z r h. ONNX: i o f c, and z r h."""


@dataclass(frozen=True)
class Cell:
    """What a loop's body was found to be.

    Attributes:
        kind: The layer.
        item: The tensor that holds the step's input.
        states: The body's states in the formula's order.
        weights: The body's tensors with the weights of the input, of the state, and the bias if there is one, and what
            they hold.
        twins: By `_origin`, all tensors that are the same: a body may read a variable more than once.
    """

    kind: Kind
    item: Any
    states: tuple[int, ...]
    weights: tuple[tuple[Any, np.ndarray], ...]
    twins: Mapping[str, Sequence[Any]]


def recognized(body: Any, states: Sequence[int], written: Any, content: Callable[[Any], Any]) -> Cell | None:
    """Tell whether a loop's body is the cell of a recurrent layer.

    Args:
        body: Its graph.
        states: The numbers of its states.
        written: The tensor that each turn adds to the list of outputs; None without one.
        content: Gives the array that a tensor of the body always holds; None if it varies.

    Returns:
        The cell; None if it is none that is known.
    """
    ends = [_computed(t) for t in (*(body.outputs[i] for i in states), *([] if written is None else [written]))]
    leaves = _leaves(ends)
    if leaves is None or any(t.dtype != tf.float32 for t in leaves):
        return None
    given = [body.inputs[i] for i in states]
    names = {t.name for t in given}
    items = [t for t in leaves if t.op.type == "TensorListGetItem"]
    weights = [t for t in leaves if t.name not in names and t.op.type != "TensorListGetItem"]
    twins = {_origin(t): [u for u in weights if _origin(u) == _origin(t)] for t in weights}
    weights = [(group[0], content(group[0])) for group in twins.values()]
    if len(items) != 1 or not names <= {t.name for t in leaves} or any(a is None for _, a in weights):
        return None
    if any(t.shape.rank != 2 or t.shape[1] is None for t in (*items, *given)):
        return None
    for kind in KINDS:
        for chosen, order in _candidates(kind, items[0], given, weights):
            cell = Cell(kind, items[0], tuple(states[k] for k in order), chosen, twins)
            if _computes(body, cell, [given[k] for k in order], [*(ends[k] for k in order), *ends[len(states) :]]):
                return cell
    return None


def _computed(tensor: Any) -> Any:
    """What an identity stands for: those at the end of a body also wait for operations that cannot run alone."""
    while tensor.op.type in ("Identity", "StopGradient"):
        tensor = tensor.op.inputs[0]
    return tensor


def _origin(tensor: Any) -> str:
    """The name of the variable that a tensor is the content of; else its own."""
    return str(tensor.op.inputs[0].name if tensor.op.type == "ReadVariableOp" else tensor.name)


def _leaves(ends: Sequence[Any]) -> list[Any] | None:
    """The tensors that others are computed from; None if that takes more than arithmetic."""
    found: dict[str, Any] = {}
    todo, done = list(ends), set()
    while todo:
        tensor = todo.pop()
        op = tensor.op
        if (op.type == "Const" and (tensor.shape.rank or 0) == 0) or tensor.dtype == tf.int32:
            continue
        if op.type in _LEAVES:
            if op.type != "Const" or tensor.dtype == tf.float32:
                found[tensor.name] = tensor
            continue
        if op.name in done:
            continue
        done.add(op.name)
        if len(done) > _MOST or any(a.HasField("func") for a in op.node_def.attr.values()):
            return None
        todo += list(op.inputs)
    return list(found.values())


def _candidates(
    kind: Kind, item: Any, given: Sequence[Any], weights: Sequence[tuple[Any, np.ndarray]]
) -> Iterator[tuple[tuple[tuple[Any, np.ndarray], ...], tuple[int, ...]]]:
    """Which weight may be which, and the states in which order, as far as sizes tell."""
    size, width = given[0].shape[1], given[0].shape[1] * kind.gates
    if len(given) != kind.states or len(weights) not in (2, 3) or any(t.shape[1] != size for t in given):
        return
    bias = [kind.rows, width] if kind.rows else [width]
    for chosen in permutations(weights):
        shapes = [list(array.shape) for _, array in chosen]
        if shapes == [[item.shape[1], width], [size, width], bias][: len(chosen)]:
            for order in permutations(range(kind.states)):
                yield tuple(chosen), order


def _computes(body: Any, cell: Cell, given: Sequence[Any], ends: Sequence[Any]) -> bool:
    """Whether the body gives what the formula gives, on numbers small and large."""
    rng = np.random.default_rng(0)
    batch = next((t.shape[0] for t in (cell.item, *given) if t.shape[0] is not None), _BATCH)
    with tf.compat.v1.Session(graph=body, config=tf.compat.v1.ConfigProto(device_count={"GPU": 0})) as session:
        for scale in _SCALES:
            x, *states = (
                (scale * rng.standard_normal([batch, t.shape[1]])).astype(np.float32) for t in (cell.item, *given)
            )
            drawn: Arrays = [(scale * rng.standard_normal(a.shape)).astype(np.float32) for _, a in cell.weights]
            pairs = [(cell.item, x), *zip(given, states, strict=True)]
            for (t, _), array in zip(cell.weights, drawn, strict=True):
                pairs += [(twin, array) for twin in cell.twins[_origin(t)]]
            try:
                found = session.run(list(ends), {t.name: a for t, a in pairs})
            except tf.errors.OpError:
                return False  # it needs something that no cell needs
            if len(drawn) < 3:
                drawn.append(np.zeros((cell.kind.rows or 1, drawn[0].shape[1]), np.float32))
            w, r, b = (np.asarray(a, np.float64) for a in drawn)
            wanted = cell.kind.step(x.astype(np.float64), [s.astype(np.float64) for s in states], w, r, b)
            wanted += [wanted[0]] * (len(ends) - len(wanted))
            if not all(np.allclose(a, v, rtol=_CLOSE, atol=_CLOSE) for a, v in zip(found, wanted, strict=True)):
                return False
    return True


def layer(w: Writer, cell: Cell, x: Tensor, states: Sequence[Tensor | None]) -> tuple[Tensor, list[Tensor]]:
    """Write a recurrent layer.

    Args:
        w: The writer.
        cell: Its kind.
        x: The sequence: steps, batch, features.
        states: Where it begins, in the formula's order; None for zeros.

    Returns:
        The outputs of all steps, and the last states in the formula's order.
    """
    kind, (kernel, recurrent, *bias) = cell.kind, (constant(array) for _, array in cell.weights)
    size = int((recurrent.dims or ())[0])
    inputs: list[Tensor | None] = [x, _turned(w, kernel, kind), _turned(w, recurrent, kind)]
    inputs += [_bias(w, t, kind) for t in bias] or [None]
    begun = [None if s is None else shaping.unsqueeze(w, s, [0]) for s in states]
    inputs += [None, *begun] if any(s is not None for s in begun) else []
    values = [None if t is None else w.value(t) for t in inputs]
    attributes = {"hidden_size": size, **dict(kind.attributes)}
    made = w.emit(kind.op, values, ["float32"] * (1 + kind.states), attributes)
    steps, batch = (x.dims or ())[:2]
    every = shaping.squeeze(w, Tensor("float32", (steps, 1, batch, size), made[0]), [1])
    return every, [shaping.squeeze(w, Tensor("float32", (1, batch, size), v), [0]) for v in made[1:]]


def _turned(w: Writer, kernel: Tensor, kind: Kind) -> Tensor:
    """Weights as ONNX has them: an axis for the direction, then the gates in its order."""
    parts = joining.split(w, kernel, 1, None, kind.gates) if kind.gates > 1 else [kernel]
    ordered = joining.concat(w, [parts[i] for i in kind.order], 1)
    return shaping.unsqueeze(w, w.transpose(ordered, [1, 0]), [0])


def _bias(w: Writer, bias: Tensor, kind: Kind) -> Tensor:
    """The bias of the input, then that of the state."""
    rows = joining.unstack(w, bias, 0, 2) if kind.rows else [bias, e.apply(w, "Mul", [bias, e.like(0, bias)])]
    found = []
    for row in rows:
        parts = joining.split(w, row, 0, None, kind.gates) if kind.gates > 1 else [row]
        found += [parts[i] for i in kind.order]
    return shaping.unsqueeze(w, joining.concat(w, found, 0), [0])


def zeros(tensor: Any) -> bool:
    """Whether a tensor of the graph is certainly zero."""
    op = source(tensor)
    if op.type in ("Fill", "BroadcastTo"):
        return zeros(op.inputs[1] if op.type == "Fill" else op.inputs[0])
    if op.type == "ZerosLike":
        return True
    return op.type == "Const" and not np.any(tf.make_ndarray(op.node_def.attr["value"].tensor))
