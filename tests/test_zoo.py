"""Every reference model, from every source, to every target: proven, and run at sizes the gate never saw."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import xport
from xport import models

TARGETS = ("torchscript", "exported", "onnx", "savedmodel", "tflite")
SOURCES = ("torchscript", "exported", "onnx")
SIZES = {"batch": 5, "sequence": 11, "source": 9, "target": 6, "height": 40, "width": 56}
NAMES = {"torchscript": "model.pt", "exported": "model.pt2", "onnx": "model.onnx", "tflite": "model.tflite"}

# (model, target) that no route can serve, with the reason; an unexpected success fails the test.
REFUSED: dict[tuple[str, str], str] = {}


def expected_failures(model: str, *targets: str) -> list[pytest.MarkDecorator]:
    reasons = [REFUSED[model, target] for target in targets if (model, target) in REFUSED]
    return [pytest.mark.xfail(reason=reason, strict=True, raises=xport.XportError) for reason in reasons]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Files to start from, made once; `test_zoo_model_converts_to` proves them."""

    @functools.cache
    def made(model: str, source: str) -> Path:
        path = tmp_path_factory.mktemp(model) / NAMES[source]
        xport.convert(f"zoo:{model}@small", to=source, output=path, verify=False)
        return path

    return made


def check_at_another_size(path: Path, model: str) -> None:
    zoo = models.build(model)
    inputs = zoo.example_inputs(SIZES, seed=7)
    with xport.load(path) as artifact, xport.load(f"zoo:{model}@small") as source:
        found, expected = artifact(inputs), source(inputs)
    assert list(found) == list(expected) == list(zoo.outputs)
    for name, want in expected.items():
        assert found[name].dtype == want.dtype
        assert found[name].shape == want.shape
        np.testing.assert_allclose(found[name], want, rtol=1e-3, atol=1e-4)


@pytest.mark.slow(turns=3)  # a third of them a day
@pytest.mark.parametrize(
    ("model", "target"),
    [pytest.param(m, t, marks=expected_failures(m, t)) for m in models.names() for t in TARGETS],
)
def test_zoo_model_converts_to(model: str, target: str, tmp_path: Path) -> None:
    output = tmp_path / NAMES.get(target, "model")
    artifact = xport.convert(f"zoo:{model}@small", to=target, output=output)
    assert artifact.proof is not None
    assert artifact.proof.verified
    check_at_another_size(output, model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "source", "target"),
    [pytest.param(m, s, t, marks=expected_failures(m, s, t)) for m in models.names() for s in SOURCES for t in TARGETS],
)
def test_zoo_model_converts_from(
    model: str, source: str, target: str, tmp_path: Path, sources: Callable[[str, str], Path]
) -> None:
    first = sources(model, source)
    output = tmp_path / NAMES.get(target, "model")
    artifact = xport.convert(first, to=target, output=output)
    assert artifact.proof is not None
    assert artifact.proof.verified
    check_at_another_size(output, model)
