"""PyTorch's primitives for resize, grid sampling and region pooling."""

from __future__ import annotations

from xport.convert.primitives.torch_shapes import TorchShapes


class TorchResampling(TorchShapes):
    """Primitives for resize, grid sampling and region pooling."""
