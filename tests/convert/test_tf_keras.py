"""Keras models: layers that tell Keras something else than they give, and files that cannot be converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers, ops

from tests.convert.tf_reading import check, read
from xport.convert import keras_loading, keras_to_savedmodel
from xport.convert.savedmodel_to_onnx import read as read_savedmodel
from xport.convert.source import open_source
from xport.errors import UnsupportedError, UsageError


def saved(model: Any, path: Path) -> Any:
    model.save(path)
    return open_source(path)


def run(source: Any, folder: Path, feeds: dict[str, np.ndarray]) -> list[Any]:
    signature = keras_loading.read_signature(source)
    keras_to_savedmodel.convert(source, folder, signature, {})
    model = ir.to_proto(read_savedmodel(folder, signature))
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)


def test_a_layer_that_gives_text(tmp_path: Path) -> None:
    x = keras.Input((4,), name="x")
    found = layers.StringLookup(vocabulary=["cat", "dog"], invert=True)(ops.argmax(x, -1))
    source = saved(keras.Model(x, found), tmp_path / "model.keras")
    (output,) = keras_loading.read_signature(source).outputs
    assert (output.dtype, output.shape) == ("string", ("batch",))
    feeds = {"x": np.array([[0, 3, 1, 1], [0, 0, 9, 1], [2, 2, 1, 0]], np.float32)}
    assert run(source, tmp_path / "saved", feeds)[0].tolist() == ["cat", "dog", "[UNK]"]


def test_a_layer_that_gives_another_size_than_it_says(tmp_path: Path) -> None:
    """Whatever Keras says, the interface is what the model gives."""
    x = keras.Input((10, 10, 1), name="x")
    model = keras.Model(x, layers.Flatten()(layers.RandomCrop(6, 8)(x)))
    feeds = np.random.default_rng(0).random((3, 10, 10, 1), np.float32)
    want = np.asarray(model(feeds, training=False))
    source = saved(model, tmp_path / "model.keras")
    assert keras_loading.read_signature(source).outputs[0].shape == ("batch", want.shape[1])
    np.testing.assert_allclose(run(source, tmp_path / "saved", {"x": feeds})[0], want, rtol=1e-5)


def test_a_layer_with_a_state_is_refused_by_name(tmp_path: Path) -> None:
    x = keras.Input(batch_shape=(2, 5, 3), name="x")
    source = saved(keras.Model(x, layers.LSTM(4, stateful=True, name="memory")(x)), tmp_path / "model.keras")
    with pytest.raises(UnsupportedError, match=r"state between calls, in memory \(stateful=True\)") as caught:
        run(source, tmp_path / "saved", {})
    assert "stateful=False" in caught.value.fix


class Own(keras.Model):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.dense = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.dense(x)


def test_a_class_of_ones_own_is_refused_with_a_way_out(tmp_path: Path) -> None:
    model = Own()
    model(np.zeros((1, 3), np.float32))
    path = tmp_path / "model.keras"
    model.save(path)
    with keras.saving.custom_object_scope({"Own": Own}), pytest.raises(UsageError, match="of the class Own") as caught:
        keras_loading.load(open_source(path, trust_pickle=True))
    assert "model.export(" in caught.value.fix


def test_the_largest_of_signed_zeros() -> None:
    x = np.array([[-0.0, 0.0, -1.0], [0.0, -0.0, -2.0], [3.0, 1.0, 3.0], [-0.0, -0.0, -np.inf]], np.float32)
    check(lambda x: (ops.argmax(x, -1), ops.argmin(x, -1), ops.signbit(x)), [x], [x[:2]])


def test_other_bits_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"Bitcast \(.*\): the bits of a number"):
        read(lambda x: tf.bitcast(x, tf.int32) + 1, [np.ones((2, 3), np.float32)])
