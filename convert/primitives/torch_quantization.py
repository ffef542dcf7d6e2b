"""PyTorch's primitives for quantised arithmetic."""

from __future__ import annotations

from xport.convert.primitives.torch_shapes import TorchShapes


class TorchQuantization(TorchShapes):
    """Primitives for quantised arithmetic."""
