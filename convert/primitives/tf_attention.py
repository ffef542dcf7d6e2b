"""TensorFlow's primitives for attention."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from xport.convert.lowering.values import scalar_of
from xport.convert.primitives.tf_shapes import TfShapes


class TfAttention(TfShapes):
    """Primitives for attention."""

    def iota(self, size: Any) -> Any:
        """The numbers from zero below a size, as int32."""
        result = tf.range(tf.cast(scalar_of(size), tf.int32), dtype=tf.int32)
        self.name_dims(result, [size])
        return result

    def size_scalar(self, size: Any) -> Any:
        """A size as an int32 scalar."""
        return tf.cast(scalar_of(size), tf.int32)

    def scaled_dot_product(self, q: Any, k: Any, v: Any, bias: Any, scale: float) -> None:
        """A kernel for the whole of attention; TensorFlow has none."""
        return
