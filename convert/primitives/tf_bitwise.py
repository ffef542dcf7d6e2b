"""TensorFlow's operations on the bits of integers; for TFLite in forms made of built-in operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.primitives.tf_arithmetic import TfArithmetic

_POWERS = np.array([1 << n for n in range(64)], dtype=np.uint64).view(np.int64)


def width(dtype: Any) -> int:
    """The number of bits of an integer type."""
    return int(dtype.size) * 8


class TfBitwise(TfArithmetic):
    """AND, OR, XOR, NOT and shifts.

    TFLite has XOR and the right shift, for up to 32 bits. The rest follows from ``a + b = (a ^ b) + 2 * (a & b)``.
    """

    def bitwise_and(self, a: Any, b: Any) -> Any:
        """Bitwise AND."""
        return self._bits(tf.bitwise.bitwise_and, _and32, a, b)

    def bitwise_or(self, a: Any, b: Any) -> Any:
        """Bitwise OR."""
        return self._bits(tf.bitwise.bitwise_or, lambda x, y: tf.bitwise.bitwise_xor(x, y) + _and32(x, y), a, b)

    def bitwise_xor(self, a: Any, b: Any) -> Any:
        """Bitwise exclusive OR."""
        return self._bits(tf.bitwise.bitwise_xor, tf.bitwise.bitwise_xor, a, b)

    def bitwise_not(self, x: Any) -> Any:
        """The complement: ``-1 - x``."""
        if not self.builtins_only:
            return tf.bitwise.invert(x)
        return self._bits(tf.bitwise.invert, lambda y: -1 - y, x)

    def _bits(self, native: Any, on_int32: Any, *tensors: Any) -> Any:
        if not self.builtins_only:
            return native(*tensors)
        dtype = tensors[0].dtype
        if width(dtype) < 32:
            return tf.cast(on_int32(*[tf.cast(t, tf.int32) for t in tensors]), dtype)
        # A number of 64 bits becomes two of 32 along a last axis, which broadcasting leaves alone.
        result = on_int32(*[t if t.dtype == tf.int32 else tf.bitcast(t, tf.int32) for t in tensors])
        return result if dtype == tf.int32 else tf.bitcast(result, dtype)

    def shift_left(self, x: Any, count: Any) -> Any:
        """Move bits up; all of them leave where the count is negative or reaches the width."""
        count, outside = self._count(x, count)
        if self.builtins_only:
            factor = tf.gather(tf.constant(_POWERS), self.recast(count, "int32"))
            shifted = self.recast(self.recast(x, "int64") * factor, x.dtype.name)
        else:
            shifted = tf.bitwise.left_shift(x, count)
        return self.where(outside, self.recast(tf.zeros_like(shifted), x.dtype.name), shifted)

    def shift_right(self, x: Any, count: Any) -> Any:
        """Move bits down, copying the sign of signed numbers; too large or negative counts leave only the sign."""
        count, outside = self._count(x, count)
        if self.builtins_only and width(x.dtype) == 64:
            return self._shift_right_64(x, count, outside)
        shifted = tf.bitwise.right_shift(x, count)
        if x.dtype.is_unsigned:
            return self.where(outside, tf.zeros_like(shifted), shifted)
        return self.where(outside, tf.bitwise.right_shift(x, tf.constant(width(x.dtype) - 1, x.dtype)), shifted)

    def _shift_right_64(self, x: Any, count: Any, outside: Any) -> Any:
        factor = tf.gather(tf.constant(_POWERS), self.recast(count, "int32"))
        if x.dtype == tf.uint64:
            shifted = self.divide(x, self.from_bits64(factor))
            return self.where(outside, self.from_bits64(tf.zeros_like(self.bits64(shifted))), shifted)
        # Rounding down, which is what a shift does; the top power is the negative number itself.
        top = tf.equal(count, tf.constant(63, count.dtype))
        factor = tf.where(top, tf.ones_like(factor), factor)
        shifted = self.divide(x - tf.math.floormod(x, factor), factor)
        sign = tf.where(x < tf.zeros((), x.dtype), -tf.ones_like(x), tf.zeros_like(x))
        return tf.where(tf.logical_or(outside, top), sign, shifted)

    def _count(self, x: Any, count: Any) -> tuple[Any, Any]:
        """Counts within the width, and where they were not."""
        bits = self.scalar(width(x.dtype), count)
        outside = self.greater_equal(count, bits)
        if not x.dtype.is_unsigned:
            outside = tf.logical_or(outside, self.less(count, self.scalar(0, count)))
        return self.where(outside, self.recast(tf.zeros_like(outside, tf.int32), count.dtype.name), count), outside


def _and32(a: Any, b: Any) -> Any:
    """AND of int32 numbers: the lowest bit apart, so that the sum of the others fits."""
    high_a, high_b = tf.bitwise.right_shift(a, tf.ones_like(a)), tf.bitwise.right_shift(b, tf.ones_like(b))
    low = (a - 2 * high_a) * (b - 2 * high_b)
    total = high_a + high_b - tf.bitwise.bitwise_xor(high_a, high_b)
    return 2 * tf.bitwise.right_shift(total, tf.ones_like(total)) + low
