import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Makes files that a stand-in runner misbehaves on, in real workers."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE / "standins"), os.getenv("PYTHONPATH")])))

    def make(*words, name="standin.tflite"):
        path = tmp_path / name
        path.write_bytes(b"0123TFL3" + " ".join(words).encode())
        return path

    return make


@pytest.fixture
def without_float64(monkeypatch):
    """Saves the time of importing PyTorch where the floor does not matter."""
    from xport.validate.matrix import answers

    monkeypatch.setattr(answers, "reference64", lambda *_, **__: None)
