"""TensorFlow's matrix products, reductions and normalisations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.primitives.tf_bitwise import TfBitwise

SOFTMAX_RANK = 5
"""oneDNN's softmax, which TensorFlow uses, takes tensors up to this rank."""


class TfLinear(TfBitwise):
    """Matrix products, reductions, softmax, normalisation."""

    def as_tensor(self, x: Any, name: str = "") -> Any:
        """A known array as a constant or weight; a tensor as it is."""
        return self.constant(x, name) if isinstance(x, np.ndarray) else x

    def matmul(self, a: Any, b: Any, *, transpose_b: bool = False) -> Any:
        """Numpy's matmul, vectors included; on request with the last two axes of ``b`` exchanged."""
        dtype = a.dtype
        rank_a, rank_b = a.shape.rank, b.shape.rank
        if dtype in (tf.float16, tf.bfloat16):
            a, b = tf.cast(a, tf.float32), tf.cast(b, tf.float32)
        elif dtype in (tf.uint32, tf.uint64):
            # Products and sums wrap around alike with and without a sign.
            a, b = tf.cast(a, tf.int64), tf.cast(b, tf.int64)
        a = tf.expand_dims(a, 0) if rank_a == 1 else a
        b = tf.expand_dims(b, 1) if rank_b == 1 else b
        result = self._product(a, b, transpose_b)
        result = tf.squeeze(result, -1) if rank_b == 1 else result
        result = tf.squeeze(result, -1 if rank_b == 1 else -2) if rank_a == 1 else result
        return result if result.dtype == dtype else tf.cast(result, dtype)

    def _product(self, a: Any, b: Any, transpose_b: bool) -> Any:
        """A batch of matrix products; TFLite multiplies floats only, so that integers are summed as such."""
        if self.builtins_only and a.dtype == tf.float64:
            raise refuse("a matrix product of float64", "TensorFlow Lite multiplies no such type")
        if not self.builtins_only or a.dtype.is_floating:
            return tf.matmul(a, b, transpose_b=transpose_b)
        b = tf.linalg.matrix_transpose(b) if transpose_b else b
        return tf.reduce_sum(tf.expand_dims(a, -1) * tf.expand_dims(b, -3), -2)

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
        if a.dtype != tf.float32:
            result = self.matmul(tf.transpose(a) if transpose_a else a, tf.transpose(b) if transpose_b else b)
        else:
            result = tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
        if alpha != 1.0:
            result = result * self.scalar(alpha, result)
        if c is None or beta == 0.0:
            return result
        if c.shape.rank == 2 and c.shape[0] == 1:
            c = tf.squeeze(c, 0)  # TensorFlow's graph optimizer fuses a row vector and then cannot run it
        return result + (c if beta == 1.0 else c * self.scalar(beta, c))

    def determinant(self, x: Any) -> Any:
        """The determinants of square matrices."""
        if not self.builtins_only:
            wide = tf.float32 if x.dtype in (tf.float16, tf.bfloat16) else x.dtype
            return tf.cast(tf.linalg.det(tf.cast(x, wide)), x.dtype)
        if x.shape[-1] is None or x.dtype != tf.float32:
            raise refuse(f"Det of {x.dtype.name} with shape {x.shape}", "TFLite needs float32 and a known size")
        return self._eliminate(x, x.shape[-1])

    def _eliminate(self, x: Any, size: int) -> Any:
        """Gaussian elimination with partial pivoting; TFLite has no determinant."""
        result = tf.ones(tf.shape(x)[:-2], x.dtype)
        for left in range(size, 0, -1):
            place = tf.argmax(tf.abs(x[..., 0]), -1, output_type=tf.int32)
            hit = tf.cast(tf.equal(tf.range(left), tf.expand_dims(place, -1)), x.dtype)
            pivot = tf.reduce_sum(x * tf.expand_dims(hit, -1), -2)
            # The first row takes the pivot's place, which changes the sign unless they are the same.
            x = x + tf.expand_dims(hit, -1) * (x[..., :1, :] - x)
            sign = tf.where(tf.equal(place, 0), 1.0, -1.0)
            result = result * pivot[..., 0] * sign
            divisor = tf.where(tf.equal(pivot[..., :1], 0.0), 1.0, pivot[..., :1])
            factor = x[..., 1:, :1] / tf.expand_dims(divisor, -1)
            x = x[..., 1:, 1:] - factor * tf.expand_dims(pivot[..., 1:], -2)
        return result

    def softmax(self, x: Any, axis: int) -> Any:
        """Softmax along an axis."""
        return self.along(lambda x, axis: tf.nn.softmax(x, axis=axis), x, axis)

    def along(self, function: Callable[[Any, int], Any], x: Any, axis: int) -> Any:
        """What a kernel for tensors of few axes does along one, done to a tensor of any: axes around are joined."""
        if (x.shape.rank or 0) <= SOFTMAX_RANK:
            return function(x, axis)
        sizes, axis = self.shape(x), axis % x.shape.rank
        groups = [self.product(sizes[:axis]), sizes[axis], self.product(sizes[axis + 1 :])]
        return self.reshape(function(self.reshape(x, groups), 1), sizes)

    def batch_norm(self, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, epsilon: float) -> Any:
        """Normalise the last axis by stored statistics: TensorFlow's kernel, or two operations, if they are known."""
        if all(isinstance(v, np.ndarray) for v in (scale, bias, mean, variance)):
            if x.shape.rank == 4 and x.dtype == tf.float32 and self.flavor != "tflite":
                statistics = [self.constant(v) for v in (scale, bias, mean, variance)]
                return tf.raw_ops.FusedBatchNormV3(
                    x=x,
                    **dict(zip(("scale", "offset", "mean", "variance"), statistics, strict=True)),
                    epsilon=epsilon,
                    is_training=False,
                ).y
            factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
            shift = bias - mean * factor
            return x * self.constant(factor.astype(scale.dtype)) + self.constant(shift.astype(bias.dtype))
        scale, bias, mean, variance = (self.as_tensor(v) for v in (scale, bias, mean, variance))
        return (x - mean) * (scale * tf.math.rsqrt(variance + self.scalar(epsilon, variance))) + bias
