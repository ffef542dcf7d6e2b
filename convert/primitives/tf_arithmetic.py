"""TensorFlow's elementwise primitives."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.primitives.tf_core import TfCore


class TfArithmetic(TfCore):
    """Elementwise work, casts and comparisons; operands broadcast and have one dtype."""

    add = staticmethod(tf.add)
    sub = staticmethod(tf.subtract)
    mul = staticmethod(tf.multiply)
    neg = staticmethod(tf.negative)
    abs = staticmethod(tf.abs)
    exp = staticmethod(tf.exp)
    log = staticmethod(tf.math.log)
    sqrt = staticmethod(tf.sqrt)
    floor = staticmethod(tf.floor)
    ceil = staticmethod(tf.math.ceil)
    sign = staticmethod(tf.sign)
    sin = staticmethod(tf.sin)
    cos = staticmethod(tf.cos)
    tanh = staticmethod(tf.tanh)
    sigmoid = staticmethod(tf.sigmoid)
    erf = staticmethod(tf.math.erf)
    relu = staticmethod(tf.nn.relu)
    maximum = staticmethod(tf.maximum)
    minimum = staticmethod(tf.minimum)
    equal = staticmethod(tf.equal)
    greater = staticmethod(tf.greater)
    greater_equal = staticmethod(tf.greater_equal)
    less = staticmethod(tf.less)
    less_equal = staticmethod(tf.less_equal)
    logical_and = staticmethod(tf.logical_and)
    logical_or = staticmethod(tf.logical_or)
    logical_not = staticmethod(tf.logical_not)
    where = staticmethod(tf.where)

    def reciprocal(self, x: Any) -> Any:
        """One divided by each element."""
        return tf.math.divide(tf.ones((), x.dtype), x)

    def divide(self, a: Any, b: Any) -> Any:
        """Division; of integers truncated towards zero, as ONNX and C do."""
        return tf.math.divide(a, b) if a.dtype.is_floating else tf.truncatediv(a, b)

    def pow(self, a: Any, b: Any) -> Any:
        """Power; the result has the base's dtype."""
        return tf.pow(a, tf.cast(b, a.dtype))

    def cast(self, x: Any, dtype: str) -> Any:
        """Convert to a dtype by the signature's name."""
        return tf.cast(x, dtype)

    def scalar(self, value: float | bool, like: Any) -> Any:
        """A rank-0 constant of another tensor's dtype."""
        return tf.constant(np.asarray(value), dtype=like.dtype)
