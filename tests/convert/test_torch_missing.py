"""ATen operators that ``torch.onnx`` lacks or gets wrong: the same numbers as PyTorch at sizes nobody exported at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xport.convert import torch_to_onnx
from xport.convert.source import open_source
from xport.convert.torch_signature import derive_signature


class Net(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.function(x, y))


def reductions(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    index = (y * 0).long() + torch.arange(y.shape[0]).unsqueeze(1) // 2
    ways = ("sum", "mean", "prod", "amax", "amin")
    floats = [x.scatter_reduce(0, index, y, way, include_self=own) for way in ways for own in (True, False)]
    whole = (10 * x).long().scatter_reduce(0, index[:, :3], (10 * y).long(), "mean", include_self=False)
    return [*floats, whole, (10 * x).long().scatter_reduce(0, index, (10 * y).long(), "amax", include_self=False)]


def places(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    bounds, rows = torch.tensor([-1.0, 0.0, 0.5, 2.0]), y.sort(-1).values
    return [
        torch.bucketize(x, bounds, right=True),
        torch.bucketize(bounds, bounds),
        torch.searchsorted(bounds, x, out_int32=True),
        torch.searchsorted(rows, y, right=True),
        torch.searchsorted(rows, y, side="left"),
    ]


def shifts(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    whole, small = (1000 * x).long(), (100 * y).int()
    return [whole >> 1, whole << 3, small >> 4, small << 2, whole >> 6, (whole << 62), small << 31]


def quantized(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    steps, zeros = torch.tensor([0.1, 0.02, 0.3, 0.25]), torch.tensor([3, 0, -2, 7], dtype=torch.int32)
    whole = torch.fake_quantize_per_tensor_affine(x, 0.05, 3, 0, 255)
    by_tensor = torch.fake_quantize_per_tensor_affine(x, steps[0], zeros[0], -8, 7)
    return [whole, by_tensor, torch.fake_quantize_per_channel_affine(y, steps, zeros, 1, -7, 7)]


CASES: dict[str, Any] = {
    "fake quantization": quantized,
    "running extremes": lambda x, y: [*x.cummax(1), *torch.cummin(y, 0), *(x > 0).int().cummax(-1)],
    "running products": lambda x, y: [x.cumprod(0), y.cumprod(-1)],
    "running sums of far exponents": lambda x, y: [torch.logcumsumexp(200 * x, 1), torch.logcumsumexp(y, 0)],
    "scattering": reductions,
    "places among sorted numbers": places,
    "ranks": lambda x, y: [
        *x.median(-1),
        *y.kthvalue(2, 1, keepdim=True),
        *torch.cat([x, y]).median(0, keepdim=True),
        y.median(),
        torch.hypot(x, y),
    ],
    "taken along an axis": lambda x, y: [
        torch.take_along_dim(x, y.argsort(-1), -1),
        x.take_along_dim(torch.tensor([[2, 0, 0]]), dim=1),
        y.take_along_dim(torch.tensor([3, 0])),
    ],
    "shifts": shifts,
    "pools to sizes that divide nothing": lambda x, y: [
        F.adaptive_max_pool1d(x, 3),
        F.adaptive_max_pool2d(x.unsqueeze(0) + torch.arange(5.0).reshape(5, 1, 1), (3, 2)),
        F.adaptive_max_pool2d(y.unsqueeze(1).unsqueeze(1), (1, 5)),
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_onnx_runtime_gives_pytorchs_numbers(case: str, tmp_path: Path) -> None:
    module = Net(CASES[case]).eval()
    pooled = case.startswith("pools")
    shapes = ["x:float32[5,7]", "y:float32[batch,7]"] if pooled else ["x:float32[batch,4]", "y:float32[batch,4]"]
    source = open_source(module, inputs=shapes)
    torch_to_onnx.convert(source, tmp_path / "m.onnx", derive_signature(source), {})
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    rng = np.random.default_rng(1)
    for batch in (1, 6):
        x = rng.standard_normal((5, 7) if pooled else (batch, 4)).astype(np.float32)
        y = rng.standard_normal((batch, 7 if pooled else 4)).astype(np.float32)
        wanted = module(torch.from_numpy(x), torch.from_numpy(y))
        found = session.run(None, {"x": x, "y": y})
        assert len(found) == len(wanted)
        for have, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(have, want.numpy(), rtol=1e-5, atol=1e-6, strict=True)


class Constrained(nn.Module):
    """Weights made of others by decompositions that ONNX lacks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.utils.parametrizations.orthogonal(nn.Linear(4, 4))
        self.second = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.second(self.first(x))
        return found


def test_parametrized_weights_are_computed_once_and_the_module_stays_as_it_is(tmp_path: Path) -> None:
    module = Constrained().eval()
    names = set(module.state_dict())
    source = open_source(module, inputs=["x:float32[batch,4]"])
    torch_to_onnx.convert(source, tmp_path / "m.onnx", derive_signature(source), {})
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    x = torch.rand(3, 4)
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], module(x).detach().numpy(), rtol=1e-5)
    assert set(module.state_dict()) == names
    module(x).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
