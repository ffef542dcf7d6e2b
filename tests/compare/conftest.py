"""A source of a few numbers, and contenders that behave as a test wants them to."""

import os
from pathlib import Path

import pytest

from xport.artifact import Artifact
from xport.formats import Format
from xport.validate.comparing import making

TESTS = Path(__file__).parent.parent


@pytest.fixture
def made_of(monkeypatch):
    """Replaces conversions: a format's result is a stand-in that does what the words say, or an error."""
    path = os.pathsep.join(filter(None, [str(TESTS / "validate" / "standins"), os.getenv("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)

    def made_of(**results):
        def convert(source, target, output, **_):
            result = results[target.value]
            if isinstance(result, Exception):
                raise result
            assert target is Format.TFLITE  # what the stand-in runs
            output.write_bytes(b"0123TFL3" + result.encode())
            return Artifact(output, target, None)

        monkeypatch.setattr(making, "convert", convert)

    return made_of


@pytest.fixture
def without_float64(monkeypatch):
    """Saves the time of importing PyTorch where the floor does not matter."""
    from xport.validate.matrix import answers

    monkeypatch.setattr(answers, "reference64", lambda *_, **__: None)
