"""TensorFlow's primitives for recurrent networks."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from xport.convert.primitives.tf_shapes import TfShapes


class TfRecurrent(TfShapes):
    """Primitives for recurrent networks; sequences are time-major."""

    def flip(self, x: Any, axis: int) -> Any:
        """Reverse along an axis."""
        result = tf.reverse(x, [axis])
        self.name_dims(result, self.shape(x))
        return result

    def reverse_sequence(self, x: Any, lengths: Any) -> Any:
        """Reverse the first ``lengths[b]`` steps of each sequence ``x[:, b]``; later steps stay where they are."""
        result = tf.reverse_sequence(x, lengths, seq_axis=0, batch_axis=1)
        self.name_dims(result, self.shape(x))
        return result

    def steps_mask(self, length: Any, lengths: Any) -> Any:
        """Whether step t of sequence b is within its length, as a [T, B] tensor."""
        from xport.convert.lowering.values import scalar_of

        return tf.range(scalar_of(length), dtype=tf.int32)[:, None] < tf.cast(lengths, tf.int32)[None, :]

    def fused_recurrent(self, kind: str, x: Any, weights: list[list[Any]], states: list[Any]) -> None:
        """A kernel for a whole network; TensorFlow's CPU has none."""
        return
