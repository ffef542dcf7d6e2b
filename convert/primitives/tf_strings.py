"""TensorFlow's primitives for strings."""

from __future__ import annotations

from xport.convert.primitives.tf_shapes import TfShapes


class TfStrings(TfShapes):
    """Primitives for strings."""
