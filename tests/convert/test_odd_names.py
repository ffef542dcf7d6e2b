"""Names that a target's language could not use as they are survive every conversion, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import xport

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
