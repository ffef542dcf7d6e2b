"""A model that never ends is given up after the time that was asked for, by the name of what ran."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import sandbox
from onnx import TensorProto, helper, numpy_helper

import xport
from xport.convert.workers import LONGEST_REQUEST, Workers
from xport.errors import WorkerError


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """An ONNX file with a loop whose condition is always true."""
    node, value = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go_in"], ["go_out"]), node("Add", ["v_in", "one"], ["v_out"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go_in", TensorProto.BOOL, []), value("v_in", 1, ["batch", 4])],
        [value("go_out", TensorProto.BOOL, []), value("v_out", 1, ["batch", 4])],
    )
    graph = helper.make_graph(
        [node("Loop", ["", "go", "x"], ["y"], body=body)],
        "endless",
        [value("x", TensorProto.FLOAT, ["batch", 4])],
        [value("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.array(True), "go"), numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    path = tmp_path / "endless.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_a_conversion_ends_in_time(target: str, endless: Path) -> None:
    done = sandbox.run("convert", endless, "--to", target, "-o", "a", "--timeout", 30, cwd=endless.parent)
    words = sandbox.refused(done, 1)
    assert "ran out of time" in words
    assert "--timeout" in words
    assert [p.name for p in endless.parent.iterdir()] == ["endless.onnx"]


def test_a_short_time_makes_no_weaker_proof(tiny: Path, tmp_path: Path) -> None:
    """The source in float64 takes longer than this; without it the verdict would be a looser one."""
    with pytest.raises(WorkerError, match="ran out of time"):
        xport.convert(tiny, "onnx", tmp_path / "out.onnx", timeout=1.0)
    assert not (tmp_path / "out.onnx").exists()


def test_all_requests_share_the_time() -> None:
    with Workers(timeout=1.0) as workers:
        workers.call("a", "time:sleep", 0.1)
        with pytest.raises(WorkerError, match="ran out of time") as caught:
            workers.call("a", "time:sleep", 60)
        assert caught.value.how == "timeout"
        with pytest.raises(WorkerError, match=r"ran out of time \(0 s\)"):
            workers.call("b", "time:sleep", 60)


def test_without_a_limit_a_single_request_has_one() -> None:
    with Workers() as workers:
        assert workers._seconds() == LONGEST_REQUEST
