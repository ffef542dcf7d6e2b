from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from xport import carriers, golden, proof
from xport.artifact import Proof
from xport.errors import UnreadableModelError
from xport.formats import Format
from xport.serve import warmup
from xport.serve.checksum import crc32c, masked_crc32c
from xport.serve.tf_serving_protos import serving
from xport.signature import Signature
from xport.validate.parity import judge

FORMATS = [Format.ONNX, Format.SAVEDMODEL, Format.TORCHSCRIPT, Format.EXPORTED, Format.TFLITE]
MADE = Proof(
    source={"name": "model.pt", "format": "torchscript", "sha256": "ab"},
    route=("torchscript", "onnx"),
    versions={"xport-ml": "0.1.0"},
    options={"opset": 21},
    parity=[verdict.to_json() for verdict in judge({"z": np.zeros(1, np.float32)}, {"z": np.zeros(1, np.float32)})],
    verified=True,
    created="2026-01-01T00:00:00Z",
)


def same(left: np.ndarray, right: np.ndarray) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and left.tolist() == right.tolist()


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_is_attached_is_read(file_format, odd, odd_model):
    path = odd_model(file_format)
    assert proof.read(path, file_format) is None
    cases = [(odd.inputs(n), odd.outputs(odd.inputs(n))) for n in (1, 4)]
    proof.attach(path, file_format, odd.signature, MADE, cases)
    signature, made, kept = proof.read(path, file_format)
    assert signature == odd.signature
    assert made == MADE
    assert len(kept) == 2
    for (inputs, outputs), (kept_inputs, kept_outputs) in zip(cases, kept, strict=True):
        assert list(kept_inputs) == list(inputs)
        assert all(same(np.asarray(v), kept_inputs[k]) for k, v in inputs.items())
        assert all(same(np.asarray(v), kept_outputs[k]) for k, v in outputs.items())
    proof.attach(path, file_format, odd.signature, MADE, [])
    assert proof.read(path, file_format)[2] == []
    assert proof.read_signature(path, file_format) == odd.signature


@pytest.mark.parametrize(
    "array",
    [
        np.array(True),
        np.zeros((0, 3), np.float32),
        np.arange(6, dtype=np.int64).reshape(2, 3).T,
        np.arange(4, dtype=np.float32).astype(ml_dtypes.bfloat16),
        np.arange(4).astype(ml_dtypes.int4),
        np.array([1 + 2j], np.complex64),
        np.array([np.nan, np.inf, -0.0], np.float16),
        np.array(["é", "", "abc"], object),
        np.array([[b"\xff", b""]], object),
        np.array("scalar", object),
        np.array([], object),
    ],
    ids=str,
)
def test_every_dtype_survives(array):
    [(inputs, outputs)] = golden.decode(golden.encode([({"input.1": array}, {"a/b:0": array})]))
    for found in (inputs["input.1"], outputs["a/b:0"]):
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.flags.writeable
        if array.dtype == object:
            assert found.tolist() == array.tolist()
        else:
            assert found.tobytes() == np.ascontiguousarray(array).tobytes()


def test_equal_cases_give_equal_bytes():
    cases = [({"x": np.ones(3)}, {"y": np.ones(2)})]
    assert golden.encode(cases) == golden.encode(cases)


def case(size: int) -> golden.Case:
    return {"x": np.zeros(size, np.uint8)}, {}


def test_the_smallest_cases_are_kept(monkeypatch):
    monkeypatch.setattr(golden, "TOTAL_LIMIT", 100)
    monkeypatch.setattr(golden, "SINGLE_LIMIT", 200)

    def kept(*sizes):
        return [inputs["x"].size for inputs, _ in golden.select([case(size) for size in sizes])]

    assert kept(60, 30, 50) == [30, 50]
    assert kept(150, 180) == [150]
    assert kept(201) == []
    assert kept() == []


def test_dropped_cases_are_recorded(odd, odd_model, monkeypatch):
    monkeypatch.setattr(golden, "SINGLE_LIMIT", 10)
    path = odd_model(Format.ONNX)
    proof.attach(path, Format.ONNX, odd.signature, MADE, [(odd.inputs(9), {})])
    sheet = json.loads(carriers.read_members(path, Format.ONNX)["xport.json"])
    assert sheet["golden"] == {"kept": 0, "measured": 1}


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return stream.getvalue()


def npy(array: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("code from the file was run",))


