from __future__ import annotations

import io
import os
import shutil
import zipfile

import numpy as np
import onnx
import pytest

from xport import carriers
from xport.carriers import limits, read_members, write_members
from xport.convert.source import open_source
from xport.errors import UnreadableModelError, UsageError
from xport.formats import Format, detect
from xport.validate.runners import open_runner

FORMATS = [Format.ONNX, Format.SAVEDMODEL, Format.TORCHSCRIPT, Format.EXPORTED, Format.TFLITE]
FIRST = {"xport.json": '{"é": 1}'.encode(), "golden.npz": bytes(range(256)) * 3}
SECOND = {"xport.json": b"{}"}


def snapshot(path):
    if path.is_file():
        return path.read_bytes()
    return {str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("file_format", FORMATS)
def test_members_come_back_and_are_replaced(file_format, odd_model):
    path = odd_model(file_format)
    content = detect(path)
    assert read_members(path, file_format) == {}
    for members in (FIRST, SECOND, FIRST):
        write_members(path, file_format, members)
        assert read_members(path, file_format) == members
        assert detect(path) is content


@pytest.mark.parametrize("file_format", [Format.ONNX, Format.SAVEDMODEL, Format.TFLITE])
def test_removing_members_restores_the_file(file_format, odd_model):
    path = odd_model(file_format)
    before = snapshot(path)
    write_members(path, file_format, FIRST)
    write_members(path, file_format, {})
    assert snapshot(path) == before


@pytest.mark.parametrize("file_format", FORMATS)
def test_writing_again_does_not_grow_the_file(file_format, odd_model):
    path = odd_model(file_format)
    write_members(path, file_format, FIRST)
    write_members(path, file_format, FIRST)
    once = snapshot(path)
    write_members(path, file_format, FIRST)
    assert snapshot(path) == once


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_model_still_runs(file_format, odd, odd_model, tf_worker):
    path = odd_model(file_format)
    write_members(path, file_format, {"golden.npz": b"\xff\xfe" * 1000})
    write_members(path, file_format, {"golden.npz": b"\xff\xfe" * 2000})
    shared = tf_worker if file_format is Format.SAVEDMODEL else None
    inputs = odd.inputs(3)
    torch_names = {"x:0": "x0", "input.1": "input1", "1": "one"}
    given = {torch_names[k]: v for k, v in inputs.items()}
    specs = [f"x0:float32[{'batch'},3]", "input1:float32[batch,3]", "one:float32[]"]
    is_torch = file_format in (Format.TORCHSCRIPT, Format.EXPORTED)
    source = open_source(path, inputs=specs if file_format is Format.TORCHSCRIPT else ())
    with open_runner(source, isolated=shared is not None, worker=shared) as runner:
        outputs = runner.run(given if is_torch else inputs)
    np.testing.assert_array_equal(outputs["z"], odd.outputs(inputs)["z"])


def test_onnx_metadata_is_seen_by_others_and_theirs_is_kept(odd_model):
    path = odd_model(Format.ONNX)
    model = onnx.load(path)
    model.metadata_props.add(key="author", value="somebody")
    onnx.save(model, path)
    write_members(path, Format.ONNX, FIRST)
    write_members(path, Format.ONNX, SECOND)
    onnx.checker.check_model(str(path))
    found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert found == {"author": "somebody", "xport/xport.json": "{}"}


def test_onnx_external_data_stays_untouched(odd_model):
    path = odd_model(Format.ONNX)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (path.parent / "w.bin").rename(path.parent / "elsewhere.bin")  # reading it would fail
    write_members(path, Format.ONNX, FIRST)
    assert read_members(path, Format.ONNX) == FIRST


def test_torch_hands_members_out(odd_model):
    import torch

    script, program = odd_model(Format.TORCHSCRIPT), odd_model(Format.EXPORTED)
    for path, file_format in ((script, Format.TORCHSCRIPT), (program, Format.EXPORTED)):
        write_members(path, file_format, SECOND)
        write_members(path, file_format, FIRST)
    extra = {"xport.json": ""}
    torch.jit.load(str(script), _extra_files=extra)
    assert extra["xport.json"] == FIRST["xport.json"]
    extra = {"xport.json": ""}
    torch.export.load(str(program), extra_files=extra)  # decodes every extra file as UTF-8
    assert extra["xport.json"] == FIRST["xport.json"].decode()


@pytest.mark.parametrize("file_format", [Format.TORCHSCRIPT, Format.EXPORTED])
def test_tensors_stay_aligned(file_format, odd_model):
    path = odd_model(file_format)
    for members in (FIRST, SECOND):
        write_members(path, file_format, members)
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for info in archive.infolist():
            if "/data/" in info.filename and info.compress_type == zipfile.ZIP_STORED:
                file.seek(info.header_offset + 26)
                name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
                assert (info.header_offset + 30 + name + extra) % 64 == 0


def test_the_first_pt2_layout_gets_a_sidecar(tmp_path):
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("version", "5.1")
    assert read_members(path, Format.EXPORTED) == {}
    write_members(path, Format.EXPORTED, SECOND)
    assert read_members(path, Format.EXPORTED) == SECOND
    assert (tmp_path / "old.pt2.xport.json").is_file()


def test_tflite_metadata_follows_the_schema(odd_model):
    from ai_edge_litert import schema_py_generated as schema

    path = odd_model(Format.TFLITE)
    before = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    write_members(path, Format.TFLITE, FIRST)
    data = path.read_bytes()
    after = schema.ModelT.InitFromPackedBuf(data)
    held = {entry.name.decode(): bytes(after.buffers[entry.buffer].data) for entry in after.metadata}
    assert held["xport/golden.npz"] == FIRST["golden.npz"]
    assert {entry.name.decode() for entry in before.metadata} < set(held)
    assert after.version == before.version
    assert after.description == before.description
    assert [s.signatureKey for s in after.signatureDefs] == [s.signatureKey for s in before.signatureDefs]
    start = int.from_bytes(held["xport/origin"][:4], "little")
    assert start % 64 == 0
    assert data[start + 4 : start + 8] == b"TFL3"


def test_tflite_files_with_data_behind_the_flatbuffer_get_a_sidecar(odd_model):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    path = odd_model(Format.TFLITE)
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    model.buffers[1].offset, model.buffers[1].size = 4096, 24
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(builder.Output())
    before = path.read_bytes()
    write_members(path, Format.TFLITE, FIRST)
    assert path.read_bytes() == before
    assert read_members(path, Format.TFLITE) == FIRST
    assert path.with_name("odd.tflite.golden.npz").is_file()


@pytest.mark.parametrize("file_format", [Format.PYTORCH, Format.KERAS])
def test_other_formats_get_a_sidecar(file_format, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"x")
    write_members(path, file_format, FIRST)
    assert (tmp_path / "model.bin.xport.json").read_bytes() == FIRST["xport.json"]
    assert read_members(path, file_format) == FIRST
    write_members(path, file_format, {})
    assert os.listdir(tmp_path) == ["model.bin"]


def test_unknown_and_large_members_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    path.write_bytes(b"x")
    with pytest.raises(UsageError, match="Unknown member"):
        write_members(path, Format.PYTORCH, {"../evil": b""})
    monkeypatch.setattr(carriers, "MEMBER_LIMIT", 100)
    with pytest.raises(UsageError, match="more than 100"):
        write_members(path, Format.PYTORCH, {"xport.json": bytes(101)})


@pytest.mark.parametrize("file_format", [*FORMATS, Format.PYTORCH])
def test_large_members_are_not_read(file_format, odd_model, tmp_path, monkeypatch):
    if file_format is Format.PYTORCH:
        path = tmp_path / "model.bin"
        path.write_bytes(b"x")
    else:
        path = odd_model(file_format)
    write_members(path, file_format, {"xport.json": bytes(2000)})
    monkeypatch.setattr(limits, "MEMBER_LIMIT", 1000)
    with pytest.raises(UnreadableModelError, match="2000 bytes"):
        read_members(path, file_format)


def test_a_zip_bomb_is_not_unpacked(odd_model):
    path = odd_model(Format.TORCHSCRIPT)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/extra/xport.json", bytes(limits.MEMBER_LIMIT + 1))
    assert path.stat().st_size < 2**20
    with pytest.raises(UnreadableModelError, match="carries a member"):
        read_members(path, Format.TORCHSCRIPT)


def test_a_zip_that_lies_about_sizes_is_broken(odd_model):
    path = odd_model(Format.TORCHSCRIPT)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/extra/xport.json", bytes(50_000))
    data = path.read_bytes()
    path.write_bytes(data.replace((50_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(UnreadableModelError, match="broken zip"):
        read_members(path, Format.TORCHSCRIPT)


@pytest.mark.parametrize("file_format", [Format.ONNX, Format.TORCHSCRIPT, Format.EXPORTED, Format.TFLITE])
def test_broken_files(file_format, odd_model):
    path = odd_model(file_format)
    write_members(path, file_format, FIRST)
    whole = path.read_bytes()
    for length in (len(whole) // 3, len(whole) - 7):
        path.write_bytes(whole[:length])
        try:
            members = read_members(path, file_format)
        except UnreadableModelError:
            continue
        # A flatbuffer's end is the old model's weights; the members lie before it, whole.
        assert file_format is Format.TFLITE
        assert members == FIRST


def test_hostile_tflite_bytes_never_escape_as_other_errors(odd_model):
    path = odd_model(Format.TFLITE)
    write_members(path, Format.TFLITE, FIRST)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, 600, 4):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            read_members(path, Format.TFLITE)
        except UnreadableModelError:
            continue


def test_broken_base64(odd_model):
    path = odd_model(Format.EXPORTED)
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/extra/golden.npz", b"\xff not base64")
    with pytest.raises(UnreadableModelError, match=r"golden\.npz"):
        read_members(path, Format.EXPORTED)


def test_a_failed_write_leaves_the_file_alone(odd_model, monkeypatch):
    path = odd_model(Format.ONNX)
    write_members(path, Format.ONNX, FIRST)
    before, files = path.read_bytes(), os.listdir(path.parent)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(shutil, "copymode", fail)
    with pytest.raises(OSError, match="disk full"):
        write_members(path, Format.ONNX, SECOND)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == files


def test_archives_are_the_same_for_the_same_members(odd_model):
    first = odd_model(Format.TORCHSCRIPT)
    copy = first.with_name("copy.pt")
    shutil.copy(first, copy)
    for path in (first, copy):
        write_members(path, Format.TORCHSCRIPT, FIRST)
    assert io.BytesIO(first.read_bytes()).getvalue() == copy.read_bytes()
