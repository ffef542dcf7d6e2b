"""SavedModel, Keras and TFLite as sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xport


def savedmodel(folder: Path, *, signatures: bool = True) -> Path:
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(tf.random.stateless_normal([3, 3, 2, 4], seed=[1, 2]))

        @tf.function(
            input_signature=[tf.TensorSpec([None, 8, 8, 2], name="image"), tf.TensorSpec([None, 4], name="bias")]
        )
        def __call__(self, image, bias):
            y = tf.nn.relu(tf.nn.conv2d(image, self.w, 2, "SAME"))
            return {"features": y, "scores": tf.nn.softmax(tf.reduce_mean(y, [1, 2]) + bias)}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.__call__} if signatures else {})
    return folder


def check(source: Path, target: str, output: Path, inputs: dict[str, np.ndarray]) -> None:
    artifact = xport.convert(source, to=target, output=output)
    assert artifact.proof is not None
    assert artifact.proof.verified
    with xport.load(source) as want, xport.load(output) as have:
        expected, found = want(inputs), have(inputs)
    assert sorted(expected) == sorted(found)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", ["onnx", "exported", "tflite"])
def test_a_savedmodel_converts_to(target: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.standard_normal((5, 8, 8, 2), dtype=np.float32),
        "bias": rng.standard_normal((5, 4), dtype=np.float32),
    }
    check(savedmodel(tmp_path / "model"), target, tmp_path / "result", inputs)


def test_a_tflite_file_converts_back(tmp_path: Path) -> None:
    lite = tmp_path / "model.tflite"
    xport.convert("zoo:digits_cnn@small", to="tflite", output=lite)
    image = np.random.default_rng(0).standard_normal((5, 1, 8, 8), dtype=np.float32)
    check(lite, "onnx", tmp_path / "back.onnx", {"image": image})


def test_a_keras_file_converts(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((6,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(3, activation="tanh", name="y")(inputs))
    path = tmp_path / "model.keras"
    model.save(path)
    x = np.random.default_rng(0).standard_normal((5, 6), dtype=np.float32)
    check(path, "onnx", tmp_path / "model.onnx", {"x": x})


def test_a_savedmodel_without_signatures_is_refused(tmp_path: Path) -> None:
    folder = savedmodel(tmp_path / "model", signatures=False)
    with pytest.raises(xport.UsageError) as caught:
        xport.convert(folder, to="onnx", output=tmp_path / "m.onnx")
    assert caught.value.fix
    assert not (tmp_path / "m.onnx").exists()


def test_a_broken_tflite_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(range(200)))
    with pytest.raises(xport.UsageError) as caught:
        xport.convert(path, to="onnx", output=tmp_path / "m.onnx")
    assert caught.value.exit_code == 2
