"""Long lowerings in a SavedModel say which ONNX operator they are, and are read back as that operator."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xport


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A resize to a run-time size, a sampled grid and an LSTM that leaves an output out."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((1, 12, 2), dtype=np.float32),
        "r": rng.standard_normal((1, 12, 3), dtype=np.float32),
        "sizes": np.array([5, 7], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["x"], ["batch_and_channels"], start=0, end=2),
        helper.make_node("Concat", ["batch_and_channels", "sizes"], ["target"], axis=0),
        helper.make_node("Resize", ["x", "", "", "target"], ["large"], mode="linear", nearest_mode="floor", name="up"),
        helper.make_node("GridSample", ["large", "grid"], ["y"], align_corners=1, name="sample"),
        helper.make_node("LSTM", ["sequence", "w", "r"], ["", "h"], hidden_size=3, name="lstm"),
    ]
    shapes = {"x": ["batch", 2, "height", "width"], "grid": ["batch", 4, 4, 2], "sequence": ["time", "batch", 2]}
    graph = helper.make_graph(
        nodes,
        "composites",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2, 4, 4]),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, "batch", 3]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = tmp_path_factory.mktemp("composites") / "model.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, path)
    return path


@pytest.fixture(scope="module")
def saved(model: Path) -> Path:
    folder = model.parent / "saved"
    xport.convert(model, to="savedmodel", output=folder)
    return folder


def operators(path: Path) -> collections.Counter[str]:
    return collections.Counter(node.op_type for node in onnx.load(path).graph.node)


def test_the_operators_come_back(model: Path, saved: Path, tmp_path: Path) -> None:
    back = tmp_path / "back.onnx"
    artifact = xport.convert(saved, to="onnx", output=back)
    assert artifact.proof is not None
    assert artifact.proof.verified
    found = operators(back)
    assert found["GridSample"] == found["LSTM"] == 1
    assert not found["Loop"]
    assert sum(found.values()) <= sum(operators(model).values()) + 3


@pytest.mark.parametrize("record", [b"{", b'{"node": {}, "opset": 20, "inputs": [[0, 0]], "outputs": []}'])
def test_a_broken_record_leaves_the_body_to_tell(saved: Path, tmp_path: Path, record: bytes) -> None:
    import shutil

    from tensorflow.core.protobuf import saved_model_pb2

    folder = tmp_path / "broken"
    shutil.copytree(saved, folder)
    file = folder / "saved_model.pb"
    parsed = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    library = parsed.meta_graphs[0].graph_def.library
    calls = [n for f in library.function for n in f.node_def if "_xport_onnx" in n.attr]
    assert {n.attr["_xport_onnx"].s for n in calls} != {record}
    assert len(calls) >= 2
    for call in calls:
        call.attr["_xport_onnx"].s = record
    file.write_bytes(parsed.SerializeToString())
    back = tmp_path / "back.onnx"
    artifact = xport.convert(folder, to="onnx", output=back)
    assert artifact.proof is not None
    assert artifact.proof.verified
    found = operators(back)
    assert not found["GridSample"]
    assert not found["LSTM"]
