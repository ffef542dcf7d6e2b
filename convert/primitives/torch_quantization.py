"""PyTorch's primitives for quantised arithmetic: products of integers that are exact in floats."""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.primitives.torch_shapes import TorchShapes


class TorchQuantization(TorchShapes):
    """Products of small integers."""

    exact_float = ("float64", 1 << 53)
    """A float type with fast products on every device, and the size up to which its whole numbers are exact."""

    def to_int32(self, x: Any) -> Any:
        """Whole numbers in floats as int32; what is too large wraps around."""
        return x.to(torch.int64).to(torch.int32)

    def integer_matmul(self, a: Any, b: Any, bound: int) -> Any:
        """A product of integer matrices, as int32; see TensorFlow's."""
        return self.to_int32(torch.matmul(a.to(torch.float64), b.to(torch.float64)))
