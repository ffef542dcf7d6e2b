"""Convolutions with dilation, which TensorFlow writes as blocks of space in the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.convert.tf_reading import check

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def operators(model: Any) -> set[str]:
    return {node.op_type for node in model.graph.all_nodes()}


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("dynamic", [True, False])
def test_a_dilated_convolution_of_images(padding: str, dynamic: bool) -> None:
    kernel = draw(3, 2, 4, 5)
    function = lambda x: tf.nn.convolution(x, kernel, padding=padding, dilations=[2, 3])  # noqa: E731
    others = [[draw(1, 13, 10, 4)]] if dynamic else [[draw(1, 11, 9, 4)]]
    model = check(function, [draw(2, 11, 9, 4)], *others, dynamic={0: [0, 1, 2] if dynamic else [0]})
    assert operators(model) <= {"Conv", "Transpose"}


def test_a_dilated_convolution_by_channel() -> None:
    kernel = draw(3, 3, 4, 2)
    function = lambda x: tf.nn.depthwise_conv2d(x, kernel, [1] * 4, "SAME", dilations=[2, 2])  # noqa: E731
    model = check(function, [draw(2, 9, 8, 4)], [draw(1, 12, 7, 4)], dynamic={0: [0, 1, 2]})
    assert "Pad" not in operators(model)


@pytest.mark.parametrize("dilation", [2, 4])
def test_a_dilated_convolution_of_sequences(dilation: int) -> None:
    kernel = draw(3, 4, 5)
    function = lambda x: tf.nn.convolution(x, kernel, padding="SAME", dilations=[dilation])  # noqa: E731
    model = check(function, [draw(2, 11, 4)], [draw(1, 3, 4)], dynamic={0: [0, 1]})
    assert "Pad" not in operators(model)


def test_blocks_whose_edges_only_run_time_knows() -> None:
    def function(x: Any, rows: Any) -> Any:
        blocks = tf.space_to_batch(x, [2, 2], rows)
        return blocks, tf.batch_to_space(blocks, [2, 2], rows)

    edges = [np.array(rows, np.int32) for rows in ([[1, 2], [0, 1]], [[0, 3], [2, 3]])]
    check(function, [draw(2, 5, 7, 3), edges[0]], [draw(1, 5, 7, 3), edges[1]], dynamic={0: [0], 1: []})


def test_a_convolution_that_is_padded_and_cut_at_run_time() -> None:
    kernel = draw(2, 2, 3, 4)

    def function(x: Any, pad: Any, cut: Any) -> Any:
        made = tf.nn.conv2d(tf.space_to_batch(x, [2, 2], pad), kernel, 1, "VALID")
        return tf.batch_to_space(made, [2, 2], cut)

    pad, cut = np.array([[1, 2], [0, 1]], np.int32), np.array([[1, 0], [2, 1]], np.int32)
    check(function, [draw(2, 5, 7, 3), pad, cut], [draw(1, 5, 7, 3), cut + 1, pad], dynamic={0: [0], 1: [], 2: []})
