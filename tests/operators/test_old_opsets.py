"""Operators as older opsets defined them: sizes in attributes, softmax over all later axes, optional masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.operators.parity import check, node_model

RNG = np.random.default_rng(7)
X = RNG.standard_normal((2, 3, 4, 6)).astype(np.float32)
OTHER = RNG.standard_normal((5, 3, 4, 6)).astype(np.float32)
SCALE, BIAS, MEAN = (RNG.standard_normal(3).astype(np.float32) for _ in range(3))
VARIANCE = RNG.uniform(0.5, 2, 3).astype(np.float32)
SCALES = np.array([1, 1, 2, 3], np.float32)
INDICES = np.array([[0, 2, 1]], np.int64)

ONE_INPUT: list[tuple[int, str, dict[str, Any], int]] = [
    (7, "Softmax", {"axis": 1}, 1),
    (7, "Softmax", {"axis": -2}, 1),
    (11, "Softmax", {"axis": 2}, 1),
    (7, "LogSoftmax", {"axis": 2}, 1),
    (8, "Hardmax", {"axis": 1}, 1),
    (11, "Hardmax", {"axis": 0}, 1),
    (7, "Pad", {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "mode": "reflect"}, 1),
    (10, "Pad", {"pads": [0, 1, 0, 0, 0, 0, 0, 2], "mode": "constant", "value": 1.5}, 1),
    (7, "Pad", {"pads": [0, 0, -1, 1, 0, 0, 1, -2], "mode": "edge"}, 1),
    (7, "Clip", {"min": -0.5, "max": 0.25}, 1),
    (10, "Clip", {"max": 0.0}, 1),
    (9, "Slice", {"starts": [1, -4], "ends": [3, 1000], "axes": [2, 3]}, 1),
    (7, "Slice", {"starts": [0, 1], "ends": [9, 3]}, 1),
    (11, "Unsqueeze", {"axes": [0, 5]}, 1),
    (7, "Unsqueeze", {"axes": [4, 1]}, 1),
    (12, "Split", {"axis": 3, "split": [1, 2, 3]}, 3),
    (7, "Split", {"axis": 2}, 2),
    (7, "TopK", {"axis": 1, "k": 2}, 2),
    (9, "TopK", {"k": 3}, 2),
    (7, "ReduceSum", {"axes": [1, 3], "keepdims": 0}, 1),
    (12, "ReduceSum", {"axes": [-1]}, 1),
    (11, "ReduceMean", {"axes": [2, 3], "keepdims": 0}, 1),
    (17, "ReduceMax", {"axes": [0]}, 1),
    (7, "ReduceLogSumExp", {"axes": [2], "keepdims": 0}, 1),
    (7, "ReduceSumSquare", {}, 1),
    (7, "ArgMax", {"axis": 2, "keepdims": 0}, 1),
    (11, "ArgMin", {"axis": -1}, 1),
    (7, "Upsample", {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 3.0]}, 1),
    (7, "Upsample", {"mode": "linear", "scales": [1.0, 1.0, 2.0, 1.5]}, 1),
    (7, "Dropout", {"ratio": 0.7}, 1),
    (10, "Dropout", {"ratio": 0.7}, 2),
    (11, "Dropout", {}, 2),
    (7, "Flatten", {"axis": 2}, 1),
    (7, "AveragePool", {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 0, 1]}, 1),
    (8, "MaxPool", {"kernel_shape": [3, 2], "strides": [1, 2], "auto_pad": "SAME_UPPER"}, 1),
    (7, "GlobalAveragePool", {}, 1),
    (9, "LpNormalization", {"axis": 1, "p": 1}, 1),
    (9, "MeanVarianceNormalization", {"axes": [0, 2, 3]}, 1),
    (7, "Cast", {"to": TensorProto.INT32}, 1),
    (9, "Shape", {}, 1),
    (7, "LRN", {"size": 3, "alpha": 0.01}, 1),
    (7, "SpaceToDepth", {"blocksize": 2}, 1),
]
MORE_INPUTS: list[tuple[int, str, dict[str, Any], list[np.ndarray]]] = [
    (9, "Upsample", {"mode": "nearest"}, [SCALES]),
    (9, "Upsample", {"mode": "linear"}, [SCALES]),
    (10, "Resize", {"mode": "nearest"}, [np.array([1, 1, 0.5, 2], np.float32)]),
    (10, "Resize", {"mode": "linear"}, [np.array([1, 1, 1.5, 0.5], np.float32)]),
    (7, "BatchNormalization", {"epsilon": 1e-3}, [SCALE, BIAS, MEAN, VARIANCE]),
    (9, "BatchNormalization", {"momentum": 0.3}, [SCALE, BIAS, MEAN, VARIANCE]),
    (7, "InstanceNormalization", {}, [SCALE, BIAS]),
    (7, "PRelu", {}, [SCALE.reshape(3, 1, 1)]),
    (7, "Add", {}, [BIAS.reshape(3, 1, 1)]),
    (7, "Pow", {}, [np.float32(2)]),
    (10, "Slice", {}, [np.array([3, 1], np.int64), np.array([0, 6], np.int64), np.array([2, 3], np.int64)]),
    (10, "TopK", {"axis": 2}, [np.array([2], np.int64)]),
    (8, "Gather", {"axis": 1}, [INDICES]),
    (8, "Expand", {}, [np.array([2, 3, 4, 6], np.int64)]),
    (7, "Reshape", {}, [np.array([0, 3, -1], np.int64)]),
    (7, "Tile", {}, [np.array([1, 2, 1, 3], np.int64)]),
]


def older(opset: int, op: str, inputs: list[np.ndarray], attributes: dict[str, Any], outputs: int = 1) -> Any:
    model = node_model(op, inputs, attributes, opset=opset, outputs=outputs, constants=range(1, len(inputs)))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["batch", 3, 4, 6]))
    return model


@pytest.mark.parametrize(
    ("opset", "op", "attributes", "outputs"),
    ONE_INPUT,
    ids=[f"{op}-{opset}-{i}" for i, (opset, op, *_) in enumerate(ONE_INPUT)],
)
def test_one_input(opset: int, op: str, attributes: dict[str, Any], outputs: int) -> None:
    check(older(opset, op, [X], attributes, outputs), [X], [OTHER])


def test_weights_that_are_listed_as_inputs() -> None:
    weights = RNG.standard_normal((6, 5)).astype(np.float32)
    model = older(9, "MatMul", [X, weights], {})
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("x1", TensorProto.FLOAT, weights.shape))
    assert [i.name for i in model.graph.input] == ["x0", "x1"]
    check(model, [X], [OTHER])


@pytest.mark.parametrize("opset", [9, 18])
@pytest.mark.parametrize(("start", "end"), [(3, 0), (0, 0), (1, 1), (4, 2)])
def test_slices_of_nothing(opset: int, start: int, end: int) -> None:
    bounds = {"starts": [start], "ends": [end], "axes": [3]}
    inputs = [] if opset < 10 else [np.array(v, np.int64) for v in bounds.values()]
    joined = older(opset, "Slice", [X, *inputs], bounds if opset < 10 else {})
    joined.graph.node[0].output[0] = "part"
    joined.graph.node.append(helper.make_node("Concat", ["part", "x0"], ["y0"], axis=3))
    check(joined, [X], [OTHER])


@pytest.mark.parametrize(
    ("opset", "op", "attributes", "inputs"),
    MORE_INPUTS,
    ids=[f"{op}-{opset}-{i}" for i, (opset, op, *_) in enumerate(MORE_INPUTS)],
)
def test_more_inputs(opset: int, op: str, attributes: dict[str, Any], inputs: list[np.ndarray]) -> None:
    check(older(opset, op, [X, *inputs], attributes, 2 if op == "TopK" else 1), [X])
