"""Networks as users write them, to every target, run at sizes the gate never saw."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import torch
from user_nets import NETS, build

import xport
from xport.signature import TensorSpec

TARGETS = ("torchscript", "exported", "onnx", "savedmodel", "tflite")
SIZES = {"batch": 3, "length": 7, "time": 23, "nodes": 4, "edges": 9}


def arrays(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    inputs = {}
    for text in NETS[name].inputs:
        spec = TensorSpec.parse(text)
        shape = spec.bind(SIZES)
        whole = spec.dtype in ("int64", "uint8")
        draw = rng.integers(0, NETS[name].limits.get(spec.name, 5), shape) if whole else rng.standard_normal(shape)
        inputs[spec.name] = draw.astype(spec.dtype)
    return inputs


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETS)
def test_user_net_converts_to(name: str, target: str, tmp_path: Path) -> None:
    module = build(name)
    inputs = arrays(name)
    xport.convert(module, to=target, output=tmp_path / "model", inputs=NETS[name].inputs)
    with torch.no_grad():
        result = module(*[torch.from_numpy(array) for array in inputs.values()])
    expected = list(result.values()) if isinstance(result, dict) else [result] if torch.is_tensor(result) else result
    with xport.load(tmp_path / "model") as artifact:
        found = artifact(inputs)
    assert len(found) == len(expected)
    for have, want in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(have, want.numpy(), rtol=1e-3, atol=1e-4)
