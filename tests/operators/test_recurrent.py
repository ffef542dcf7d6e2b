"""RNN, GRU and LSTM against ONNX Runtime over a seeded sample of their attributes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.operators.parity import check, element_type

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
SIMPLE = ["Relu", "Tanh", "Sigmoid", "Softsign", "Softplus"]
WITH_ALPHA = ["LeakyRelu", "Elu", "HardSigmoid", "ThresholdedRelu", "ScaledTanh", "Affine"]


def network(
    op: str, directions: int, hidden: int, size: int, seed: int, *, extras: set[str], attributes: dict[str, Any]
) -> tuple[onnx.ModelProto, Any]:
    """A model with the sequence, lengths and states as inputs, batch and time open, and a maker of feeds."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        return rng.uniform(-0.6, 0.6, shape).astype(np.float32)

    rows = GATES[op] * hidden
    known = {"W": weight(directions, rows, size), "R": weight(directions, rows, hidden)}
    if "bias" in extras:
        known["B"] = weight(directions, 2 * rows)
    if "peepholes" in extras:
        known["P"] = weight(directions, 3 * hidden)
    fed = ["X"] + [n for n in ("lengths", "h0", "c0") if n in extras]
    names = ["X", "W", "R", "B", "lengths", "h0"] + (["c0", "P"] if op == "LSTM" else [])
    names = [n if n in fed or n in known else "" for n in names]
    outputs = ["Y", "Y_h"] + (["Y_c"] if op == "LSTM" else [])
    node = helper.make_node(op, names, outputs, hidden_size=hidden, **attributes)

    def feeds(time: int, batch: int) -> list[np.ndarray]:
        made = {
            "X": weight(time, batch, size) * 3,
            "lengths": np.array([max(1, time - 2 * b) for b in range(batch)], np.int32),
            "h0": weight(directions, batch, hidden),
            "c0": weight(directions, batch, hidden),
        }
        return [made[n] for n in fed]

    shapes = {"X": ["time", "batch", size], "lengths": ["batch"]}
    inputs = [
        helper.make_tensor_value_info(n, element_type(x), shapes.get(n, [directions, "batch", hidden]))
        for n, x in zip(fed, feeds(2, 1), strict=True)
    ]
    graph = helper.make_graph(
        [node],
        op,
        inputs,
        [helper.make_empty_tensor_value_info(y) for y in outputs],
        [onnx.numpy_helper.from_array(a, n) for n, a in known.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), feeds


def drawn(seed: int) -> tuple[onnx.ModelProto, Any]:
    """A network with attributes drawn at random."""
    draw = random.Random(seed)
    op = ["RNN", "GRU", "LSTM"][seed % 3]
    direction = draw.choice(["forward", "reverse", "bidirectional"])
    directions = 2 if direction == "bidirectional" else 1
    attributes: dict[str, Any] = {"direction": direction}
    if draw.random() < 0.6:
        names = [draw.choice(SIMPLE + WITH_ALPHA) for _ in range(FUNCTIONS[op] * directions)]
        attributes["activations"] = names
        takers = [n for n in names if n in WITH_ALPHA]
        if takers:
            attributes["activation_alpha"] = [round(draw.uniform(0.1, 0.5), 2) for _ in takers]
            attributes["activation_beta"] = [round(draw.uniform(0.1, 0.5), 2) for _ in takers]
    if draw.random() < 0.4:
        attributes["clip"] = 0.7
    if op == "GRU":
        attributes["linear_before_reset"] = draw.randint(0, 1)
    if op == "LSTM" and draw.random() < 0.3:
        attributes["input_forget"] = 1
    extras = {e for e in ("bias", "lengths", "h0", "c0", "peepholes") if draw.random() < 0.5}
    extras -= set() if op == "LSTM" else {"c0", "peepholes"}
    return network(
        op, directions, draw.choice([1, 3, 4]), draw.choice([1, 3]), seed, extras=extras, attributes=attributes
    )


@pytest.mark.parametrize("seed", range(18))
def test_attributes_agree_with_onnx_runtime(seed: int) -> None:
    model, feeds = drawn(seed)
    check(model, feeds(4, 2), feeds(5, 3), feeds(1, 1), targets=("savedmodel", "torch"), rtol=1e-4, atol=3e-6)


@pytest.mark.parametrize("seed", range(3))
def test_every_form_runs_at_other_lengths(seed: int) -> None:
    model, feeds = drawn(seed)
    targets = ("tflite", "script", "exported")
    check(model, feeds(4, 2), feeds(7, 3), targets=targets, rtol=1e-4, atol=3e-6)


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_plain_networks_run_at_other_lengths(op: str) -> None:
    attributes = {"direction": "bidirectional", **({"linear_before_reset": 1} if op == "GRU" else {})}
    model, feeds = network(op, 2, 3, 2, 5, extras={"bias"}, attributes=attributes)
    targets = ("savedmodel", "tflite", "torch", "script", "exported")
    check(model, feeds(4, 2), feeds(7, 3), targets=targets, rtol=1e-4, atol=3e-6)
