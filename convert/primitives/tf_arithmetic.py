"""TensorFlow's elementwise primitives of several tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.primitives.tf_fences import fenced_constant
from xport.convert.primitives.tf_unary import TfUnary
from xport.convert.primitives.wide_integers import divide_by_floats, integer_power

_EXACT_EXPONENTS = {1.0, 2.0, 3.0}


class TfArithmetic(TfUnary):
    """Elementwise work and comparisons; operands broadcast and have one dtype."""

    logical_and = staticmethod(tf.logical_and)
    logical_or = staticmethod(tf.logical_or)
    logical_not = staticmethod(tf.logical_not)
    logical_xor = staticmethod(tf.not_equal)

    def add(self, a: Any, b: Any) -> Any:
        """Sum; integers wrap around."""
        return self.compute("add", tf.add, a, b)

    def sub(self, a: Any, b: Any) -> Any:
        """Difference; integers wrap around."""
        return self.compute("sub", tf.subtract, a, b)

    def mul(self, a: Any, b: Any) -> Any:
        """Product; integers wrap around."""
        return self.compute("mul", tf.multiply, a, b)

    def divide(self, a: Any, b: Any) -> Any:
        """Division; of integers truncated towards zero, as ONNX and C do."""
        if a.dtype.is_floating:
            return self.compute("divide", self._quotient, a, b)
        if not self.builtins_only:
            return tf.truncatediv(a, b)
        return self.compute("divide", self._builtin_division, a, b)

    def _quotient(self, a: Any, b: Any) -> Any:
        """A quotient rounded once.

        By a constant, TensorFlow's optimizers would multiply by its reciprocal, whose vector kernel is an approximation
        besides: 1.75 / 0.5 comes out below 3.5, and 49 / 49 below 1, which floors and quantization then round down.
        Sources: ReduceDivToReciprocalMul in tensorflow/core/grappler/optimizers/constant_folding.cc, and for RealDiv,
        though not for Div, RealDivWithConstDivisor in tensorflow/compiler/mlir/tensorflow/transforms/canonicalize.td.
        """
        return tf.raw_ops.Div(x=a, y=b) if self.flavor == "tflite" else tf.math.divide(a, fenced_constant(b))

    def _builtin_division(self, a: Any, b: Any) -> Any:
        return tf.truncatediv(a, b) if a.dtype == tf.int32 else divide_by_floats(self, a, b)

    def modulo(self, a: Any, b: Any) -> Any:
        """The remainder with the divisor's sign."""
        return self.compute("modulo", tf.math.floormod, a, b)

    def fmod(self, a: Any, b: Any) -> Any:
        """The remainder with the dividend's sign, as C's fmod."""
        if a.dtype == tf.uint64:
            return self.modulo(a, b)
        return self.compute("fmod", self._builtin_fmod if self.builtins_only else tf.truncatemod, a, b)

    def _builtin_fmod(self, a: Any, b: Any) -> Any:
        size = tf.math.floormod(self.abs(a), self.abs(b))
        return tf.where(a < tf.zeros((), a.dtype), -size, size)

    def neg(self, x: Any) -> Any:
        """The negative."""
        return self.compute("neg", tf.negative, x)

    def abs(self, x: Any) -> Any:
        """The absolute value."""
        if x.dtype.is_unsigned:
            return x
        if self.builtins_only and x.dtype == tf.int64:
            return tf.maximum(x, -x)
        return self.compute("abs", tf.abs, x)

    def sign(self, x: Any) -> Any:
        """-1, 0 or 1."""
        if x.dtype.is_unsigned or (self.builtins_only and x.dtype == tf.int64):
            zero = self.scalar(0, x)
            above = self.recast(self.not_equal(x, zero) if x.dtype.is_unsigned else x > zero, x.dtype.name)
            return above if x.dtype.is_unsigned else above - self.recast(x < zero, x.dtype.name)
        return self.compute("sign", tf.sign, x)

    def relu(self, x: Any) -> Any:
        """The number itself above zero, zero below."""
        return x if x.dtype.is_unsigned else self.compute("relu", tf.nn.relu, x)

    def prelu(self, x: Any, slope: Any) -> Any:
        """``slope * x`` below zero, the number itself above."""
        if self.builtins_only and x.dtype == tf.float32 and tf.get_static_value(slope) is not None:
            # The form in which TFLite's converter recognises its own PRELU.
            return tf.nn.relu(x) + -slope * tf.nn.relu(-x)
        return self.where(self.less(x, self.scalar(0, x)), self.mul(x, slope), x)

    def reciprocal(self, x: Any) -> Any:
        """One divided by each element."""
        return self.divide(tf.ones((), x.dtype), x)

    def maximum(self, a: Any, b: Any) -> Any:
        """The larger; NaN if either is."""
        return self._extreme("maximum", tf.maximum, a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        """The smaller; NaN if either is."""
        return self._extreme("minimum", tf.minimum, a, b)

    def _extreme(self, name: str, function: Any, a: Any, b: Any) -> Any:
        if not self.builtins_only or not a.dtype.is_floating or _is_constant(a) or _is_constant(b):
            return self.compute(name, function, a, b)
        # TFLite compares, and so loses a NaN that stands on the left.
        return self.compute(name, lambda x, y: tf.where(tf.not_equal(x, x), x, function(x, y)), a, b)

    def equal(self, a: Any, b: Any) -> Any:
        """Whether the operands are equal."""
        return self.compute("equal", tf.equal, a, b)

    def not_equal(self, a: Any, b: Any) -> Any:
        """Whether the operands differ."""
        return self.compute("not_equal", tf.not_equal, a, b)

    def greater(self, a: Any, b: Any) -> Any:
        """Whether a > b."""
        return self.compute("greater", tf.greater, a, b)

    def greater_equal(self, a: Any, b: Any) -> Any:
        """Whether a >= b."""
        return self.compute("greater_equal", tf.greater_equal, a, b)

    def less(self, a: Any, b: Any) -> Any:
        """Whether a < b."""
        return self.compute("less", tf.less, a, b)

    def less_equal(self, a: Any, b: Any) -> Any:
        """Whether a <= b."""
        return self.compute("less_equal", tf.less_equal, a, b)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """Choose elementwise."""
        if a.dtype in (tf.float64, tf.uint64):  # which TFLite computes nothing with, but nothing is computed
            return self.move(lambda x, y: tf.where(condition, x, y), a, b)
        return self.compute("where", lambda x, y: tf.where(condition, x, y), a, b)

    def pow(self, a: Any, b: Any) -> Any:
        """Power; the result has the base's dtype, whatever the exponent's."""
        a, b = self._apart(a, b)
        if a.dtype.is_floating:
            return self._float_power(a, b)
        if b.dtype.is_floating:
            if self.builtins_only and not _is_whole(b):
                raise refuse(f"Pow of {a.dtype.name} to {b.dtype.name}", "TensorFlow Lite computes no power in float64")
            if not self.builtins_only:
                return self.cast(tf.pow(tf.cast(a, tf.float64), tf.cast(b, tf.float64)), a.dtype.name)
        exponent = self.recast(b, a.dtype.name)
        return self.compute("pow", self._integer_power, a, exponent)

    def _apart(self, base: Any, exponent: Any) -> tuple[Any, Any]:
        """Base and exponent so that TensorFlow's graph optimizer keeps the shape that they broadcast to.

        It makes a square or a root of a power whose constant exponents are all alike, whatever their shape:
        ConvertPowStage in tensorflow/core/grappler/optimizers/arithmetic_optimizer.cc.
        """
        if exponent.shape.num_elements() != 1:
            return base, exponent if self.flavor == "tflite" else fenced_constant(exponent)
        more = exponent.shape.rank - (base.shape.rank or 0)
        if base.shape.rank is None or more <= 0:
            return base, exponent
        return self.reshape(base, [*[1] * more, *self.shape(base)]), exponent

    def _float_power(self, a: Any, b: Any) -> Any:
        known = tf.get_static_value(b)
        if known is not None and known.size == 1 and float(known.reshape(-1)[0]) in _EXACT_EXPONENTS:
            count = int(known.reshape(-1)[0])
            ranks = (a.shape.rank, b.shape.rank)
            if None not in ranks and ranks[0] >= ranks[1]:
                return a if count == 1 else self.mul(a, a) if count == 2 else self.mul(self.mul(a, a), a)
        if b.dtype.is_floating or self.builtins_only:
            return self._builtin_power(a, b) if self.builtins_only else self._mixed_power(a, b)
        return tf.cast(tf.pow(tf.cast(a, tf.float64), tf.cast(b, tf.float64)), a.dtype)

    def _mixed_power(self, a: Any, b: Any) -> Any:
        if a.dtype == b.dtype:
            return tf.pow(a, b)
        wide = tf.float64 if tf.float64 in (a.dtype, b.dtype) else tf.float32
        return tf.cast(tf.pow(tf.cast(a, wide), tf.cast(b, wide)), a.dtype)

    def _builtin_power(self, a: Any, b: Any) -> Any:
        single = self.cast(b, "float32")
        result = self.compute("pow", tf.pow, a, self.recast(single, a.dtype.name))
        if b.dtype.is_floating:
            if a.dtype != b.dtype:
                raise refuse(f"Pow of {a.dtype.name} to {b.dtype.name}", "TensorFlow Lite has one float type for both")
            return result
        # A large odd exponent is an even float.
        wide = self.recast(b, "int64")
        odd = self.equal(self.modulo(wide, self.scalar(2, wide)), self.scalar(1, wide))
        signed = tf.logical_and(odd, self.less(a, self.scalar(0, a)))
        return self.where(signed, self.neg(self.abs(result)), result)

    def _integer_power(self, a: Any, b: Any) -> Any:
        if self.builtins_only:
            return integer_power(self, a, b)
        zero, one = self.scalar(0, a), self.scalar(1, a)
        if a.dtype.is_unsigned:
            return tf.pow(a, b)
        result = tf.pow(a, tf.maximum(b, zero))
        even = tf.equal(tf.math.floormod(b, self.scalar(2, b)), zero)
        below = tf.where(tf.equal(a, one), one, tf.where(tf.equal(a, -one), tf.where(even, one, -one), zero))
        return tf.where(b < zero, below, result)


def _is_constant(tensor: Any) -> bool:
    """Whether a tensor is known and holds no NaN."""
    known = tf.get_static_value(tensor)
    return known is not None and not np.isnan(known.astype(np.float64)).any()


def _is_whole(tensor: Any) -> bool:
    """Whether a float tensor is known and holds only whole numbers."""
    known = tf.get_static_value(tensor)
    return known is not None and bool(np.all(np.mod(known.astype(np.float64), 1.0) == 0))
