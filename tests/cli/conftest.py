"""A command line to call in this process, and a model for it."""

import json

import pytest


@pytest.fixture
def tiny(tmp_path, monkeypatch, save_tiny):
    """An ONNX model, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return save_tiny(tmp_path / "tiny.onnx")


@pytest.fixture
def call_json(call):
    """Calls the command line with ``--json``; returns exit code and the one object on stdout."""

    def call_json(*arguments):
        code, out, _ = call(*arguments, "--json")
        return code, json.loads(out)

    return call_json


@pytest.fixture
def without_float64(monkeypatch):
    """Saves the time of importing PyTorch where the floor does not matter."""
    from xport.convert import expectation

    monkeypatch.setattr(expectation, "reference64", lambda *_, **__: None)
