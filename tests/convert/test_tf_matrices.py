"""TensorFlow's diagonals, running products and products of three, read into ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.convert.tf_reading import check

RAW = tf.raw_ops
ALIGN = ("LEFT_RIGHT", "RIGHT_LEFT", "LEFT_LEFT", "RIGHT_RIGHT")


def numbers(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 3).astype(dtype)


@pytest.mark.parametrize("align", ALIGN)
@pytest.mark.parametrize(("k", "shape"), [((-1, 2), (4, 5)), ((0, 1), (3, 3)), ((-3, -1), (5, 4)), ((1, 3), (4, 6))])
def test_bands_there_and_back(align: str, k: tuple[int, int], shape: tuple[int, int]) -> None:
    def run(x: Any) -> Any:
        part = tf.linalg.diag_part(x, k=k, padding_value=9.0, align=align)
        back = tf.linalg.diag(part, k=k, num_rows=shape[0], num_cols=shape[1], padding_value=7.0, align=align)
        return part, back

    def put(x: Any) -> Any:  # TensorFlow infers wrong ranks where the batch is open
        return tf.linalg.set_diag(x, tf.linalg.diag_part(x, k=k, align=align) * 2, k=k, align=align)

    check(run, [numbers(2, *shape)], [numbers(5, *shape)])
    check(put, [numbers(2, *shape)], dynamic={})


@pytest.mark.parametrize("k", [0, 2, -3])
def test_one_diagonal_of_any_size(k: int) -> None:
    def run(x: Any) -> Any:
        return tf.linalg.diag(x, k=k), tf.linalg.diag_part(x[:, :, None] * x[:, None], k=k)

    dynamic = {0: [0, 1]}
    check(run, [numbers(2, 5)], [numbers(3, 7)], dynamic=dynamic)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "int64", "bool"])
def test_diagonals_of_every_dtype(dtype: str) -> None:
    def run(x: Any) -> Any:
        return tf.linalg.diag(x), tf.linalg.set_diag(tf.linalg.diag(x), x)

    check(run, [numbers(2, 4).astype(dtype)])


OLD: list[Callable[[Any], Any]] = [
    lambda x: RAW.MatrixDiag(diagonal=x),
    lambda x: RAW.MatrixDiagPart(input=x),
    lambda x: RAW.MatrixSetDiag(input=x, diagonal=x[0]),
    lambda x: RAW.MatrixDiagV2(diagonal=x, k=1, num_rows=-1, num_cols=-1, padding_value=4.0),
    lambda x: RAW.MatrixDiagPartV2(input=x, k=(-1, 1), padding_value=4.0),
    lambda x: RAW.MatrixSetDiagV2(input=x, diagonal=x[0, :2], k=1),
]


@pytest.mark.parametrize("function", OLD)
def test_older_forms(function: Callable[[Any], Any]) -> None:
    check(function, [numbers(3, 3)], dynamic={})


@pytest.mark.parametrize("dynamic", [{}, {0: [0, 1]}])
def test_diagonals_of_tensors(dynamic: dict[int, list[int]]) -> None:
    def run(x: Any) -> Any:
        whole = tf.linalg.tensor_diag(x)
        return whole, tf.linalg.tensor_diag_part(whole)

    check(run, [numbers(2, 3)], dynamic=dynamic)


def test_cross_product() -> None:
    check(tf.linalg.cross, [numbers(2, 5, 3), numbers(2, 5, 3, seed=1)])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_running_product(dtype: str, exclusive: bool, reverse: bool, axis: int) -> None:
    def run(x: Any) -> Any:
        return tf.math.cumprod(x, axis, exclusive, reverse)

    x = numbers(4, 7, dtype=dtype)
    x[1, 2] = 0
    check(run, [x], [x[:3]])
