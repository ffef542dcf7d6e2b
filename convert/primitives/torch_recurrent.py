"""PyTorch's primitives for recurrent networks."""

from __future__ import annotations

from xport.convert.primitives.torch_shapes import TorchShapes


class TorchRecurrent(TorchShapes):
    """Primitives for recurrent networks."""
