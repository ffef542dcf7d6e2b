"""Functions of float64 that ONNX Runtime has no kernels for."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.convert.tf_reading import check, read

WIDE = np.concatenate([np.linspace(-6, 6, 61), [0.0, 1e-9, -1e-9, 1e-20, 30.0, -30.0]])
CASES = {
    "asinh": (tf.asinh, WIDE),
    "atanh": (tf.atanh, WIDE / 31),
    "cosh": (tf.cosh, WIDE),
    "elu": (tf.nn.elu, WIDE),
    "leaky_relu": (lambda x: tf.nn.leaky_relu(x, 0.3), WIDE),
    "log1p": (tf.math.log1p, np.abs(WIDE)),
    "sinh": (tf.sinh, WIDE),
    "softplus": (tf.nn.softplus, WIDE),
    "softsign": (tf.nn.softsign, WIDE),
    "tan": (tf.tan, WIDE / 4),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_of_float64(name: str) -> None:
    function, x = CASES[name]
    check(function, [x], [x[::3]], scale=30)


def test_near_zero_nothing_is_lost() -> None:
    """Relative to each number, not to the largest; numpy's are exact, TensorFlow's not all."""
    x = np.array([1e-12, -3e-9, 2e-6, -1e-4])
    for ours, exact in ((tf.math.log1p, np.log1p), (tf.asinh, np.arcsinh), (tf.atanh, np.arctanh), (tf.sinh, np.sinh)):
        _, (_, run) = read(ours, [x])
        np.testing.assert_allclose(run([x])[0], exact(x), rtol=1e-13)
