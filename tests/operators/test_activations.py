"""Activation functions on every target against ONNX Runtime."""

import numpy as np
import pytest

from tests.operators.parity import check, graph_model, node_model

NODES = [
    ("Relu", {}),
    ("Sigmoid", {}),
    ("LeakyRelu", {}),
    ("LeakyRelu", {"alpha": 1.7}),
    ("Elu", {}),
    ("Elu", {"alpha": -0.5}),
    ("Celu", {"alpha": 2.0}),
    ("Selu", {}),
    ("Selu", {"alpha": 0.5, "gamma": 2.0}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    ("HardSwish", {}),
    ("Mish", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("ThresholdedRelu", {"alpha": 0.7}),
    ("Shrink", {"bias": 0.3, "lambd": 1.1}),
]


def spread(dtype):
    wide = np.linspace(-12, 12, 24)
    return np.concatenate([wide, [0, 1e-3, -1e-3, 60, -60]]).astype(dtype).reshape(1, -1)


def test_float32():
    x = spread("float32")
    nodes = [(op, ["x"], attributes) for op, attributes in NODES]
    check(graph_model(nodes, {"x": x}), [x], targets=["savedmodel", "torch"])
    # TFLite's converter recognises GELU only where no other node shares a part of its formula.
    for apart in ("Gelu", "Sigmoid"):
        check(graph_model([n for n in nodes if n[0] == apart][:1], {"x": x}), [x], targets=["tflite"])
    check(graph_model([n for n in nodes if n[0] != "Gelu"], {"x": x}), [x], targets=["tflite"])


def test_float32_of_open_sizes():
    feeds = [[spread("float32")[:, :5]], [spread("float32").repeat(3, 0)], [np.zeros((0, 4), np.float32)]]
    nodes = [(op, ["x"], attributes) for op, attributes in NODES if op not in ("Shrink", "Gelu")]
    check(graph_model(nodes, {"x": feeds[0][0]}, symbolic=True), *feeds)


def test_float64_keeps_its_digits():
    x = spread("float64")
    nodes = [(op, ["x"], {}) for op in ("Relu", "Sigmoid")]
    check(graph_model(nodes, {"x": x}), [x], rtol=1e-11, atol=1e-12, targets=["savedmodel", "torch"])
    check(graph_model(nodes, {"x": x}), [x], targets=["tflite"], may_refuse=["tflite"])


def test_float16_is_rounded_once():
    x = spread("float16")
    nodes = [(op, ["x"], {}) for op in ("Relu", "Sigmoid", "LeakyRelu", "HardSigmoid", "Gelu", "Elu")]
    check(graph_model(nodes, {"x": x}), [x], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("slope", [(), (1,), (3, 1, 1), (4,), (2, 3, 4, 4), (1, 3, 1, 1)])
def test_prelu_slopes_of_every_rank(slope):
    rng = np.random.default_rng(0)
    x, s = rng.standard_normal((2, 3, 4, 4)).astype(np.float32), rng.standard_normal(slope).astype(np.float32)
    targets = ["savedmodel", "torch"] if len(slope) == 1 else ["savedmodel", "tflite", "torch"]
    check(node_model("PRelu", [x, s], constants=[1]), [x])
    check(node_model("PRelu", [x, s]), [x, s], targets=targets)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_shrink_of_integers(dtype):
    x = np.arange(0 if dtype == "uint8" else -6, 7).astype(dtype)
    check(node_model("Shrink", [x], {"bias": 1.5, "lambd": 2.0}), [x])
