"""Wherever in an ONNX file a tensor may stand, its data may not lie outside the file's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xport.convert.onnx_signature import read_signature
from xport.errors import UnreadableModelError

WEIGHT = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
WEIGHT.external_data.add(key="location", value="../secret.bin")


def _graph(nodes: list[onnx.NodeProto], output: str, *weights: TensorProto) -> onnx.GraphProto:
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["batch", 4])] if output == "y" else []
    return helper.make_graph(nodes, output, inputs, [value(output, TensorProto.FLOAT, None)], weights)


def model(place: str) -> onnx.ModelProto:
    """y = x + w, with w as an initializer, a constant, and both in a branch and in a function."""
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    constant = helper.make_node("Constant", [], ["w"], value=WEIGHT)
    add = helper.make_node("Add", ["x", "w"], ["y"])
    if place == "initializer":
        graph = _graph([add], "y", WEIGHT)
    elif place == "constant":
        graph = _graph([constant, add], "y")
    elif place == "branch":
        inner = _graph([helper.make_node("Add", ["x", "w"], ["t"])], "t", WEIGHT)
        other = _graph([helper.make_node("Relu", ["x"], ["e"])], "e")
        node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=other)
        graph = _graph([node], "y", numpy_helper.from_array(np.array(True), "c"))
    else:
        graph = _graph([helper.make_node("F", ["x"], ["y"], domain="own")], "y")
    function = helper.make_function("own", "F", ["x"], ["y"], [constant, add], imports[:1])
    functions = [function] if place == "function" else []
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10)


@pytest.mark.parametrize("place", ["initializer", "constant", "branch", "function"])
def test_nothing_is_read_from_outside(place: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "m.onnx"
    path.write_bytes(model(place).SerializeToString())
    with pytest.raises(UnreadableModelError, match="outside"):
        read_signature(path)
