"""TensorFlow's primitives for branches and loops."""

from __future__ import annotations

from xport.convert.primitives.tf_shapes import TfShapes


class TfControlFlow(TfShapes):
    """Primitives for branches and loops."""
