"""Names that a target's language could not use as they are survive every conversion, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import xport
from xport.errors import UnsupportedError, XportError

INPUTS = ("x:0", "input.1", "a/b", "class")
OUTPUTS = ("out/put", "1", "B", "a")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    def spec(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4])

    nodes = [
        helper.make_node("Add", [INPUTS[0], INPUTS[1]], ["sum"], name="n:0"),
        helper.make_node("Relu", ["sum"], [OUTPUTS[0]], name="n 0"),
        helper.make_node("Sub", [INPUTS[0], INPUTS[2]], [OUTPUTS[1]]),
        helper.make_node("Mul", [INPUTS[1], INPUTS[3]], [OUTPUTS[2]]),
        helper.make_node("Neg", [INPUTS[3]], [OUTPUTS[3]]),
    ]
    graph = helper.make_graph(nodes, "odd", [spec(n) for n in INPUTS], [spec(n) for n in OUTPUTS])
    path = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("target", ["torchscript", "exported", "onnx", "savedmodel", "tflite"])
def test_odd_names_survive(model: Path, tmp_path: Path, target: str) -> None:
    artifact = xport.convert(model, to=target, output=tmp_path / "result")
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal((5, 4), dtype=np.float32) for name in INPUTS}
    with xport.load(artifact.path) as run:
        assert tuple(s.name for s in run.signature.inputs) == INPUTS
        outputs = run(inputs)
    assert tuple(outputs) == OUTPUTS
    np.testing.assert_array_equal(outputs["1"], inputs["x:0"] - inputs["a/b"])
    np.testing.assert_array_equal(outputs["B"], inputs["input.1"] * inputs["class"])
    np.testing.assert_array_equal(outputs["a"], -inputs["class"])


def tensor(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3])


@pytest.mark.parametrize(
    ("target", "options"), [("onnx", {}), ("onnx", {"opset": 19}), ("savedmodel", {}), ("tflite", {})]
)
def test_an_input_may_also_be_an_output(tmp_path: Path, target: str, options: dict[str, int]) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "through", [tensor("x")], [tensor("x"), tensor("y")])
    path = tmp_path / "through.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    artifact = xport.convert(path, to=target, output=tmp_path / "result", options=options)
    inputs = {"x": np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)}
    with xport.load(artifact.path) as run:
        outputs = run(inputs)
    assert tuple(outputs) == ("x", "y")
    np.testing.assert_array_equal(outputs["x"], inputs["x"])
    np.testing.assert_array_equal(outputs["y"], np.maximum(inputs["x"], 0))


def test_two_things_of_one_name_are_refused_where_onnx_comes_in(tmp_path: Path) -> None:
    """A SavedModel keeps the names of its inputs apart from those of its outputs."""
    import tensorflow as tf

    class Counter(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="n")])
        def __call__(self, n: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"n": n + 1.0}

    counter = Counter()
    tf.saved_model.save(counter, str(tmp_path / "counter"), signatures={"serving_default": counter.__call__})
    with pytest.raises(XportError, match="both called 'n'"):
        xport.convert(tmp_path / "counter", to="onnx", output=tmp_path / "counter.onnx")
    assert not (tmp_path / "counter.onnx").exists()


@pytest.mark.parametrize("target", ["exported", "savedmodel", "tflite"])
def test_names_in_other_alphabets(tmp_path: Path, target: str) -> None:
    path = tmp_path / "named.onnx"
    nodes = [helper.make_node("Neg", ["größe"], ["输出"], name="узел")]
    graph = helper.make_graph(nodes, "названия", [tensor("größe")], [tensor("输出")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    with xport.load(xport.convert(path, to=target, output=tmp_path / "result").path) as run:
        np.testing.assert_array_equal(run({"größe": x})["输出"], -x)


def test_torchscript_holds_no_weights_in_other_alphabets(tmp_path: Path) -> None:
    module = torch.nn.Sequential()
    module.add_module("schön", torch.nn.Linear(3, 2))
    with pytest.raises(UnsupportedError, match=r"not ASCII: 'schön\.weight'"):
        xport.convert(module.eval(), to="torchscript", output=tmp_path / "m.pt", inputs=["input:float32[n,3]"])
