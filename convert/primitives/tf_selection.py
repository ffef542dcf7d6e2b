"""TensorFlow's primitives for scatter, sort and selection."""

from __future__ import annotations

from xport.convert.primitives.tf_shapes import TfShapes


class TfSelection(TfShapes):
    """Primitives for scatter, sort and selection."""
