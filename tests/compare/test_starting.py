"""Starts of real processes."""

import numpy as np

from xport.convert.source import open_source
from xport.signature import Signature, TensorSpec
from xport.validate.comparing.starting import Settings, Starter, start_all
from xport.validate.matrix.subjects import Subject

SIGNATURE = Signature((TensorSpec("x", "float32", ("batch", 4)),), (TensorSpec("y", "float32", ("batch", 3)),))


def starter(path, name):
    from dataclasses import replace

    source = replace(open_source(path), interface=SIGNATURE)
    return Starter(Subject(name, source, 1, ""), {"x": np.zeros((1, 4), np.float32)})


def test_every_part_of_every_start_is_measured(tiny, save_tiny, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(tiny.read_bytes()[:-40])
    told = []
    settings = Settings("cpu", 1, 100.0, False, tmp_path)
    found = start_all([starter(tiny, "a"), starter(broken, "b")], 2, settings, told.append)
    assert len(found["a"].starts) == 2
    for start in found["a"].starts:
        assert min(start.process, start.imported, start.loaded, start.first) > 0
        assert start.process_memory < start.imported_memory <= start.first_memory
    low, high = found["a"].span
    assert low <= found["a"].typical.total <= high
    assert found["a"].cached is None
    assert not found["b"].starts
    assert "broken" in found["b"].reason
    assert told == ["starting a (1 of 2)", "starting b (1 of 2)", "starting a (2 of 2)"]  # a failed one is left alone
