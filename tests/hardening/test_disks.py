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


def test_no_room_for_temporary_files(large: Path, disk: Path, tmp_path: Path) -> None:
    """The quantizer needs some; the disk of the destination is not to blame."""
    before = sandbox.small_disk(disk, "8k")
    command = ("convert", large, "--to", "onnx", "--quantize", "dynamic", "-o", tmp_path / "a.onnx")
    done = sandbox.run(*command, before=before, env=sandbox.without(TMPDIR=str(disk)))
    words = sandbox.refused(done, 2)
    assert f"The disk for temporary files, {disk}, is full" in words
    assert "TMPDIR=" in words
    assert sandbox.left(done) == []
    assert list(tmp_path.iterdir()) == [disk]


def test_no_room_for_the_artifacts_of_a_comparison(large: Path, disk: Path) -> None:
    """They lie among the temporary files, unless somebody names a folder."""
    before = sandbox.small_disk(disk, ROOM)
    command = ("compare", large, "--contenders", "onnx,torchscript", "--runs", 1, "--starts", 0)
    done = sandbox.run(*command, before=before, env=sandbox.without(TMPDIR=str(disk)))
    words = sandbox.refused(done, 2)
    assert "is full" in words
    assert "--output" in words
    assert sandbox.left(done) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_reports_that_cannot_be_written(read_only: bool, tiny: Path, disk: Path) -> None:
    """A full disk keeps nobody from seeing what was found; one that nobody may write is told before the work."""
    prepare = f"printf '<{OLD.decode()}' > kept.html && head -c 20000 /dev/zero > filler"
    before = sandbox.small_disk(disk, "28k", read_only=read_only, prepare=prepare)
    files = ("--report", disk / "kept.html", "--json", disk / "new.json", "--junit", disk / "new.xml")
    done = sandbox.run("validate", tiny, tiny, "--runs", 0, *files, before=before)
    assert "cannot be written" in sandbox.refused(done, 2)
    assert (b"equal to the last bit" in done.stdout) is not read_only
    (checksum,) = [line for line in sandbox.left(done) if line.endswith("kept.html")][1:]
    assert checksum.split()[0] == hashlib.sha256(b"<" + OLD).hexdigest()
    left = {line for line in sandbox.left(done) if line.startswith("./")}
    assert "./new.json" not in left
    assert left <= {"./filler", "./kept.html", "./new.xml"}  # the smallest may find room


@pytest.fixture(scope="module")
def proven(large: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proven") / "proven.onnx"
    sandbox.passed(sandbox.run("convert", large, "--to", "onnx", "-o", path))
    return path


def test_a_package_onto_a_full_disk(proven: Path, disk: Path) -> None:
    before = sandbox.small_disk(disk, ROOM)
    done = sandbox.run("package", proven, "--engine", "embedded", "-o", disk / "bundle", before=before)
    assert "is full" in sandbox.refused(done, 1, 2)
    assert sandbox.left(done) == []


def test_a_plan_on_a_disk_that_fills_up(large: Path, tiny: Path, disk: Path, tmp_path: Path) -> None:
    """What was finished stays; once there is room, the plan goes on where it was."""
    models = "".join(f"  - {{source: {path}, to: {{onnx: {{output: {path.name}}}}}}}\n" for path in (tiny, large))
    (tmp_path / "plan.yaml").write_text(f"models:\n{models}")
    before = sandbox.small_disk(
        disk, "3m", prepare="head -c 2200000 /dev/zero > filler", twice_after="rm filler; sha256sum out/tiny.onnx"
    )
    command = ("convert", "--many", tmp_path / "plan.yaml", "-o", disk / "out", "--jobs", 1)
    done = sandbox.run(*command, before=before)
    words = sandbox.passed(done)
    first, _, second = words.partition("FIRST 1")
    assert "1 converted, 1 failed" in first
    assert "is full" in first
    assert "1 converted, 1 kept" in second
    files = [line for line in sandbox.left(done) if not line.endswith((".json", ".lock"))]
    assert files == ["./out/large.onnx", "./out/tiny.onnx"]


def test_a_destination_that_cannot_be_written(tiny: Path, disk: Path) -> None:
    before = sandbox.small_disk(disk, "64k", read_only=True, prepare=f"printf '{OLD.decode()}' > kept.old")
    done = sandbox.run("convert", tiny, "--to", "onnx", "-o", disk / "kept.old", "--force", before=before)
    assert "Cannot write" in sandbox.refused(done, 1, 2)
    assert sandbox.left(done)[-1].split()[0] == hashlib.sha256(OLD).hexdigest()
