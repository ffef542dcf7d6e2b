"""TensorFlow's primitives for quantised arithmetic."""

from __future__ import annotations

from xport.convert.primitives.tf_shapes import TfShapes


class TfQuantization(TfShapes):
    """Primitives for quantised arithmetic."""
