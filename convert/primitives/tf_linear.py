"""TensorFlow's matrix products, reductions and normalisations."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.primitives.tf_bitwise import TfBitwise


class TfLinear(TfBitwise):
    """Matrix products, reductions, softmax, normalisation."""

    def as_tensor(self, x: Any, name: str = "") -> Any:
        """A known array as a constant or weight; a tensor as it is."""
        return self.constant(x, name) if isinstance(x, np.ndarray) else x

    def matmul(self, a: Any, b: Any) -> Any:
        """Numpy's matmul, vectors included."""
        rank_a, rank_b = a.shape.rank, b.shape.rank
        if rank_a == 1 and rank_b == 1:
            return tf.reduce_sum(a * b)
        if rank_a == 1:
            return tf.squeeze(tf.matmul(a[None], b), -2)
        if rank_b == 1:
            return tf.squeeze(tf.matmul(a, b[:, None]), -1)
        return tf.matmul(a, b)

    def gemm(
        self,
        a: Any,
        b: Any,
        c: Any,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> Any:
        """``alpha * a @ b + beta * c``."""
        result = tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
        if alpha != 1.0:
            result = result * self.scalar(alpha, result)
        if c is None or beta == 0.0:
            return result
        return result + (c if beta == 1.0 else c * self.scalar(beta, c))

    def softmax(self, x: Any, axis: int) -> Any:
        """Softmax along an axis."""
        return tf.nn.softmax(x, axis=axis)

    def gelu(self, x: Any, approximate: str) -> Any:
        """GELU by erf (``none``) or by tanh."""
        return tf.nn.gelu(x, approximate=approximate == "tanh")

    def reduce_sum(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Sum over axes."""
        return tf.reduce_sum(x, axes, keepdims)

    def reduce_mean(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Mean over axes."""
        return tf.reduce_mean(x, axes, keepdims)

    def reduce_max(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Maximum over axes."""
        return tf.reduce_max(x, axes, keepdims)

    def reduce_min(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Minimum over axes."""
        return tf.reduce_min(x, axes, keepdims)

    def reduce_prod(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Product over axes."""
        return tf.reduce_prod(x, axes, keepdims)

    def layer_norm(self, x: Any, scale: Any, bias: Any, axes: list[int], epsilon: float) -> Any:
        """Normalise over axes, then scale and shift."""
        mean = tf.reduce_mean(x, axes, keepdims=True)
        centred = x - mean
        variance = tf.reduce_mean(tf.square(centred), axes, keepdims=True)
        result = centred * tf.math.rsqrt(variance + self.scalar(epsilon, x)) * scale
        return result if bias is None else result + bias

    def batch_norm(self, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, epsilon: float) -> Any:
        """Normalise the last axis by stored statistics; two operations if they are known."""
        if all(isinstance(v, np.ndarray) for v in (scale, bias, mean, variance)):
            factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
            shift = bias - mean * factor
            return x * self.constant(factor.astype(scale.dtype)) + self.constant(shift.astype(bias.dtype))
        scale, bias, mean, variance = (self.as_tensor(v) for v in (scale, bias, mean, variance))
        return (x - mean) * (scale * tf.math.rsqrt(variance + self.scalar(epsilon, variance))) + bias
