"""PyTorch's primitives for scatter, sort and selection."""

from __future__ import annotations

from xport.convert.primitives.torch_shapes import TorchShapes


class TorchSelection(TorchShapes):
    """Primitives for scatter, sort and selection."""
