"""TensorFlow's normalisations of images, and class scores; images are channels-last."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from xport.convert.primitives.tf_fences import fenced
from xport.convert.primitives.tf_pooling import TfPooling


class TfNormalization(TfPooling):
    """Normalisation by group, local response, log-softmax and what losses need."""

    def channelwise(self, v: Any, rank: int) -> Any:
        """A per-channel vector that broadcasts over an image of a rank."""
        return self.as_tensor(v)

    def group_norm(self, x: Any, groups: Any, scale: Any, bias: Any, epsilon: float) -> Any:
        """Normalise each group of channels of each image, then scale and shift each channel."""
        sizes = self.shape(x)
        batch, *spatial, channels = sizes
        grouped = self.reshape(x, [batch, self.product(spatial), groups, channels // groups])
        centred = grouped - self._group_mean(x, grouped)
        squares = tf.square(centred)
        variance = self._group_mean(self.reshape(squares, sizes), squares)
        normal = centred * tf.math.rsqrt(variance + self.scalar(epsilon, x))
        return self.reshape(normal, sizes) * scale + bias

    def _group_mean(self, x: Any, grouped: Any) -> Any:
        """The mean of each group of channels; of the same values as an image and as rows of pixels in groups."""
        if not self.builtins_only:
            return tf.reduce_mean(grouped, [1, 3], keepdims=True)
        pixels = self.reduce_mean(x, self.spatial_axes(x.shape.rank), True)  # see `reduce_mean` for why not at once
        batch, _, groups, members = self.shape(grouped)
        return tf.reduce_mean(self.reshape(pixels, [batch, 1, groups, members]), [3], keepdims=True)

    def instance_norm(self, x: Any, scale: Any, bias: Any, epsilon: float) -> Any:
        """Normalise each channel of each image, then scale and shift it."""
        axes = self.spatial_axes(x.shape.rank)
        centred = x - self.reduce_mean(x, axes, True)
        variance = self.reduce_mean(tf.square(centred), axes, True)
        return centred * (tf.math.rsqrt(variance + self.scalar(epsilon, x)) * scale) + bias

    def layer_norm(self, x: Any, scale: Any, bias: Any, axes: list[int], epsilon: float) -> Any:
        """Normalise over axes, then scale and shift."""
        centred = x - self.reduce_mean(x, axes, True)
        variance = self.reduce_mean(tf.square(centred), axes, True)
        result = centred * tf.math.rsqrt(variance + self.scalar(epsilon, x)) * scale
        return result if bias is None else result + bias

    def rms_norm(self, x: Any, scale: Any, axes: list[int], epsilon: float) -> Any:
        """Divide by the root of the mean square over axes, then scale."""
        mean = self.reduce_mean(tf.square(x), axes, True)
        return x * tf.math.rsqrt(mean + self.scalar(epsilon, x)) * scale

    def local_response(self, x: Any, size: int, alpha: float, beta: float, bias: float) -> Any | None:
        """Divide by a power of the neighbouring channels' squares; None where there is no kernel for it."""
        if x.shape.rank != 4 or x.dtype != tf.float32 or size % 2 == 0:
            return None
        return tf.nn.lrn(x, size // 2, bias, alpha / size, beta)

    def log_softmax(self, x: Any, axis: int) -> Any:
        """The logarithm of softmax along an axis."""
        return self.along(lambda x, axis: tf.nn.log_softmax(x, axis=axis), x, axis)

    def hardmax(self, x: Any, axis: int) -> Any:
        """One where the first maximum along an axis is, zero elsewhere."""
        axis %= x.shape.rank
        whole = x if self.flavor == "tflite" else fenced(x)
        best = tf.argmax(whole, axis, output_type=tf.int32)
        return tf.one_hot(best, self.stack_vector(self.shape(x))[axis], axis=axis, dtype=x.dtype)

    def pick_class(self, x: Any, target: Any) -> Any:
        """From (N, C, P) the channel that ``target`` (N, P) names; zero where there is no such channel."""
        channels = tf.range(tf.shape(x)[1], dtype=target.dtype)
        chosen = tf.equal(tf.expand_dims(target, 1), channels[:, None])
        return tf.reduce_sum(tf.where(chosen, x, tf.zeros((), x.dtype)), 1)
