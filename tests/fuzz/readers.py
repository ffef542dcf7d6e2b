"""Our own readers, each as a function of bytes that ends, or raises what a reader may raise."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xport import golden, proof
from xport.convert import onnx_signature, savedmodel_signature, tflite_signature
from xport.convert.many import plan_check, plan_text
from xport.errors import XportError
from xport.formats import Format, detect
from xport.inspection import inspect
from xport.serve import torchserve_tensors
from xport.serve.protocols import json_text, tf_examples, tf_predict, v2_infer, v2_protos
from xport.serve.tf_serving_protos import from_tensor_proto
from xport.signature import Signature, TensorSpec
from xport.tf_protos import framework
from xport.validate.inputs import read_npz

ALLOWED = (XportError, torchserve_tensors.BadRequestError)
"""What a reader may raise; everything else is a finding."""
SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("batch", 2)), TensorSpec("ids", "int64", None), TensorSpec("s_bytes", "string", None)),
    (TensorSpec("y", "float32", ("batch", 2)),),
)
_ROOM = Path(tempfile.mkdtemp(prefix="xport-fuzz-"))
atexit.register(shutil.rmtree, _ROOM, ignore_errors=True)
_LIMIT = 2**20
_PLAN_BYTES = 4096


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
        read: Reads bytes.
        seeds: Sound examples to begin with; names of files of `tests/hostile/seeds.py` stand for their content.
    """

    read: Callable[[bytes], object]
    seeds: tuple[bytes | str, ...]


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of files as a reader of bytes."""

    def reader(data: bytes) -> object:
        path = _ROOM / name
        path.write_bytes(data)
        return read(path)

    return reader


def _saved_model(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def reader(data: bytes) -> object:
        folder = _ROOM / "saved"
        folder.mkdir(exist_ok=True)
        (folder / "saved_model.pb").write_bytes(data)
        return read(folder)

    return reader


def _sheet(data: bytes) -> object:
    (_ROOM / "model.h5.xport.json").write_bytes(data)
    return proof.read(_ROOM / "model.h5", Format.KERAS)


def _signature(data: bytes) -> object:
    return TensorSpec.parse(data.decode("utf-8", "surrogateescape"))


def _plan(data: bytes) -> object:
    if b"://" in data or len(data) > _PLAN_BYTES:  # nothing is to be fetched
        return None
    (_ROOM / "plan.yaml").write_bytes(data)
    return plan_check.check_plan(plan_text.read_plan(_ROOM / "plan.yaml"), _ROOM, output=str(_ROOM / "out"))


def _tf_predict(data: bytes) -> object:
    return tf_predict.tensors(tf_predict.read_body(json_text.parse(data)), SIGNATURE)


def _tf_examples(data: bytes) -> object:
    return tf_examples.read_body(json_text.parse(data))


def _v2(data: bytes) -> object:
    """The first byte says how long the JSON is; 0 stands for no header."""
    length = str(data[0]) if data and data[0] else None
    body = v2_infer.read_body(data[1:], length)
    v2_infer.wanted(body.document, SIGNATURE)
    return v2_infer.tensors(body, SIGNATURE)


def _grpc_v2(data: bytes) -> object:
    request = v2_protos.inference.ModelInferRequest()
    if not _parsed(request, data):
        return None
    return v2_protos.tensors(request, SIGNATURE)


def _grpc_tf(data: bytes) -> object:
    tensor = framework.TensorProto()
    return from_tensor_proto(tensor, limit=_LIMIT) if _parsed(tensor, data) else None


def _parsed(message: object, data: bytes) -> bool:
    """Whether gRPC itself would have let a message through."""
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(data)  # type: ignore[attr-defined]
    except DecodeError:
        return False
    return True


def _torchserve(data: bytes) -> object:
    value = torchserve_tensors.parse(data)
    return [torchserve_tensors.json_array(value, dtype, "x") for dtype in ("float32", "int8", "bool", "string")]


def _v2_seed() -> bytes:
    head = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}'
    return bytes([len(head)]) + head + bytes(8)


def _golden_seed() -> bytes:
    import numpy as np

    return golden.encode([({"x": np.zeros((1, 2), np.float32)}, {"y": np.ones((1, 2), np.float32)})])


_JSON = (b'{"instances":[[1.0,2.0]]}', b'{"inputs":{"x":[[1,2]],"ids":[3],"s_bytes":{"b64":"AA=="}}}')
_PROOF = b'{"sheet_version":1,"signature":{"inputs":[{"name":"x","dtype":"float32","shape":["batch",4]}],"outputs":[]},'
_PROOF += (
    b'"proof":{"proof_version":1,"source":{},"route":["onnx"],"versions":{},"options":{},"parity":[],"verified":true,'
)
_PROOF += b'"created":"2026-01-01T00:00:00+00:00"}}'
_FILES = ("x.onnx", "x.tflite", "state.pt", "script.pt", "program.pt2", "x.safetensors", "x.keras", "x.h5")

READERS = {
    "detect": Reader(_file("model", detect), _FILES),
    "proof_onnx": Reader(_file("m.onnx", lambda path: proof.read(path, Format.ONNX)), ("x.onnx",)),
    "proof_tflite": Reader(_file("m.tflite", lambda path: proof.read(path, Format.TFLITE)), ("x.tflite",)),
    "proof_torch": Reader(_file("m.pt", lambda path: proof.read(path, Format.TORCHSCRIPT)), ("script.pt",)),
    "proof_sheet": Reader(_sheet, (_PROOF,)),
    "golden": Reader(golden.decode, (_golden_seed(),)),
    "npz": Reader(_file("x.npz", read_npz), (_golden_seed(),)),
    "signature_text": Reader(_signature, (b"x:float32[batch,3,224,224]", b"a.b:int64[]", b"s:string[words]")),
    "plan": Reader(
        _plan, (b"default: {seed: 5}\nmodels: [{source: 'zoo:mnist_mlp', to: [onnx, {tflite: {seed: 6}}]}]",)
    ),
    "inspect_onnx": Reader(_file("i.onnx", inspect), ("x.onnx",)),
    "inspect_tflite": Reader(_file("i.tflite", inspect), ("x.tflite",)),
    "inspect_savedmodel": Reader(_saved_model(inspect), ("saved/saved_model.pb",)),
    "signature_onnx": Reader(_file("s.onnx", onnx_signature.read_signature), ("x.onnx",)),
    "signature_tflite": Reader(_file("s.tflite", tflite_signature.read_signature), ("x.tflite",)),
    "signature_savedmodel": Reader(_saved_model(savedmodel_signature.read_signature), ("saved/saved_model.pb",)),
    "http_tf": Reader(_tf_predict, _JSON),
    "http_examples": Reader(_tf_examples, (b'{"examples":[{"x":[1.0],"s":"a"}],"context":{"c":[1]}}',)),
    "http_v2": Reader(_v2, (b'\x00{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}', _v2_seed())),
    "grpc_v2": Reader(
        _grpc_v2, (b"\x0a\x01m", b"\x2a\x0d\x0a\x01x\x12\x04FP32\x1a\x02\x01\x02\x3a\x08\0\0\0\0\0\0\0\0")
    ),
    "grpc_tf": Reader(_grpc_tf, (b"\x08\x01\x12\x04\x12\x02\x08\x02\x22\x08\0\0\0\0\0\0\0\0",)),
    "torchserve_json": Reader(_torchserve, _JSON),
    "torchserve_npz": Reader(torchserve_tensors.read_npz, (_golden_seed(),)),
}
"""Every reader by name."""


def check(name: str, data: bytes) -> None:
    """Let a reader read.

    Args:
        name: The reader.
        data: What it reads.

    Raises:
        Exception: What it may not raise.
    """
    try:
        READERS[name].read(data)
    except ALLOWED:
        return