def hostile():
    manifest = npy(np.frombuffer(b"[]", np.uint8))
    pickled = np.lib.format.magic(1, 0)
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    yield "pickle", archive(manifest=pickled + struct.pack("<H", len(header)) + header + pickle.dumps([Payload()]))
    claim = manifest.replace(b"'shape': (2,)", b"'shape': (9,)")
    yield "shape beyond the data", archive(manifest=claim)
    yield "bomb", archive(manifest=manifest, a0=bytes(golden._TOTAL_READ_LIMIT + 1))
    yield "no archive", b"PK\x03\x04 nonsense"
    yield "empty", b""
    yield "no manifest", archive(a0=npy(np.zeros(3, np.uint8)))
    yield "floats", archive(manifest=npy(np.zeros(3)))
    for text in (b"{}1", b"[1]", b"[[[], []], [[]]]", b'[[[{"name": "x"}], []]]', b"\xff"):
        yield str(text), archive(manifest=npy(np.frombuffer(text, np.uint8)))
    row = {"name": "x", "dtype": "float32", "shape": [-1, 7], "data": "a0"}
    for change in ({}, {"dtype": "object"}, {"shape": ["a"]}, {"data": "a9"}, {"dtype": "float64", "shape": [1]}):
        text = json.dumps([[[{**row, **change}], []]]).encode()
        yield (
            str(change),
            archive(manifest=npy(np.frombuffer(text, np.uint8)), a0=npy(np.zeros(12, np.uint8))),
        )


@pytest.mark.parametrize(("name", "data"), list(hostile()), ids=lambda value: value if isinstance(value, str) else "")
def test_hostile_archives_are_refused(name, data):
    with pytest.raises(UnreadableModelError, match="golden"):
        golden.decode(data)


@pytest.mark.parametrize(
    "sheet", [b"", b"[]", b"{}", b"\xff", b'{"signature": {}, "proof": {}}', b'{"signature": 1, "proof": 2}']
)
def test_a_broken_sheet_is_an_error(sheet, odd_model):
    path = odd_model(Format.ONNX)
    carriers.write_members(path, Format.ONNX, {"xport.json": sheet})
    with pytest.raises(UnreadableModelError, match="proof inside"):
        proof.read(path, Format.ONNX)


def records(path):
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == masked_crc32c(data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked_crc32c(body)
        yield serving.PredictionLog.FromString(body)
        data = data[16 + length :]


def test_savedmodels_carry_warm_up_requests(odd, odd_model):
    path = odd_model(Format.SAVEDMODEL)
    proof.attach(path, Format.SAVEDMODEL, odd.signature, MADE, [(odd.inputs(2), {}), (odd.inputs(1), {})])
    logs = list(records(path / warmup.FILE))
    assert len(logs) == 2
    request = logs[0].predict_log.request
    assert (request.model_spec.name, request.model_spec.signature_name) == ("odd", "serving_default")
    assert set(request.inputs) == {"x:0", "input.1", "1"}
    proto = request.inputs["input.1"]
    assert proto.dtype == 1
    assert [dim.size for dim in proto.tensor_shape.dim] == [2, 3]
    assert proto.tensor_content == odd.inputs(2)["input.1"].tobytes()
    proof.attach(path, Format.SAVEDMODEL, Signature((), ()), MADE, [])
    assert not (path / warmup.FILE).exists()


def test_the_name_of_a_version_folder_is_its_parents(tmp_path):
    folder = tmp_path / "digits" / "1"
    folder.mkdir(parents=True)
    warmup.write(folder, [{"s": np.array(["a", b"b"], object)}])
    [log] = records(folder / warmup.FILE)
    assert log.predict_log.request.model_spec.name == "digits"
    assert list(log.predict_log.request.inputs["s"].string_val) == [b"a", b"b"]


_READ_WITH_TENSORFLOW = """
import tensorflow as tf
for record in tf.data.TFRecordDataset(path):  # checks the checksums
    assert record.numpy()
from tensorflow.core.framework import tensor_pb2
proto = tensor_pb2.TensorProto.FromString(tensor)
assert tf.make_ndarray(proto).tolist() == expected, proto
"""


@pytest.mark.parametrize(
    "array", [np.eye(3, dtype=np.float32), np.arange(3), np.array(True), np.ones(40_000, np.float16)]
)
def test_tensorflow_reads_what_we_write(array, tmp_path, tf_worker):
    (tmp_path / "m").mkdir()
    warmup.write(tmp_path / "m", [{"x": array}])
    [log] = records(tmp_path / "m" / warmup.FILE)
    tensor = log.predict_log.request.inputs["x"].SerializeToString()
    given = {"path": str(tmp_path / "m" / warmup.FILE), "tensor": tensor, "expected": array.tolist()}
    tf_worker.call("builtins:exec", _READ_WITH_TENSORFLOW, given)


def test_crc32c():
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    long = np.random.default_rng(0).integers(0, 256, 100_003, np.uint8).tobytes()
    table_only = 0xFFFFFFFF
    from xport.serve.checksum import _table

    table = _table().tolist()
    for byte in long:
        table_only = table[(table_only ^ byte) & 0xFF] ^ table_only >> 8
    assert crc32c(long) == table_only ^ 0xFFFFFFFF
