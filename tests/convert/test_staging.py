import errno
import os
import shutil
import subprocess

import pytest

from xport.convert.staging import Staging
from xport.errors import ConversionError, DestinationError, ParityError


def make_saved_model(folder, text="old"):
    folder.mkdir()
    (folder / "saved_model.pb").write_text(text)
    return folder


def write(staging, text="new"):
    result = staging.room("step") / staging.destination.name
    result.write_text(text)
    return result


def fail(staging, error):
    with staging:
        write(staging)
        raise error


def test_a_result_moves_into_place_and_nothing_else_stays(tmp_path):
    with Staging(tmp_path / "m.onnx") as staging:
        result = write(staging)
        (result.parent / "m.onnx.data").write_text("weights")
        staging.commit(result)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"m.onnx": "new", "m.onnx.data": "weights"}


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(ConversionError):
        fail(Staging(tmp_path / "m.onnx"), ConversionError("no"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_refused_and_replaced_only_on_demand(tmp_path):
    (tmp_path / "m.onnx").write_text("old")
    with pytest.raises(DestinationError, match="exists already") as caught:
        Staging(tmp_path / "m.onnx")
    assert "--force" in caught.value.fix
    with Staging(tmp_path / "m.onnx", overwrite=True) as staging:
        staging.commit(write(staging))
    assert (tmp_path / "m.onnx").read_text() == "new"


def test_what_appeared_meanwhile_is_not_replaced(tmp_path):
    with Staging(tmp_path / "m.onnx") as staging:
        result = write(staging)
        (tmp_path / "m.onnx").write_text("somebody else's")
        with pytest.raises(DestinationError):
            staging.commit(result)
    assert (tmp_path / "m.onnx").read_text() == "somebody else's"


def test_a_saved_model_is_replaced_whole(tmp_path):
    make_saved_model(tmp_path / "m")
    with Staging(tmp_path / "m", overwrite=True) as staging:
        staging.commit(make_saved_model(staging.room("step") / "m", "new"))
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert (tmp_path / "m" / "saved_model.pb").read_text() == "new"


def test_the_old_saved_model_comes_back_if_the_swap_fails(tmp_path, monkeypatch):
    make_saved_model(tmp_path / "m")
    replace, calls = os.replace, []

    def fail_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "broken disk")
        replace(source, target)

    with Staging(tmp_path / "m", overwrite=True) as staging:
        new = make_saved_model(staging.room("step") / "m", "new")
        monkeypatch.setattr(os, "replace", fail_second)
        with pytest.raises(DestinationError):
            staging.commit(new)
    assert (tmp_path / "m" / "saved_model.pb").read_text() == "old"


def test_a_folder_that_is_no_model_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("precious")
    with pytest.raises(DestinationError, match="no SavedModel"):
        Staging(tmp_path / "home", overwrite=True)


def test_a_folder_that_is_missing_or_a_file_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    for parent in ("missing", "file"):
        with pytest.raises(DestinationError, match="does not exist") as caught:
            Staging(tmp_path / parent / "m.onnx")
        assert "mkdir -p" in caught.value.fix


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(DestinationError, match="Permission denied"), Staging(tmp_path / "m.onnx"):
        pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ConversionError("RuntimeError: [Errno 28] No space left on device: 'weights'"),
    ],
)
def test_a_full_disk_is_told_in_plain_words(tmp_path, error):
    with pytest.raises(DestinationError, match="is full"):
        fail(Staging(tmp_path / "m.onnx"), error)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_noticed_when_the_framework_hides_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(DestinationError, match="is full"):
        fail(Staging(tmp_path / "m.onnx"), ConversionError("basic_ios::clear: iostream error"))
    with pytest.raises(ParityError):
        fail(Staging(tmp_path / "m.onnx"), ParityError("The numbers differ."))


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    with pytest.raises(DestinationError, match="is full"), Staging(small_disk / "m.onnx") as staging:
        (staging.folder / "big").write_bytes(bytes(10**6))
    assert list(small_disk.iterdir()) == []
