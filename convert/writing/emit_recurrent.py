"""Recurrent layers.

ONNX puts the sequence first and orders gates in its own way; PyTorch's layers are written batch-first, so that the
transposes around them go away.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.writing.code import Code, Operand, Var, call, index, method
from xport.convert.writing.node import Directions, Filled, Item, NodeView, Permuted
from xport.convert.writing.registry import emit, refuse
from xport.convert.writing.translator import permute

_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where PyTorch's gates stand in ONNX's order: i f g o in i o f c, r z n in z r h."""
_PLAIN = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


@emit("LSTM", "GRU", "RNN")
def recurrent(node: NodeView) -> Any:
    """One recurrent layer in one or both directions."""
    direction = node.attr("direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    options = _options(node, count)
    weights = _weights(node, count)
    hidden = weights["weight_hh_l0"][1].shape[1]
    arguments = [
        ("input_size", weights["weight_ih_l0"][1].shape[1], None),
        ("hidden_size", hidden, None),
        *options,
        ("bias", node.has(3), True),
        ("batch_first", True, False),
        ("bidirectional", count == 2, False),
    ]
    layer = node.layer(node.kind, arguments, weights)
    x = _batch_first(node)
    backwards = direction == "reverse"
    x = method(x, "flip", 1) if backwards else x
    output, state = (
        Var("output", dtype=node.dtype()),
        Var("state", dtype="tuple" if node.kind == "LSTM" else node.dtype()),
    )
    node.translator.state([output, state], call(layer, x, *_initial(node)), node.node)
    if backwards:
        output = node.emit(method(output, "flip", 1), name="output", dtype=node.dtype())
    return _results(node, output, state, count)


def _options(node: NodeView, count: int) -> list[tuple[str, Any, Any]]:
    """Refuses what PyTorch's layers do not have."""
    kind = node.kind
    activations = node.attr("activations")
    own = [_PLAIN.get(kind, ["Tanh"])[i % len(_PLAIN.get(kind, [0]))] for i in range(len(activations or ()))]
    nonlinearity: list[tuple[str, Any, Any]] = []
    if kind == "RNN":
        found = {name.lower() for name in activations or ["tanh"]}
        if found not in ({"tanh"}, {"relu"}):
            raise refuse(f"activations {activations}")
        nonlinearity = [("nonlinearity", found.pop(), "tanh")]
    elif activations is not None and [a.lower() for a in activations] != [a.lower() for a in own]:
        raise refuse(f"activations {activations}")
    wrong = {
        "clip": node.attr("clip") is not None,
        "input_forget": bool(node.attr("input_forget", 0)),
        "linear_before_reset=0": kind == "GRU" and not node.attr("linear_before_reset", 0),
        "peepholes": node.has(7),
        "lengths of sequences": node.has(4) and not _full_length(node),
    }
    if any(wrong.values()):
        raise refuse(", ".join(name for name, is_so in wrong.items() if is_so))
    return nonlinearity


def _full_length(node: NodeView) -> bool:
    """Whether all lengths are certainly the whole sequence's."""
    lengths, total = node.const(4), node.size(0, 1 if node.attr("layout", 0) else 0)
    return lengths is not None and isinstance(total, int) and bool((lengths == total).all())


def _weights(node: NodeView, count: int) -> dict[str, tuple[int | None, np.ndarray]]:
    w, r = node.weight(1), node.weight(2)
    b = node.weight(3) if node.has(3) else None
    if w is None or r is None or (node.has(3) and b is None):
        raise refuse("weights that are computed at run time")
    order = _GATES[node.kind]
    found: dict[str, tuple[int | None, np.ndarray]] = {}
    for i, suffix in zip(range(count), ("", "_reverse"), strict=False):
        found[f"weight_ih_l0{suffix}"] = (1, _sorted(w[i], order))
        found[f"weight_hh_l0{suffix}"] = (2, _sorted(r[i], order))
        if b is not None:
            half = b.shape[1] // 2
            found[f"bias_ih_l0{suffix}"] = (3, _sorted(b[i, :half], order))
            found[f"bias_hh_l0{suffix}"] = (3, _sorted(b[i, half:], order))
    return found


def _sorted(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    gates = np.split(array, len(order))
    return np.ascontiguousarray(np.concatenate([gates[i] for i in order]))


def _batch_first(node: NodeView) -> Operand:
    if node.attr("layout", 0):
        return node.x()
    entry = node.entry(0)
    if isinstance(entry, Permuted) and entry.axes == (1, 0, 2):
        return entry.base
    return permute(node.x(), (1, 0, 2))


def _initial(node: NodeView) -> list[Any]:
    """The state to begin with; nothing for zeros."""
    positions = (5, 6) if node.kind == "LSTM" else (5,)
    if all(not node.has(i) or _zeros(node, i) for i in positions):
        return []
    entries = [node.entry(i) if node.has(i) else None for i in positions]
    if all(isinstance(e, Item) and e.position == k for k, e in enumerate(entries)) and len(entries) == 2:
        bases = {e.base for e in entries if isinstance(e, Item)}
        if len(bases) == 1 and not node.attr("layout", 0):
            return [bases.pop()]
    states: list[Operand] = []
    for i in positions:
        if not node.has(i):
            raise refuse("one initial state without the other")
        states.append(permute(node.x(i), (1, 0, 2)) if node.attr("layout", 0) else node.x(i))
    return [tuple(states)] if node.kind == "LSTM" else states


def _zeros(node: NodeView, i: int) -> bool:
    entry, array = node.entry(i), node.const(i)
    return (isinstance(entry, Filled) and not entry.value.any()) or (array is not None and not array.any())


def _results(node: NodeView, output: Var, state: Var, count: int) -> list[Any]:
    layout = node.attr("layout", 0)
    y = Directions(output, count, (2, 0, 1, 3) if layout else (0, 1, 2, 3))
    if node.kind != "LSTM":
        return [y, Permuted(state, (1, 0, 2)) if layout else state]
    if layout:
        items = [node.emit(_item(state, i), name=name) for i, name in enumerate(("hidden", "cell"))]
        return [y, *(Permuted(item, (1, 0, 2)) for item in items)]
    return [y, Item(state, 0), Item(state, 1)]


def _item(state: Var, i: int) -> Code:
    return index(state, [i])
