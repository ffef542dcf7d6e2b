"""PyTorch's sizes that only a run knows."""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.lowering.values import HostVector
from xport.convert.primitives.torch_linear import TorchLinear

_torch: Any = torch


class TorchSizes(TorchLinear):
    """Sizes that are the content of tensors.

    Eager code reads them; under `torch.export` and `torch.jit.trace` they are computed by tensor operations, so that
    nothing seen while a graph is recorded is baked into it.
    """

    @property
    def tracing(self) -> bool:
        """Whether `torch.jit.trace` is recording."""
        return bool(_torch.jit.is_tracing())

    @property
    def staged(self) -> bool:
        """Whether a graph is being recorded rather than run."""
        return bool(self.tracing or torch.compiler.is_compiling())

    def as_size(self, scalar: Any) -> Any:
        """A non-negative run-time scalar as a size."""
        if self.tracing:
            return scalar  # tracing records a tensor used as a size; item() would bake its value in
        size = scalar.item()
        if self.staged:
            _torch._check(size >= 0)
        return size

    def as_known_sizes(self, vector: Any) -> list[Any]:
        """The elements of a vector of non-negative sizes."""
        return [self.as_size(vector[i]) for i in range(vector.shape[0])]

    def shape_tensor(self, x: Any) -> Any:
        """The sizes as an int64 vector."""
        return self.stack(HostVector(list(x.shape)))

    def mask_of(self, axes: Any, rank: int) -> Any:
        """Which of ``rank`` axes a tensor of axes names."""
        wrapped = torch.where(axes < 0, axes + rank, axes).reshape(-1, 1)
        return (wrapped == torch.arange(rank, device=axes.device)[None]).any(0)
