"""Shapes stated of values inside that the inputs contradict, as when somebody makes a fixed batch dynamic by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xport
from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_signature import read_signature

KERNEL = np.random.default_rng(1).standard_normal((5, 3, 3, 3)).astype(np.float32)


def saved(path: Path, stated: list[int | str], output: list[int | str | None]) -> Path:
    """A convolution of images of any batch, whose inner value is said to have a shape."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["inner"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["inner"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(KERNEL, "k")],
        value_info=[helper.make_tensor_value_info("inner", TensorProto.FLOAT, stated)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("target", ["onnx", "savedmodel", "tflite", "exported"])
def test_the_batch_stays_dynamic(tmp_path: Path, target: str) -> None:
    source = saved(tmp_path / "stale.onnx", [1, 5, 8, 8], ["batch", 5, 8, 8])
    artifact = xport.convert(source, to=target, output=tmp_path / "result")
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    with xport.load(artifact.path) as run:
        assert run.signature.outputs[0].shape == ("batch", 5, 8, 8)
        assert run({"x": x})["y"].shape == (3, 5, 8, 8)


@pytest.mark.parametrize("stated", [[1, 5, 8, 8], ["batch", 7, 8, 8], ["batch", 5, 8]])
def test_what_is_contradicted_is_forgotten(tmp_path: Path, stated: list[int | str]) -> None:
    model = onnx_model.load(saved(tmp_path / "m.onnx", stated, ["batch", 5, 8, 8]))
    assert onnx_model.STALE_SHAPES in model.meta
    inner = model.graph[0].outputs[0]
    assert [str(d) for d in inner.shape or ()] == ["batch", "5", "8", "8"]


@pytest.mark.parametrize("stated", [["batch", 5, 8, 8], ["b", 5, "h", 8]])
def test_what_is_not_contradicted_stays(tmp_path: Path, stated: list[int | str]) -> None:
    path = saved(tmp_path / "m.onnx", stated, [None, 5, 8, 8])
    model = onnx_model.load(path)
    assert onnx_model.STALE_SHAPES not in model.meta
    assert [str(d) for d in model.graph[0].outputs[0].shape or ()] == [str(d) for d in stated]
    assert read_signature(path).outputs[0].shape == ("y_dim0", 5, 8, 8)
