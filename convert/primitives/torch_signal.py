"""PyTorch's primitives for Fourier transforms."""

from __future__ import annotations

from xport.convert.primitives.torch_shapes import TorchShapes


class TorchSignal(TorchShapes):
    """Primitives for Fourier transforms."""
