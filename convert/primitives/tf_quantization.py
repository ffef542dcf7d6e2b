"""TensorFlow's primitives for quantised arithmetic: products of integers that are exact in floats."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.primitives.tf_shapes import TfShapes

GUARD_SLOPE = 1 - 2.0**-24
"""The largest float32 below one; of one itself the converter would make nothing."""


class TfQuantization(TfShapes):
    """Products of small integers."""

    @property
    def exact_float(self) -> tuple[str, int]:
        """A float type with fast products, and the size up to which its whole numbers are exact."""
        return ("float32", 1 << 24) if self.builtins_only else ("float64", 1 << 53)

    def to_int32(self, x: Any) -> Any:
        """Whole numbers in floats as int32; what is too large wraps around."""
        return tf.cast(tf.cast(x, tf.int64), tf.int32)

    def integer_matmul(self, a: Any, b: Any, bound: int) -> Any:
        """A product of integer matrices, as int32.

        Args:
            a: int32 numbers.
            b: int32 numbers.
            bound: No product of two elements is larger.
        """
        name, limit = self.exact_float
        depth = self.shape(a)[-1]
        if not self.builtins_only:
            return self.to_int32(self.matmul(tf.cast(a, name), tf.cast(b, name)))
        if not isinstance(depth, int):
            raise refuse("a product of integers", "TensorFlow Lite needs to know how many terms are summed")
        # Sums stay below 2**24, where float32 is exact; the parts are added as integers.
        step = limit // bound
        total = None
        for start in range(0, max(depth, 1), step):
            part_b = b[start : start + step] if b.shape.rank == 1 else b[..., start : start + step, :]
            part = self.matmul(tf.cast(a[..., start : start + step], name), tf.cast(part_b, name))
            part = tf.cast(part, tf.int32)
            total = part if total is None else total + part
        return total

    def fake_quantize(self, x: Any, low: float, high: float) -> Any:
        """Numbers rounded to 256 evenly spaced ones; TFLite's converter reads the range off it."""
        return tf.quantization.fake_quant_with_min_max_args(x, low, high, num_bits=8)

    def in_float(self, x: Any) -> Any:
        """Nearly the number itself, by what TFLite's converter neither folds away nor fuses with a layer."""
        return tf.nn.leaky_relu(x, alpha=GUARD_SLOPE)
