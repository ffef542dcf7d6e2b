"""What stands in for operations that ``torch.export`` or ONNX cannot follow, while a module is exported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import torch
from torch import nn
from torch.nn.utils import parametrize


@contextlib.contextmanager
def standins() -> Iterator[None]:
    """While a module is exported, let some functions be what they mean in terms of others.

    Fake quantization has no form for tracing at all; ``take_along_dim`` would fix every size.

    Yields:
        Nothing.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch, "fake_quantize_per_tensor_affine", per_tensor))
        stack.enter_context(mock.patch.object(torch, "fake_quantize_per_channel_affine", per_channel))
        for owner in (torch, torch.Tensor):
            stack.enter_context(mock.patch.object(owner, "take_along_dim", take_along_dim))
        yield


def take_along_dim(
    input: torch.Tensor,  # noqa: A002 the parameters' names are PyTorch's
    indices: torch.Tensor,
    dim: int | None = None,
) -> torch.Tensor:
    """``torch.take_along_dim``: elements along an axis; other axes are broadcast against each other."""
    if dim is None:
        return input.reshape(-1).gather(0, indices.reshape(-1))
    axis = dim % input.ndim
    shared = [b if _is_one(a) else a for a, b in zip(input.shape, indices.shape, strict=True)]
    wide, places = (v.expand([*shared[:axis], v.shape[axis], *shared[axis + 1 :]]) for v in (input, indices))
    return wide.gather(axis, places)


def _is_one(size: object) -> bool:
    return isinstance(size, int) and size == 1


def per_tensor(
    input: torch.Tensor,  # noqa: A002 the parameters' names are PyTorch's
    scale: float | torch.Tensor,
    zero_point: int | torch.Tensor,
    quant_min: int,
    quant_max: int,
) -> torch.Tensor:
    """``torch.fake_quantize_per_tensor_affine``, rounding as its kernels do: times the reciprocal, half to even."""
    scale = torch.as_tensor(scale, dtype=input.dtype, device=input.device)
    places = torch.round(input * scale.reciprocal()) + zero_point
    return (places.clamp(quant_min, quant_max) - zero_point) * scale


def per_channel(
    input: torch.Tensor,  # noqa: A002 the parameters' names are PyTorch's
    scale: torch.Tensor,
    zero_point: torch.Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
) -> torch.Tensor:
    """``torch.fake_quantize_per_channel_affine``."""
    shape = [-1 if i == axis % input.ndim else 1 for i in range(input.ndim)]
    return per_tensor(input, scale.reshape(shape), zero_point.reshape(shape).to(input.dtype), quant_min, quant_max)


@contextlib.contextmanager
def settled_parametrizations(module: nn.Module) -> Iterator[None]:
    """Compute parametrized weights once, so that an exported program has them and not how they come about.

    Args:
        module: The module in evaluation mode; it is left as it is.

    Yields:
        Nothing.
    """
    parametrized = [each for each in module.modules() if parametrize.is_parametrized(each)]
    if not parametrized or module.training:
        yield
        return
    with parametrize.cached():
        with torch.no_grad():
            for each in parametrized:
                for name in each.parametrizations:  # type: ignore[union-attr]
                    getattr(each, name)
        yield
