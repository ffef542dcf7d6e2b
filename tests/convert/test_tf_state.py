"""Models that keep a state between calls are refused; those that only write one down are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import tensorflow as tf

from xport.convert.savedmodel_signature import read_signature
from xport.convert.savedmodel_to_onnx import read
from xport.errors import UnsupportedError


class Counter(tf.Module):
    def __init__(self, *, reads: bool) -> None:
        super().__init__()
        self.count, self.scale, self.reads = tf.Variable(0.0), tf.Variable(3.0), reads

    @tf.function(input_signature=[tf.TensorSpec([None], name="x")])
    def run(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        return {"y": x * self.scale + (self.count if self.reads else 0.0)}


def saved(folder: Path, *, reads: bool) -> Path:
    model = Counter(reads=reads)
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.run})
    return folder


def test_a_state_is_refused_by_name(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", reads=True)
    with pytest.raises(
        UnsupportedError, match=r"state between calls: AssignAddVariableOp .*changes 'Variable"
    ) as caught:
        read(folder, read_signature(folder))
    assert "input" in caught.value.fix


def test_a_state_that_no_output_depends_on_is_left_out(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", reads=False)
    model = read(folder, read_signature(folder))
    x = np.array([1.0, -2.0], np.float32)
    found = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_allclose(found, 3 * x)


@pytest.mark.parametrize("kind", ["loop", "condition"])
def test_a_state_inside_of_control_flow_is_refused(kind: str, tmp_path: Path) -> None:
    module = tf.Module()
    module.count = tf.Variable(0.0)

    def added(x: Any) -> Any:
        module.count.assign_add(1.0)
        return x + module.count

    def run(x: Any) -> Any:
        if kind == "loop":
            return {"y": tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, added(x)), (0, x))[1]}
        return {"y": tf.cond(tf.reduce_sum(x) > 0, lambda: added(x), lambda: x)}

    module.run = tf.function(run, input_signature=[tf.TensorSpec([None], name="x")], autograph=False)
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": module.run})
    with pytest.raises(UnsupportedError, match="state between calls"):
        read(tmp_path / "model", read_signature(tmp_path / "model"))


def of_tensorflow_1(folder: Path, function: Any) -> Path:
    """A graph with TensorFlow 1's control flow: a function of ``x``."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.disable_control_flow_v2()
        try:
            x = v1.placeholder(tf.float32, [None, 3], "x")
            y = function(x)
        finally:
            v1.enable_control_flow_v2()
        infos = [{name: v1.saved_model.build_tensor_info(t)} for name, t in (("x", x), ("y", y))]
        builder = v1.saved_model.Builder(str(folder))
        definition = v1.saved_model.build_signature_def(*infos, "tensorflow/serving/predict")
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": definition})
        builder.save()
    return folder


def test_a_loop_of_tensorflow_1_is_refused_by_name(tmp_path: Path) -> None:
    def function(x: Any) -> Any:
        return tf.while_loop(lambda i, _: i < 4, lambda i, a: (i + 1, a * 0.5 + 1), [tf.constant(0), x])[1]

    folder = of_tensorflow_1(tmp_path / "model", function)
    with pytest.raises(UnsupportedError, match=r"Enter: while/Enter") as caught:
        read(folder, read_signature(folder))
    assert "enable_control_flow_v2" in caught.value.fix


def test_the_branch_of_training_is_never_taken(tmp_path: Path) -> None:
    """As layers of TensorFlow 1 ask whether they are trained: the answer has a default, which no input replaces."""
    v1 = tf.compat.v1

    def function(x: Any) -> Any:
        training = v1.placeholder_with_default(False, [], "is_training")
        x = v1.cond(training, lambda: tf.nn.dropout(x, rate=0.5), lambda: tf.identity(x))
        return v1.cond(tf.logical_not(training), lambda: x * 2, lambda: tf.zeros([1, 3]))

    folder = of_tensorflow_1(tmp_path / "model", function)
    model = read(folder, read_signature(folder))
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    found = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_array_equal(found, 2 * x)


def test_a_branch_that_only_run_time_knows_is_refused(tmp_path: Path) -> None:
    def function(x: Any) -> Any:
        return tf.compat.v1.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: -x)

    folder = of_tensorflow_1(tmp_path / "model", function)
    with pytest.raises(UnsupportedError, match=r"Merge \(cond/Merge\): which branch .* run time"):
        read(folder, read_signature(folder))
