"""Recurrent layers of Keras become ONNX's; what only looks like one stays a loop."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.convert.tf_reading import check

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def settled(layer: Any) -> Any:
    """A layer with weights of some size, its bias included."""
    keras.utils.set_random_seed(0)
    layer.build((None, None, 3))
    for weight in layer.trainable_weights:
        weight.assign(0.5 * np.random.default_rng(1).standard_normal(weight.shape))
    return layer


def kinds(layer: Any) -> list[str]:
    model = check(lambda x: layer(x), [draw(2, 5, 3)], [draw(4, 1, 3)], [draw(1, 9, 3)], dynamic={0: [0, 1]}, scale=3)
    return sorted(n.op_type for n in model.graph.all_nodes() if n.op_type in ("LSTM", "GRU", "RNN", "Loop"))


SAME: dict[str, tuple[Any, list[str]]] = {
    "lstm": (layers.LSTM(4), ["LSTM"]),
    "lstm_sequences": (layers.LSTM(4, return_sequences=True, return_state=True, unit_forget_bias=False), ["LSTM"]),
    "lstm_without_bias": (layers.LSTM(3, use_bias=False, go_backwards=True), ["LSTM"]),
    "gru": (layers.GRU(4, return_sequences=True), ["GRU"]),
    "gru_resets_before": (layers.GRU(4, reset_after=False), ["GRU"]),
    "gru_without_bias": (layers.GRU(3, reset_after=False, use_bias=False), ["GRU"]),
    "rnn": (layers.SimpleRNN(4, return_state=True), ["RNN"]),
    "rnn_relu": (layers.SimpleRNN(3, activation="relu", use_bias=False), ["RNN"]),
    "both_ways": (layers.Bidirectional(layers.GRU(4, return_sequences=True)), ["GRU", "GRU"]),
    "other_gates": (layers.LSTM(4, recurrent_activation="hard_sigmoid"), ["Loop"]),
    "other_activation": (layers.GRU(4, activation="softsign"), ["Loop"]),
    "cells": (layers.RNN([layers.LSTMCell(4), layers.GRUCell(2)]), ["Loop"]),
}


@pytest.mark.parametrize("name", SAME)
def test_a_recurrent_layer(name: str) -> None:
    layer, wanted = SAME[name]
    assert kinds(settled(layer)) == wanted


def test_a_layer_that_begins_where_another_ended() -> None:
    first, second = (settled(layers.LSTM(3, return_state=True)) for _ in range(2))

    def function(x: Any, y: Any) -> Any:
        return second(y, initial_state=first(x)[1:])

    model = check(
        function, [draw(2, 5, 3), draw(2, 4, 3)], [draw(3, 2, 3), draw(3, 7, 3)], dynamic={0: [0, 1], 1: [0, 1]}
    )
    assert [n.op_type for n in model.graph].count("LSTM") == 2


def test_a_masked_layer_stays_a_loop() -> None:
    layer, masking = settled(layers.LSTM(4)), layers.Masking(-1.0)
    x = draw(3, 5, 3)
    x[0, 1], x[1, 3:] = -1, -1
    model = check(lambda x: layer(masking(x)), [x], [x[:2]])
    assert "Loop" in {n.op_type for n in model.graph.all_nodes()}


def test_a_cell_with_another_factor_stays_a_loop() -> None:
    """As an LSTM in all but one place: what is forgotten is half of it."""
    w, r = draw(3, 16), draw(4, 16)

    def step(states: Any, x: Any) -> Any:
        i, f, g, o = tf.split(x @ w + states[0] @ r, 4, axis=1)
        c = 0.5 * tf.sigmoid(f) * states[1] + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    def function(x: Any) -> Any:
        start = tf.zeros([tf.shape(x)[1], 4])
        return tf.scan(step, x, (start, start))[0]

    model = check(function, [draw(5, 2, 3)], [draw(2, 2, 3)], dynamic={0: [0]})
    assert "LSTM" not in {n.op_type for n in model.graph.all_nodes()}
