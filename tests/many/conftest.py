"""Plans, tiny models, and jobs that take no time."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture
def models(tmp_path, monkeypatch, save_tiny):
    """The current folder, with models a.onnx, b.onnx and c.onnx in it."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate("abc"):
        save_tiny(tmp_path / f"{name}.onnx", scale=1.0 + i)
    return tmp_path


@pytest.fixture
def plan(models):
    """Writes a plan file and returns its path."""

    def write(text, name="plan.yaml"):
        path = models / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def quick_jobs(monkeypatch):
    """Lets tasks copy their source instead of converting it; names of sources say what goes wrong."""
    from xport.convert.many import carry_out

    monkeypatch.setattr(carry_out, "JOB", "many_jobs:convert_one")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
