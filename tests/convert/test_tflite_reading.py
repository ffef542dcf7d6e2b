"""TFLite files that others made, read into ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from xport.convert.tflite_signature import read_signature
from xport.convert.tflite_to_onnx import read
from xport.errors import UnsupportedError

RNG = np.random.default_rng(0)
TRANSPOSED = RNG.standard_normal((3, 3, 3, 2, 1)).astype(np.float32)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def both(path: Path, feeds: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What LiteRT and ONNX Runtime give."""
    session = onnxruntime.InferenceSession(ir.to_proto(read(path, read_signature(path))).SerializeToString())
    have = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
    return Interpreter(str(path)).get_signature_runner()(**feeds), have


def written(path: Path, function: Callable[..., Any], feeds: Sequence[np.ndarray]) -> Path:
    specs = [tf.TensorSpec(x.shape, x.dtype, name=f"x{i}") for i, x in enumerate(feeds)]
    module = tf.Module()  # without one the file gets no signature
    module.run = tf.function(lambda *a: {"y": function(*a)}, input_signature=specs, autograph=False)
    concrete = module.run.get_concrete_function()
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert())
    return path


ROWS = np.array([0, 2, 2, 1], np.int32)
CASES: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "spectrum": (lambda x: tf.abs(tf.signal.rfft(x, [64])), [draw(2, 60)]),
    "spectrum_of_images": (lambda x: tf.math.imag(tf.signal.rfft2d(x)), [draw(2, 8, 16)]),
    "transposed_conv3d": (
        lambda x: tf.nn.conv3d_transpose(x, TRANSPOSED, [2, 8, 8, 8, 2], 2),
        [draw(2, 4, 4, 4, 1)],
    ),
    "segment_sum": (lambda x, i: tf.math.unsorted_segment_sum(x, i, 4), [draw(4, 3), ROWS]),
    "segment_max": (lambda x, i: tf.math.unsorted_segment_max(x, i, 3), [draw(4, 3), ROWS]),
    "diagonal": (lambda x: tf.linalg.diag(x), [draw(2, 3)]),
    "new_diagonal": (lambda x, d: tf.linalg.set_diag(x, d), [draw(2, 3, 3), draw(2, 3)]),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operator(name: str, tmp_path: Path) -> None:
    function, feeds = CASES[name]
    path = written(tmp_path / "model.tflite", function, feeds)
    want, have = both(path, {f"x{i}": x for i, x in enumerate(feeds)})
    np.testing.assert_allclose(have["y"], want["y"], rtol=1e-5, atol=1e-5)


def test_activations_of_int16(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3), name="x")
    y = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = layers.Dense(5, name="y")(layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3, strides=2)(y)))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(x, y))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([draw(1, 8, 8, 3)] for _ in range(8))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    path = tmp_path / "model.tflite"
    path.write_bytes(converter.convert())
    for batch in (1, 3):
        want, have = both(path, {"x": draw(batch, 8, 8, 3)})
        (name,) = want
        # A step of the grid is 1/32767 of the range; each layer may round to the neighbour.
        np.testing.assert_allclose(have[name], want[name], atol=4 * float(np.abs(want[name]).max()) / 32767)


def test_random_numbers_are_refused_with_a_way_out(tmp_path: Path) -> None:
    path = written(tmp_path / "model.tflite", lambda x: x + tf.random.normal([2, 3]), [draw(2, 3)])
    with pytest.raises(UnsupportedError, match="RANDOM_STANDARD_NORMAL: ") as caught:
        read(path, read_signature(path))
    assert "give the model them as an input" in caught.value.fix
