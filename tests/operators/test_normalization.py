from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.operators.parity import check, node_model
from tests.operators.test_spatial import array

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def statistics(rng: random.Random, channels: int) -> list[np.ndarray]:
    return [*(array(rng, channels) for _ in range(3)), np.abs(array(rng, channels)) + np.float32(0.1)]


@pytest.mark.parametrize("constants", [[], [1, 2, 3, 4]])
@pytest.mark.parametrize("sizes", [(2, 3), (2, 3, 3), (3, 3, 3, 3), (1, 1, 2, 1, 3)])
def test_batch_normalization(sizes: tuple[int, ...], constants: list[int]) -> None:
    rng = random.Random(1)
    inputs = [array(rng, *sizes), *statistics(rng, sizes[1])]
    model = node_model("BatchNormalization", inputs, {"epsilon": 1e-3}, opset=15, constants=constants)
    check(model, [x for i, x in enumerate(inputs) if i not in constants], **CLOSE)


@pytest.mark.parametrize("sizes", [(1, 4, 5), (2, 4, 4, 4), (2, 4, 2, 3, 1)])
def test_instance_and_group_normalization(sizes: tuple[int, ...]) -> None:
    rng = random.Random(2)
    inputs = [array(rng, *sizes), array(rng, 4), array(rng, 4)]
    check(node_model("InstanceNormalization", inputs, opset=13, constants=[1, 2]), inputs[:1], **CLOSE)
    check(node_model("GroupNormalization", inputs, {"num_groups": 2}, opset=21, constants=[1, 2]), inputs[:1], **CLOSE)
    parts = [array(rng, 2), array(rng, 2)]
    model = node_model("GroupNormalization", [inputs[0], *parts], {"num_groups": 2}, opset=18, constants=[1, 2])
    check(model, inputs[:1], **CLOSE)


@pytest.mark.parametrize("axis", [-1, 1, -2])
@pytest.mark.parametrize("outputs", [1, 3])
def test_layer_normalization(axis: int, outputs: int) -> None:
    rng = random.Random(3)
    x = array(rng, 3, 4, 4)
    trailing = x.shape[axis:]
    inputs = [x, array(rng, *trailing), array(rng, *trailing)]
    check(node_model("LayerNormalization", inputs, {"axis": axis}, opset=17, outputs=outputs), inputs, **CLOSE)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LpNormalization", {"axis": 1, "p": 1}),
        ("LpNormalization", {"axis": -1, "p": 2}),
        ("MeanVarianceNormalization", {}),
        ("MeanVarianceNormalization", {"axes": [1, -1]}),
        ("LRN", {"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 2.0}),
        ("LRN", {"size": 5}),
    ],
)
def test_other_normalizations(op: str, attributes: dict[str, Any]) -> None:
    rng = random.Random(4)
    first, second = array(rng, 1, 4, 4, 4), array(rng, 2, 4, 3, 5)
    first[0, :, 0, 0] = 0
    check(node_model(op, [first], attributes, opset=13, symbolic=True), [first], [second], **CLOSE)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(("opset", "axis"), [(11, 1), (11, 2), (9, 0), (13, 1), (13, -1)])
def test_softmax(op: str, opset: int, axis: int) -> None:
    x = array(random.Random(5), 2, 3, 4, 4)
    x[0, 1] = x[0, 0]
    check(node_model(op, [x], {"axis": axis}, opset=opset), [x], **CLOSE)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [None, -1])
def test_losses(reduction: str, weighted: bool, ignore: int | None) -> None:
    rng = random.Random(6)
    scores, weight = array(rng, 3, 4, 2), np.abs(array(rng, 4))
    target = np.array([[0, 3], [1, 2], [2, 0]], np.int64)
    attributes: dict[str, Any] = {"reduction": reduction}
    if ignore is not None:
        attributes["ignore_index"] = ignore
        target[0, 1] = ignore
    inputs = [scores, target, *([weight] if weighted else [])]
    check(node_model("NegativeLogLikelihoodLoss", inputs, attributes, opset=13), inputs, **CLOSE)
    check(node_model("SoftmaxCrossEntropyLoss", inputs, attributes, opset=13, outputs=2), inputs, **CLOSE)
