"""TensorFlow's rounding to grids, read into ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.convert.tf_reading import check

Q = tf.quantization


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 3).astype(np.float32)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("bounds", [(-1.0, 3.0), (0.0, 6.0), (-6.0, 0.0)])
def test_a_range(narrow: bool, bits: int, bounds: tuple[float, float]) -> None:
    def run(x: Any) -> Any:
        found = Q.fake_quant_with_min_max_vars(x, *bounds, bits, narrow)
        return found, Q.fake_quant_with_min_max_args(x, *bounds, bits, narrow)

    check(run, [numbers(5, 4)], [numbers(9, 4, seed=1)])


@pytest.mark.parametrize("narrow", [False, True])
def test_a_range_of_run_time(narrow: bool) -> None:
    def run(x: Any) -> Any:
        low, high = tf.reduce_min(x, 0), tf.reduce_max(x, 0)
        return Q.fake_quant_with_min_max_vars_per_channel(x, low, high, narrow_range=narrow)

    check(run, [numbers(5, 4)], [numbers(9, 4, seed=1)])


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_range_for_each_channel(narrow: bool, bits: int) -> None:
    def run(x: Any) -> Any:
        low, high = [-1.0, 0.0, -6.0, 0.0], [1.0, 3.0, 0.0, 0.0]
        whole = Q.fake_quant_with_min_max_vars_per_channel(x, low, high, bits, narrow)
        return whole, Q.fake_quant_with_min_max_vars_per_channel(x[..., :3], low[:3], high[:3], bits, narrow)

    check(run, [numbers(2, 3, 5, 4)])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("mode", ["HALF_TO_EVEN", "HALF_UP"])
def test_there_and_back(signed: bool, narrow: bool, mode: str) -> None:
    def run(x: Any) -> Any:
        given: dict[str, Any] = {"signed_input": signed, "round_mode": mode, "narrow_range": narrow}
        return [
            Q.quantize_and_dequantize_v2(x, -1.0, 2.0, num_bits=bits, range_given=fixed, **given)
            for bits, fixed in ((8, True), (5, True), (8, False))
        ]

    x = numbers(5, 4) if signed else np.abs(numbers(5, 4))
    check(run, [x], [x[:2]])
