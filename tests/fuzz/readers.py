"""Our own readers, each as a function of bytes that ends, or raises what a reader may raise."""

from __future__ import annotations

import atexit
import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bodies

from xport import golden, proof
from xport.convert import onnx_signature, savedmodel_signature, tflite_signature
from xport.convert.many import plan_check, plan_text
from xport.errors import UsageError, XportError
from xport.formats import Format, detect
from xport.inspection import inspect
from xport.serve import torchserve_tensors
from xport.signature import TensorSpec
from xport.validate.inputs import read_npz

ALLOWED = (XportError, torchserve_tensors.BadRequestError)
"""What a reader may raise; everything else is a finding."""
_ROOM = Path(tempfile.mkdtemp(prefix="xport-fuzz-"))
atexit.register(shutil.rmtree, _ROOM, ignore_errors=True)
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


def _shown(path: Path) -> object:
    """What ``xport inspect`` prints, in both forms."""
    from xport.cli.run import run

    for form in ([], ["--json"]):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as told:
            code = run(["inspect", str(path), *form])
        if code == UsageError.exit_code:
            raise UsageError(told.getvalue())
        if code:
            raise RuntimeError(told.getvalue())
    return True


def _golden_seed() -> bytes:
    import numpy as np

    return golden.encode([({"x": np.zeros((1, 2), np.float32)}, {"y": np.ones((1, 2), np.float32)})])


_PROOF = b'{"sheet_version":1,"signature":{"inputs":[{"name":"x","dtype":"float32","shape":["batch",4]}],"outputs":[]},'
_PROOF += (
    b'"proof":{"proof_version":1,"source":{},"route":["onnx"],"versions":{},"options":{},"parity":[],"verified":true,'
)
_PROOF += b'"created":"2026-01-01T00:00:00+00:00"}}'
_FILES = ("x.onnx", "x.tflite", "state.pt", "script.pt", "program.pt2", "x.safetensors", "x.keras", "x.h5")

READERS = {
    "detect": Reader(_file("model", detect), _FILES),
    "proof_onnx": Reader(_file("m.onnx", lambda path: proof.read(path, Format.ONNX)), ("sealed.onnx",)),
    "proof_tflite": Reader(_file("m.tflite", lambda path: proof.read(path, Format.TFLITE)), ("sealed.tflite",)),
    "proof_torch": Reader(_file("m.pt", lambda path: proof.read(path, Format.TORCHSCRIPT)), ("sealed.pt",)),
    "proof_sheet": Reader(_sheet, (_PROOF,)),
    "golden": Reader(golden.decode, (_golden_seed(),)),
    "npz": Reader(_file("x.npz", read_npz), (_golden_seed(),)),
    "signature_text": Reader(_signature, (b"x:float32[batch,3,224,224]", b"a.b:int64[]", b"s:string[words]")),
    "plan": Reader(
        _plan, (b"default: {seed: 5}\nmodels: [{source: 'zoo:mnist_mlp', to: [onnx, {tflite: {seed: 6}}]}]",)
    ),
    "shown": Reader(_file("told.onnx", _shown), ("sealed.onnx",)),
    "inspect_onnx": Reader(_file("i.onnx", inspect), ("x.onnx",)),
    "inspect_tflite": Reader(_file("i.tflite", inspect), ("x.tflite",)),
    "inspect_savedmodel": Reader(_saved_model(inspect), ("saved/saved_model.pb",)),
    "signature_onnx": Reader(_file("s.onnx", onnx_signature.read_signature), ("x.onnx",)),
    "signature_tflite": Reader(_file("s.tflite", tflite_signature.read_signature), ("x.tflite",)),
    "signature_savedmodel": Reader(_saved_model(savedmodel_signature.read_signature), ("saved/saved_model.pb",)),
    "http_tf": Reader(bodies.http("/v1/models/one:predict"), bodies.TF_ONE),
    "http_tf_named": Reader(bodies.http("/v1/models/three:predict"), bodies.TF_THREE),
    "http_classify": Reader(bodies.http("/v1/models/classes:classify"), bodies.TF_EXAMPLES),
    "http_regress": Reader(bodies.http("/v1/models/values:regress"), bodies.TF_EXAMPLES),
    "http_v2": Reader(bodies.http_v2, bodies.v2_json()),
    "grpc_v2": Reader(bodies.grpc_v2, (bodies.grpc_v2_seed(raw=True), bodies.grpc_v2_seed(raw=False))),
    "grpc_tf": Reader(bodies.grpc_tf, (bodies.grpc_tf_seed(raw=True), bodies.grpc_tf_seed(raw=False))),
    "torchserve": Reader(bodies.torchserve("one"), bodies.torchserve_one()),
    "torchserve_named": Reader(bodies.torchserve("three"), bodies.TORCHSERVE_THREE),
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
