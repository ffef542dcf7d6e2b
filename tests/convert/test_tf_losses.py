"""TensorFlow's losses, counts and products of other kinds, read into ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.convert.tf_reading import check

RAW = tf.raw_ops


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def labels(x: Any) -> Any:
    return tf.cast(tf.abs(x[:, 0]) * 2, tf.int32) % 4


def sparse(x: Any) -> Any:
    return tf.SparseTensor([[0, 1], [2, 3], [2, 0]], x[0, :3], [3, 4])


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "entropy": lambda x: list(RAW.SoftmaxCrossEntropyWithLogits(features=x, labels=tf.nn.softmax(-x))),
    "of classes": lambda x: list(RAW.SparseSoftmaxCrossEntropyWithLogits(features=x, labels=labels(x))),
    "best": lambda x: RAW.InTopKV2(predictions=x, targets=labels(x), k=2),
    "best and none": lambda x: tf.math.in_top_k(labels(x) - 1, tf.where(x > 1.5, np.inf, x), 3),
    "determinant": lambda x: tf.linalg.det(x[:, :3, None] * x[:, None, :3] + tf.eye(3)),
    "histogram": lambda x: tf.histogram_fixed_width(x, [-1.0, 1.5], 7),
    "sparse product": lambda x: tf.sparse.sparse_dense_matmul(sparse(x), tf.transpose(x)),
    "sparse product turned": lambda x: tf.sparse.sparse_dense_matmul(sparse(x), x[:3], adjoint_a=True),
    "sparse product of turned": lambda x: tf.sparse.sparse_dense_matmul(sparse(x), x, adjoint_b=True),
    "unique": lambda x: list(tf.unique_with_counts(labels(x))),
    "bytes": lambda x: RAW.BatchMatMulV3(
        x=tf.cast(x * 20, tf.int8), y=tf.cast(x * 20, tf.int8), Tout=tf.int32, adj_y=True
    ),
    "rolled": lambda x: tf.roll(x, tf.shape(x)[0] // 2, 0) + tf.roll(x, [-3, 2], [0, 1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    check(FUNCTIONS[name], [numbers(6, 4)], [numbers(3, 4, seed=1)], scale=4)


def test_a_branch_that_gives_what_an_outer_branch_gives() -> None:
    def run(x: Any) -> Any:
        def inner(y: Any) -> Any:
            return tf.cond(tf.reduce_max(y) > 1, lambda: y * 2, lambda: tf.identity(y))

        def outer() -> Any:
            y = x + 1
            return inner(y), y, y

        return list(tf.cond(tf.reduce_sum(x) > 0, outer, lambda: (x, x, -x)))

    x = numbers(3, 2)
    check(run, [np.abs(x)], [-np.abs(x)], [np.abs(x) / 100])


def test_padded_suppression_of_boxes_with_any_corners() -> None:
    def run(boxes: Any, scores: Any) -> Any:
        return list(tf.image.non_max_suppression_padded(boxes, scores, 5, 0.4, 0.1, pad_to_max_output_size=True))

    corners = np.sort(np.random.default_rng(0).random((20, 2, 2)).astype(np.float32), 1).reshape(20, 4)
    check(run, [corners, np.linspace(0, 1, 20, dtype=np.float32)])
