"""What the fuzzer found is read again, and every reader works on what it is given to begin with."""

from __future__ import annotations

import io
import random
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


@pytest.mark.parametrize("name", [n for n, r in readers.READERS.items() if all(isinstance(s, bytes) for s in r.seeds)])
def test_a_reader_takes_what_it_begins_with(name: str) -> None:
    """What is refused at once leads a fuzzer nowhere."""
    for seed in readers.READERS[name].seeds:
        assert readers.READERS[name].read(seed) is not None


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
