"""Lists of tensors that loops of TensorFlow fill, in whatever order they do it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.convert.tf_reading import check, read
from xport.errors import UnsupportedError

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def graph(function: Any) -> Any:
    return tf.autograph.experimental.do_not_convert(function)


def forward(x: Any) -> Any:
    count = tf.shape(x)[0]

    def step(i: Any, h: Any, made: Any) -> Any:
        h = tf.tanh(x[i] + h)
        return i + 1, h, made.write(i, h)

    start = (0, tf.zeros([tf.shape(x)[1], 4]), tf.TensorArray(tf.float32, count))
    return tf.while_loop(lambda i, *_: i < count, step, start)[2].stack()


def backward(x: Any) -> Any:
    count = tf.shape(x)[0]

    def step(i: Any, h: Any, made: Any) -> Any:
        h = tf.tanh(x[i] + h)
        return i - 1, h, made.write(i, h)

    start = (count - 1, tf.zeros([tf.shape(x)[1], 4]), tf.TensorArray(tf.float32, count))
    return tf.while_loop(lambda i, *_: i >= 0, step, start)[2].stack()


def every_other(x: Any) -> Any:
    count = tf.shape(x)[0]

    def step(i: Any, made: Any) -> Any:
        return i + 2, made.write(i, x[i] * 2)

    start = (0, tf.TensorArray(tf.float32, count, element_shape=[2, 4]))
    return tf.while_loop(lambda i, _: i < count, step, start)[1].stack()


def ends_early(x: Any) -> Any:
    count = tf.shape(x)[0]

    def step(i: Any, total: Any, made: Any) -> Any:
        return i + 1, total + tf.reduce_sum(x[i] ** 2), made.write(i, x[i] + total)

    def goes(i: Any, total: Any, _: Any) -> Any:
        return (i < count) & (total < 12.0)

    start = (0, 0.0, tf.TensorArray(tf.float32, count, element_shape=[2, 4]))
    return tf.while_loop(goes, step, start)[2].stack()


def grows(x: Any) -> Any:
    def step(i: Any, total: Any, made: Any) -> Any:
        return i + 1, total + tf.reduce_sum(x[i] ** 2), made.write(i, x[i])

    def goes(i: Any, total: Any, _: Any) -> Any:
        return (i < tf.shape(x)[0]) & (total < 12.0)

    return tf.while_loop(goes, step, (0, 0.0, tf.TensorArray(tf.float32, 0, dynamic_size=True)))[2].stack()


def reads_back(x: Any) -> Any:
    """A list that is written and read in each turn."""
    count = tf.shape(x)[0]

    def step(i: Any, made: Any) -> Any:
        return i + 1, made.write(i, made.read(i - 1) * 0.5 + x[i])

    first = tf.TensorArray(tf.float32, count, clear_after_read=False).write(0, x[0])
    return tf.while_loop(lambda i, _: i < count, step, (1, first))[1].stack()


def in_a_branch(x: Any) -> Any:
    count = tf.shape(x)[0]

    def step(i: Any, made: Any) -> Any:
        made = tf.cond(tf.reduce_sum(x[i]) > 0, lambda: made.write(i, x[i]), lambda: made.write(i, -x[i]))
        return i + 1, made

    first = tf.TensorArray(tf.float32, count).unstack(x * 0)
    return tf.while_loop(lambda i, _: i < count, step, (0, first))[1].stack()


LOOPS = (forward, backward, every_other, ends_early, grows, reads_back, in_a_branch)


@pytest.mark.parametrize("function", LOOPS, ids=lambda f: f.__name__)
def test_a_loop_fills_a_list(function: Any) -> None:
    check(function, [draw(5, 2, 4)], [draw(1, 2, 4)], [draw(8, 2, 4)])


def test_a_list_is_written_outside_of_loops() -> None:
    def function(x: Any) -> Any:
        made = tf.TensorArray(tf.float32, 3)
        made = made.write(2, x * 2).write(0, x).write(1, x - 1)
        return made.stack(), made.gather([2, 0])

    check(function, [draw(4)], [draw(7)])


def test_a_scan_without_a_beginning() -> None:
    def function(x: Any) -> Any:
        return tf.scan(lambda a, b: a * 0.9 + b, x), tf.scan(lambda a, b: a + b, x, tf.zeros([3]), reverse=True)

    check(function, [draw(4, 3)], [draw(9, 3)])


def test_a_range_that_autograph_counts() -> None:
    @tf.autograph.experimental.do_not_convert
    def call(x: Any) -> Any:
        return converted(x)

    def function(x: Any) -> Any:
        made = tf.TensorArray(tf.float32, size=tf.shape(x)[0])
        h = tf.zeros([4])
        for i in tf.range(tf.shape(x)[0]):
            h = tf.tanh(x[i] + h)
            made = made.write(i, h)
        return made.stack()

    converted = tf.autograph.to_graph(function)
    model = check(call, [draw(5, 4)], [draw(2, 4)])
    assert "ScatterND" not in {node.op_type for node in model.graph.all_nodes()}


def test_a_list_of_unknown_elements_is_refused() -> None:
    def function(x: Any) -> Any:
        return tf.raw_ops.TensorListStack(
            input_handle=tf.raw_ops.TensorListReserve(
                element_shape=tf.constant([-1]), num_elements=3, element_dtype=tf.float32
            ),
            element_shape=tf.shape(x),
            element_dtype=tf.float32,
        )

    with pytest.raises(UnsupportedError, match=r"TensorListStack \(.*\): a list is read before it is filled"):
        read(function, [draw(4)])
