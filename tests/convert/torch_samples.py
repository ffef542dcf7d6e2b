"""Small modules and helpers that the tests of the PyTorch side share."""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime as ort
import torch
from torch import nn

from xport.convert.source import Source
from xport.convert.torch_loading import load_module
from xport.convert.torch_probe import probe_inputs
from xport.convert.torch_signature import call_module, derive_signature
from xport.signature import Signature

Pair = namedtuple("Pair", ["left", "right"])


class Net(nn.Module):
    def __init__(self, features: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(features, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(x))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(5, 6)

    def forward(self, ids: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
        hidden = self.table(ids) * scale[:, None, None]
        if bias is not None:
            hidden = hidden + bias
        return {"hidden": hidden, "pooled": hidden.mean(1), "extra": None}


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2 if bool(x.sum() > 0) else x - 1
        for _ in range(x.size(0)):
            y = y + 1
        return y


def run_onnx(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def arrays(signature: Signature, **sizes: int) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in probe_inputs(signature.inputs, sizes).items()}


def same(want: dict[str, np.ndarray], have: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
    assert list(want) == list(have)
    for name in want:
        assert want[name].dtype == have[name].dtype
        assert want[name].shape == have[name].shape
        np.testing.assert_allclose(
            want[name].astype(np.float64), have[name].astype(np.float64), rtol=tolerance, atol=tolerance
        )


def check_onnx(
    source: Source, step: Callable[..., None], path: Path, *settings: dict[str, int], tolerance: float = 1e-5
) -> Signature:
    """Convert to ONNX, then compare interface and numbers at each setting."""
    module = load_module(source)
    signature = derive_signature(source, module)
    step(source, path, signature, {})
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for specs, values in ((signature.inputs, session.get_inputs()), (signature.outputs, session.get_outputs())):
        assert [(s.name, list(s.shape or ())) for s in specs] == [(v.name, list(v.shape)) for v in values]
    for sizes in settings:
        inputs = arrays(signature, **sizes)
        same(call_module(module, signature, inputs), run_onnx(path, inputs), tolerance)
    return signature
