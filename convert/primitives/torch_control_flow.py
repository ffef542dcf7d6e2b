"""PyTorch's primitives for branches and loops."""

from __future__ import annotations

from xport.convert.primitives.torch_shapes import TorchShapes


class TorchControlFlow(TorchShapes):
    """Primitives for branches and loops."""
