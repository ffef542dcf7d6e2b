"""TensorFlow's primitives for recurrent networks."""

from __future__ import annotations

from xport.convert.primitives.tf_shapes import TfShapes


class TfRecurrent(TfShapes):
    """Primitives for recurrent networks."""
