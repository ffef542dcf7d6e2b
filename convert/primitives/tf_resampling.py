"""TensorFlow's primitives for resize, grid sampling and region pooling."""

from __future__ import annotations

from xport.convert.primitives.tf_shapes import TfShapes


class TfResampling(TfShapes):
    """Primitives for resize, grid sampling and region pooling."""
