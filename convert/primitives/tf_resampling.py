"""TensorFlow's primitives for resize, grid sampling and region pooling; images are channels-last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.lowering.values import Dim, scalar_of
from xport.convert.primitives.tf_normalization import TfNormalization


class TfResampling(TfNormalization):
    """Positions, picks by position, and TensorFlow's own resizes."""

    def positions(self, count: Any, step: Any = 1, start: Any = 0, scale: Any = 1) -> Any:
        """The vector ``(i * step + start) * scale`` for ``i`` below ``count``, in the type of indices."""
        if all(isinstance(v, (int, np.integer)) for v in (count, step, start, scale)):
            return tf.constant(((np.arange(count) * step + start) * scale).astype(np.int32))
        line = tf.range(self.size_scalar(count))
        return (line * self.size_scalar(step) + self.size_scalar(start)) * self.size_scalar(scale)

    def size_scalar(self, size: Any) -> Any:
        """A size as a rank-0 tensor in the type of indices."""
        return tf.cast(scalar_of(size), tf.int32)

    def size_like(self, size: Any, like: Any) -> Any:
        """A size as a rank-0 tensor of another tensor's dtype."""
        return tf.cast(scalar_of(size), like.dtype)

    def size_of(self, scalar: Any) -> Any:
        """A rank-0 tensor as a size."""
        return Dim(1, (self._anonymous(),), lambda: tf.cast(scalar, tf.int32))

    def indices(self, x: Any) -> Any:
        """Numbers in the type of indices."""
        return tf.cast(x, tf.int32)

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """Slices along a stored axis; indices are not negative."""
        result = tf.gather(x, tf.cast(indices, tf.int32), axis=axis)
        sizes = self.shape(x)
        self.name_dims(result, [None if i == axis else s for i, s in enumerate(sizes)])
        return result

    def place_last(self, values: Any, indices: Any, total: Any) -> Any:
        """A vector of ``total`` zeros, in which the last value for each index is put."""
        count = tf.shape(values)[0]
        winner = tf.math.unsorted_segment_max(tf.range(count), tf.cast(indices, tf.int32), self.size_scalar(total))
        taken = tf.gather(values, tf.maximum(winner, 0))
        return tf.where(winner >= 0, taken, tf.zeros((), values.dtype))

    def add_rows(self, rows: Any, indices: Any, total: Any) -> Any:
        """A matrix of ``total`` zero rows, to which rows are added by index."""
        wide = self.widened(rows)
        if self.flavor == "tflite" and wide.dtype in (tf.int8, tf.uint8):
            wide = tf.cast(wide, tf.int32)
        shape = tf.stack([self.size_scalar(total), tf.shape(rows)[1]])
        return tf.cast(tf.scatter_nd(tf.cast(indices, tf.int32)[:, None], wide, shape), rows.dtype)

    def pixels(self, x: Any, batch: Any, places: Sequence[Any]) -> Any:
        """An image of the pixels at places.

        Args:
            x: The image.
            batch: Which image of the batch, shaped to broadcast with the places.
            places: The index along each spatial axis, all of one shape that begins with the new batch.
        """
        joined = tf.stack(
            [tf.broadcast_to(tf.cast(batch, tf.int32), tf.shape(places[0])), *(tf.cast(p, tf.int32) for p in places)],
            -1,
        )
        return tf.gather_nd(x, joined)

    def per_pixel(self, m: Any) -> Any:
        """A map over pixels that broadcasts over the channels of an image."""
        return tf.expand_dims(m, -1)

    def mix_channels(self, x: Any, w: Any) -> Any:
        """Multiply the channels of an image by a matrix (out, in)."""
        return tf.linalg.matmul(x, tf.transpose(w))

    def mix_axis(self, x: Any, matrix: Any, axis: int) -> Any:
        """Multiply an axis by a matrix (out, in)."""
        rank = x.shape.rank
        order = [*(i for i in range(rank) if i != axis), axis]
        mixed = tf.linalg.matmul(tf.transpose(x, order), matrix, transpose_b=True)
        return tf.transpose(mixed, [order.index(i) for i in range(rank)])

    def channel_slice(self, x: Any, start: Any, stop: Any) -> Any:
        """Some channels of an image."""
        return x[..., scalar_of(start) : scalar_of(stop)]

    def depth_to_space(self, x: Any, block: int, channels_first: bool) -> Any:
        """Move blocks of channels into space."""
        batch, height, width, channels = self.shape(x)
        if channels_first and block > 1:
            x = self._regrouped(x, [channels // (block * block), block * block])
        if self._moves_blocks(x) and block > 1:
            return tf.nn.depth_to_space(x, block)
        left = channels // (block * block)
        split = tf.transpose(self.reshape(x, [batch * height, width, block, block * left]), [0, 2, 1, 3])
        return self.reshape(split, [batch, height * block, width * block, left])

    def space_to_depth(self, x: Any, block: int, channels_first: bool) -> Any:
        """Move blocks of pixels into channels."""
        batch, height, width, channels = self.shape(x)
        if self._moves_blocks(x) and block > 1:
            x = tf.nn.space_to_depth(x, block)
        else:
            sizes = [batch * (height // block), block, width // block, block * channels]
            x = tf.transpose(self.reshape(x, sizes), [0, 2, 1, 3])
            x = self.reshape(x, [batch, height // block, width // block, block * block * channels])
        return self._regrouped(x, [block * block, channels]) if channels_first and block > 1 else x

    def _moves_blocks(self, x: Any) -> bool:
        """Whether TensorFlow's own kernel takes the dtype."""
        return x.dtype in (tf.float32, tf.int32, tf.int64) or (self.flavor != "tflite" and x.dtype != tf.string)

    def _regrouped(self, x: Any, groups: Sequence[Any]) -> Any:
        """Exchange the two factors of the channels."""
        sizes = self.shape(x)
        if all(isinstance(g, int) for g in groups):
            return tf.gather(x, np.arange(groups[0] * groups[1], dtype=np.int32).reshape(groups).T.reshape(-1), axis=-1)
        rows = self.reshape(x, [-1, *groups])
        return self.reshape(tf.transpose(rows, [0, 2, 1]), sizes)

    def resize_linear(self, x: Any, sizes: Sequence[Any], coordinates: str) -> Any | None:
        """TensorFlow's own bilinear resize; None where it has none."""
        if x.shape.rank != 4 or x.dtype != tf.float32:
            return None
        return tf.raw_ops.ResizeBilinear(
            images=x,
            size=tf.cast(self.stack_vector(sizes), tf.int32),
            align_corners=coordinates == "align_corners",
            half_pixel_centers=coordinates == "half_pixel",
        )

    def resize_cubic(self, x: Any, sizes: Sequence[Any], coordinates: str) -> Any | None:
        """None: TensorFlow's bicubic resize takes its weights from a table, which is not exact."""
        return None

    def resize_nearest(self, x: Any, sizes: Sequence[Any]) -> Any | None:
        """TensorFlow's own resize to the pixel ``floor((i + 0.5) * in / out)``; None where it has none."""
        kinds = [tf.float32, tf.int8, tf.uint8, tf.int16]
        if self.flavor != "tflite":
            kinds += [tf.float64, tf.float16, tf.bfloat16, tf.int32, tf.int64]
        if x.shape.rank != 4 or x.dtype not in kinds:
            return None
        return tf.raw_ops.ResizeNearestNeighbor(
            images=x, size=tf.cast(self.stack_vector(sizes), tf.int32), half_pixel_centers=True
        )
