"""Architectures of the `transformers` package: exported with dynamic batch and sequence, to every target and back."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import torch
from zoo_transformers import ARCHITECTURES, build

import xport
from xport.signature import TensorSpec

TARGETS = ("torchscript", "exported", "onnx", "savedmodel", "tflite")


def arrays(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    inputs = {}
    for text in ARCHITECTURES[name].inputs:
        spec = TensorSpec.parse(text)
        shape = spec.bind(ARCHITECTURES[name].sizes)
        draw = rng.integers(0, 2, shape) if spec.dtype == "int64" else rng.standard_normal(shape)
        inputs[spec.name] = draw.astype(spec.dtype)
        if "mask" in spec.name:
            inputs[spec.name][:, 0] = 1
    return inputs


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_converts_to(name: str, target: str, tmp_path: Path) -> None:
    module = build(name)
    output = tmp_path / "model"
    xport.convert(module, to=target, output=output, inputs=ARCHITECTURES[name].inputs)
    inputs = arrays(name)
    with torch.no_grad():
        result = module(*[torch.from_numpy(array) for array in inputs.values()])
    expected = result if isinstance(result, tuple) else (result,)
    with xport.load(output) as artifact:
        found = artifact(inputs)
    for have, want in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(have, want.numpy(), rtol=1e-3, atol=1e-4)
