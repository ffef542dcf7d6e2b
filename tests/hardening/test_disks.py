"""A disk that is full or cannot be written: a clear error, nothing half made, and what was there is as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import sandbox
from onnx import TensorProto, helper, numpy_helper

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sandbox.may_unshare("-m"), reason="unshare -m is not permitted here; it takes root"),
]
ROOM = "900k"
"""Less than a model of one megabyte takes."""
OLD = b"an older artifact"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of one megabyte."""
    weight = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 512])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 512])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path_factory.mktemp("large") / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    place = tmp_path / "disk"
    place.mkdir()
    return place


@pytest.mark.parametrize("target", ["pt2", "tflite"])
def test_a_full_destination(target: str, large: Path, disk: Path) -> None:
    """An older artifact lies there, and is to be replaced."""
    folder = target in ("savedmodel", "pytorch")
    name = "kept.d" if folder else "kept.old"
    inside = {"savedmodel": "kept.d/saved_model.pb", "pytorch": "kept.d/model.py"}.get(target, name)
    prepare = f"mkdir kept.d && touch kept.d/model.safetensors && printf '{OLD.decode()}' > {inside}"
    prepare = prepare if folder else f"printf '{OLD.decode()}' > {name}"
    before = sandbox.small_disk(disk, ROOM, prepare=prepare)
    done = sandbox.run("convert", large, "--to", target, "-o", disk / name, "--force", before=before)
    assert "is full" in sandbox.refused(done, 1, 2)
    files = [line for line in sandbox.left(done) if line.startswith("./")]
    assert files == (sorted({f"./{inside}", "./kept.d/model.safetensors"}) if folder else [f"./{name}"])
    if not folder:
        assert sandbox.left(done)[-1].split()[0] == hashlib.sha256(OLD).hexdigest()


@pytest.mark.parametrize("size", ["64k"])
def test_full_at_any_moment(size: str, large: Path, disk: Path) -> None:
    """Wherever the room ends: in the step, in the gate, or with the proof."""
    before = sandbox.small_disk(disk, size)
    done = sandbox.run("convert", large, "--to", "onnx", "-o", disk / "a.onnx", before=before)
    if done.returncode == 0:
        assert sandbox.left(done) == ["./a.onnx"]
    else:
        assert "is full" in sandbox.refused(done, 1, 2)
        assert sandbox.left(done) == []


def test_a_destination_that_cannot_be_written(tiny: Path, disk: Path) -> None:
    before = sandbox.small_disk(disk, "64k", read_only=True, prepare=f"printf '{OLD.decode()}' > kept.old")
    done = sandbox.run("convert", tiny, "--to", "onnx", "-o", disk / "kept.old", "--force", before=before)
    assert "Cannot write" in sandbox.refused(done, 1, 2)
    assert sandbox.left(done)[-1].split()[0] == hashlib.sha256(OLD).hexdigest()
