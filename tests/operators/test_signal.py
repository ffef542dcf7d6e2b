from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.operators.parity import check, node_model
from tests.operators.test_spatial import array

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("inverse", [0, 1])
@pytest.mark.parametrize("length", [None, 5, 11])
def test_dft(parts: int, inverse: int, length: int | None) -> None:
    x = array(random.Random(1), 2, 8, 3, parts)
    inputs: list[Any] = [x, None if length is None else np.array(length, np.int64), np.array(1, np.int64)]
    constants = [2] if length is None else [1, 2]
    check(node_model("DFT", inputs, {"inverse": inverse}, opset=20, constants=constants), [x], **CLOSE)
    attributes = {"inverse": inverse, "axis": 1}
    check(node_model("DFT", inputs[:2], attributes, opset=17, constants=constants[:-1]), [x], **CLOSE)


def test_onesided_dft() -> None:
    x = array(random.Random(1), 2, 8, 1)
    check(node_model("DFT", [x], {"onesided": 1}, opset=20), [x], **CLOSE)


@pytest.mark.parametrize("onesided", [0, 1])
def test_stft(onesided: int) -> None:
    rng = random.Random(2)
    signal, step, window = array(rng, 2, 33, 1), np.array(3, np.int64), np.abs(array(rng, 8))
    model = node_model("STFT", [signal, step, window], {"onesided": onesided}, opset=17, constants=[1, 2])
    check(model, [signal], **CLOSE)


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows(op: str, periodic: int) -> None:
    size = np.array(10, np.int64)
    check(node_model(op, [size], {"periodic": periodic}, opset=17), [size], **CLOSE)
    check(node_model(op, [size], {"periodic": periodic}, opset=17, constants=[0]), [], **CLOSE)


def test_mel_weight_matrix() -> None:
    inputs = [np.array(v, np.int64) for v in (8, 64, 8192)] + [np.array(v, np.float32) for v in (0, 4000)]
    check(node_model("MelWeightMatrix", inputs, opset=17), inputs, **CLOSE)
