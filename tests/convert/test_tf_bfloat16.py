"""Models that compute in bfloat16, for which ONNX Runtime's CPU has hardly a kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import tensorflow as tf

from xport.convert.savedmodel_signature import read_signature
from xport.convert.savedmodel_to_onnx import read

KERNEL = np.random.default_rng(0).standard_normal((3, 3, 3, 4)).astype(np.float32)


def run(x: Any) -> Any:
    narrow = tf.cast(x, tf.bfloat16)
    image = tf.nn.relu(tf.nn.conv2d(narrow, tf.cast(KERNEL, tf.bfloat16), 1, "SAME"))
    scores = tf.nn.softmax(tf.reduce_mean(image, [1, 2]))
    looped = tf.while_loop(lambda i, _: i < 3, lambda i, a: (i + 1, tf.tanh(a) * 2), (0, scores))[1]
    rows = tf.where(looped > 0.5, looped, tf.pad(scores[:, 1:], [[0, 0], [0, 1]]))
    return {"rows": tf.cast(rows, tf.float32), "best": tf.argmax(scores, -1), "again": tf.cast(looped, tf.float32)}


def test_it_runs_and_gives_the_same_numbers(tmp_path: Path) -> None:
    module = tf.Module()
    module.run = tf.function(run, input_signature=[tf.TensorSpec([None, 6, 6, 3], name="x")], autograph=False)
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": module.run})
    model = ir.to_proto(read(tmp_path / "model", read_signature(tmp_path / "model")))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for batch in (2, 3):
        x = np.random.default_rng(batch).standard_normal((batch, 6, 6, 3)).astype(np.float32)
        want = {name: tensor.numpy() for name, tensor in module.run(tf.constant(x)).items()}
        found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x}), strict=True))
        assert sorted(found) == sorted(want)
        for name, array in want.items():
            # Sums may be added in another order before they are rounded to eight bits.
            np.testing.assert_allclose(found[name], array, rtol=2**-7, atol=2**-9)
