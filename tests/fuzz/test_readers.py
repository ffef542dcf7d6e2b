"""What the fuzzer found is read again, and every reader works on what it is given to begin with."""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import zipfile
from pathlib import Path

import pytest

from xport.errors import UnreadableModelError

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "hostile")]
import readers  # noqa: E402
import run  # noqa: E402


@pytest.mark.parametrize("name", readers.READERS)
@pytest.mark.parametrize("data", [b"", b"\0", b"PK\x03\x04", b"[" * 100_000, b"\xff" * 1000])
def test_next_to_nothing(name: str, data: bytes) -> None:
    readers.check(name, data)


@pytest.mark.parametrize("name", ["detect", "golden", "npz", "torchserve", "proof_torch"])
@pytest.mark.parametrize(("entry", "offset"), [("crc", 16), ("method", 10), ("flags", 8), ("place", 42)])
def test_archives_whose_directory_lies(name: str, entry: str, offset: int) -> None:
    """Found by fuzzing: `zipfile` raises another exception for each of these."""
    sound = readers._golden_seed() if name != "proof_torch" else torch_archive()
    directory = sound.index(b"PK\x01\x02")
    for value in (0x01, 0x63, 0xFE):
        data = bytearray(sound)
        data[directory + offset] ^= value
        data[directory + offset + 1] ^= value
        readers.check(name, bytes(data))


def torch_archive() -> bytes:
    """What the proof of a TorchScript file is looked for in."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member, content in (("extra/xport.json", b"{}"), ("extra/golden.npz", b"AAAA"), ("data.pkl", b"")):
            archive.writestr(f"m/{member}", content)
    return stream.getvalue()


def test_an_interface_without_an_element_type() -> None:
    """Found by fuzzing."""
    import seeds

    model = seeds.onnx_model()
    model.graph.output[0].type.tensor_type.elem_type = 0
    with pytest.raises(UnreadableModelError, match="element type"):
        readers.READERS["signature_onnx"].read(model.SerializeToString())


def tiny_tflite(*, graph: int = 0, tensor: int = 0) -> bytes:
    """A TFLite file without operators, whose signature names a graph and a tensor."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, main, only = schema.ModelT(), schema.SubGraphT(), schema.TensorT()
    only.name, only.shape, only.buffer = b"x", [1], 0
    main.tensors, main.inputs, main.outputs, main.operators = [only], [0], [0], []
    entry, signature = schema.TensorMapT(), schema.SignatureDefT()
    entry.name, entry.tensorIndex = b"x", tensor
    signature.signatureKey, signature.subgraphIndex = b"serving_default", graph
    signature.inputs = signature.outputs = [entry]
    model.version, model.subgraphs, model.buffers = 3, [main], [schema.BufferT()]
    model.operatorCodes, model.signatureDefs = [], [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("wrong", [{"tensor": 7}, {"tensor": 2**31}, {"graph": 3}])
def test_a_tflite_signature_of_what_is_not_there(wrong: dict[str, int]) -> None:
    """Found by fuzzing."""
    assert readers.READERS["signature_tflite"].read(tiny_tflite())
    with pytest.raises(UnreadableModelError, match="a signature"):
        readers.READERS["signature_tflite"].read(tiny_tflite(**wrong))


HEADERS = (
    "(",
    "{1:2,'a':3}",
    "{[]:1}",
    "{'shape':" + "(" * 500,
    "{'descr':'<f4','fortran_order':False,'shape':(1%s,)}" % ("0" * 30),
)


@pytest.mark.parametrize("name", ["npz", "golden", "torchserve"])
@pytest.mark.parametrize("header", HEADERS)
def test_arrays_whose_header_is_no_header(name: str, header: str) -> None:
    """Found by fuzzing: numpy raises a TokenError, a TypeError, an OverflowError."""
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", array)
    for data in (stream.getvalue(), array):
        with pytest.raises(readers.ALLOWED):
            readers.READERS[name].read(data)


@pytest.mark.parametrize("name", ["npz", "golden", "torchserve"])
def test_archives_with_broken_lzma(name: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", bytes(range(256)) * 20)
    data = bytearray(stream.getvalue())
    data[60:80] = bytes(20)
    with pytest.raises(readers.ALLOWED):
        readers.READERS[name].read(bytes(data))


@pytest.mark.parametrize("name", [n for n, r in readers.READERS.items() if all(isinstance(s, bytes) for s in r.seeds)])
def test_a_reader_takes_what_it_begins_with(name: str) -> None:
    """What is refused at once leads a fuzzer nowhere."""
    for seed in readers.READERS[name].seeds:
        assert readers.READERS[name].read(seed) is not None


_TENSOR = {"name": "x", "dtype": "float32", "shape": [1]}
_VERDICT = {"output": "y", "verdict": "exact", "rule": "exact", "reason": "Equal."}
WRONG = (
    {"proof": {"source": 5}},
    {"proof": {"source": {"name": ["x"]}}},
    {"proof": {"route": [1]}},
    {"proof": {"route": 7}},
    {"proof": {"versions": []}},
    {"proof": {"options": "abc"}},
    {"proof": {"parity": "abc"}},
    {"proof": {"parity": [5]}},
    {"proof": {"parity": [{"output": "y"}]}},
    {"proof": {"parity": [{**_VERDICT, "max_abs": "x", "ratio": None}]}},
    {"proof": {"verified": "yes"}},
    {"proof": {"created": {}}},
    {"signature": {"inputs": [{**_TENSOR, "name": 5}], "outputs": []}},
    {"signature": {"inputs": [{**_TENSOR, "dtype": "nonsense"}], "outputs": []}},
    {"signature": {"inputs": [{**_TENSOR, "dtype": []}], "outputs": []}},
    {"signature": {"inputs": [{**_TENSOR, "shape": "abc"}], "outputs": []}},
    {"signature": {"inputs": [{**_TENSOR, "shape": [-1]}], "outputs": []}},
    {"signature": {"inputs": [{**_TENSOR, "shape": [{}]}], "outputs": []}},
)


@pytest.mark.parametrize("wrong", WRONG)
def test_proofs_whose_parts_are_of_other_types(wrong: dict[str, dict[str, object]]) -> None:
    sheet = json.loads(readers._PROOF)
    readers.READERS["proof_sheet"].read(json.dumps(sheet).encode())
    for part, changes in wrong.items():
        sheet[part] |= changes
    with pytest.raises(UnreadableModelError, match="broken"):
        readers.READERS["proof_sheet"].read(json.dumps(sheet).encode())


@pytest.mark.slow
def test_readers_take_the_files_that_they_begin_with(tmp_path: Path) -> None:
    names = [n for n, reader in readers.READERS.items() if any(isinstance(s, str) for s in reader.seeds)]
    corpus = run.prepared(tmp_path, names)
    for name in names:
        seeds = sorted((corpus / name).glob("seed*"))
        assert len(seeds) == len(readers.READERS[name].seeds)
        for seed in seeds:
            assert readers.READERS[name].read(seed.read_bytes()) is not None


@pytest.mark.slow
def test_seeds_and_changed_ones_are_read_or_refused(tmp_path: Path) -> None:
    corpus = run.prepared(tmp_path, list(readers.READERS))
    draw = random.Random(0)
    for name in readers.READERS:
        for seed in sorted((corpus / name).glob("seed*")):
            data = seed.read_bytes()
            readers.check(name, data)
            for _ in range(50):
                changed = bytearray(data)
                for _ in range(draw.randint(1, 8)):
                    changed[draw.randrange(len(changed))] = draw.randrange(256)
                readers.check(name, bytes(changed))
