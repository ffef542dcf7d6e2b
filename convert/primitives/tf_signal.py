"""TensorFlow's primitives for Fourier transforms."""

from __future__ import annotations

from xport.convert.primitives.tf_shapes import TfShapes


class TfSignal(TfShapes):
    """Primitives for Fourier transforms."""
