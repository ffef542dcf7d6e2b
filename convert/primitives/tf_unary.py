"""TensorFlow's functions of one float tensor; for TFLite in forms made of built-in operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.primitives.tf_casts import TfCasts

Function = Callable[[Any], Any]


_ATANH_SERIES = tuple(1.0 / n for n in (13, 11, 9, 7, 5, 3, 1))


def _log1p(x: Any) -> Any:
    """``log(1 + x)`` to float precision near zero, where TFLite's LOG has lost the digits.

    There it is ``2 * atanh(x / (2 + x))`` by its series, whose rest is below float32's precision.
    """
    ratio = x / (2.0 + x)
    near = 2.0 * ratio * _polynomial(ratio * ratio, _ATANH_SERIES)
    return tf.where(tf.abs(x) < 0.5, near, tf.math.log(1.0 + x))


def _with_sign(size: Any, x: Any) -> Any:
    return tf.where(x < 0.0, -size, size)


def _sinh(x: Any) -> Any:
    return tf.where(tf.abs(x) < 1.0, tf.tanh(x) * _cosh(x), _halves(x, -1.0))


def _cosh(x: Any) -> Any:
    return _halves(x, 1.0)


def _halves(x: Any, sign: float) -> Any:
    """``(exp(x) + sign * exp(-x)) / 2`` in factors that overflow no earlier than the result."""
    up, down = tf.exp(0.5 * x), tf.exp(-0.5 * x)
    return up * (0.5 * up) + sign * (down * (0.5 * down))


def _asinh(x: Any) -> Any:
    size = tf.abs(x)
    square = size * size
    near = _log1p(size + square / (1.0 + tf.sqrt(square + 1.0)))
    return _with_sign(tf.where(size > 1e9, tf.math.log(size) + math.log(2.0), near), x)


def _acosh(x: Any) -> Any:
    above = x - 1.0
    near = _log1p(above + tf.sqrt(above * (above + 2.0)))
    return tf.where(x > 1e9, tf.math.log(x) + math.log(2.0), near)


def _atanh(x: Any) -> Any:
    size = tf.abs(x)
    return _with_sign(0.5 * _log1p(2.0 * size / (1.0 - size)), x)


_ERF_LIMIT = 3.7439211627767994
_ERF_TOP = (0.00022905065861350646, 0.0034082910107109506, 0.050955695062380861, 0.18520832239976145, 1.128379143519084)
_ERF_BOTTOM = (
    -1.1791602954361697e-7,
    0.000023547966471313185,
    0.0010179625278914885,
    0.014070470171167667,
    0.11098505178285362,
    0.49746925110067538,
    1.0,
)


def _erf(x: Any) -> Any:
    """The rational function by which XLA computes float32's erf, good to the last bits."""
    x = tf.minimum(tf.maximum(x, -_ERF_LIMIT), _ERF_LIMIT)
    square = x * x
    return x * _polynomial(square, _ERF_TOP) / _polynomial(square, _ERF_BOTTOM)


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    result: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        result = result * x + coefficient
    return result


_TENSORFLOW: dict[str, Function] = {
    "exp": tf.exp,
    "log": tf.math.log,
    "sqrt": tf.sqrt,
    "floor": tf.floor,
    "ceil": tf.math.ceil,
    "round": tf.round,
    "sin": tf.sin,
    "cos": tf.cos,
    "tan": tf.tan,
    "asin": tf.asin,
    "acos": tf.acos,
    "atan": tf.atan,
    "sinh": tf.sinh,
    "cosh": tf.cosh,
    "asinh": tf.asinh,
    "acosh": tf.acosh,
    "atanh": tf.atanh,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "erf": tf.math.erf,
    "elu": tf.nn.elu,
    "softplus": tf.nn.softplus,
    "is_nan": tf.math.is_nan,
}

_BUILTIN: dict[str, Function] = {
    "tan": lambda x: tf.sin(x) / tf.cos(x),
    "asin": lambda x: tf.atan2(x, tf.sqrt((1.0 - x) * (1.0 + x))),
    "acos": lambda x: tf.atan2(tf.sqrt((1.0 - x) * (1.0 + x)), x),
    "atan": lambda x: tf.atan2(x, tf.ones_like(x)),
    "sinh": _sinh,
    "cosh": _cosh,
    "asinh": _asinh,
    "acosh": _acosh,
    "atanh": _atanh,
    "erf": _erf,
    "softplus": lambda x: tf.nn.relu(x) + _log1p(tf.exp(-tf.abs(x))),
    "is_nan": lambda x: tf.not_equal(x, x),
}
"""TFLite has no such operator, or one that loses digits."""


class TfUnary(TfCasts):
    """Functions of one float tensor."""

    def _float(self, name: str, x: Any) -> Any:
        if not x.dtype.is_floating:
            raise refuse(f"{name} of {x.dtype.name}", "it is defined for floating-point numbers")
        function = _BUILTIN.get(name) if self.builtins_only else None
        return self.compute(name, function or _TENSORFLOW[name], x)

    def exp(self, x: Any) -> Any:
        """The exponential."""
        return self._float("exp", x)

    def log(self, x: Any) -> Any:
        """The natural logarithm."""
        return self._float("log", x)

    def sqrt(self, x: Any) -> Any:
        """The square root."""
        return self._float("sqrt", x)

    def floor(self, x: Any) -> Any:
        """Round down."""
        return self._float("floor", x)

    def ceil(self, x: Any) -> Any:
        """Round up."""
        return self._float("ceil", x)

    def round(self, x: Any) -> Any:
        """Round to the nearest whole number, halves to the even one."""
        return self._float("round", x)

    def sin(self, x: Any) -> Any:
        """Sine."""
        return self._float("sin", x)

    def cos(self, x: Any) -> Any:
        """Cosine."""
        return self._float("cos", x)

    def tan(self, x: Any) -> Any:
        """Tangent."""
        return self._float("tan", x)

    def asin(self, x: Any) -> Any:
        """Arc sine."""
        return self._float("asin", x)

    def acos(self, x: Any) -> Any:
        """Arc cosine."""
        return self._float("acos", x)

    def atan(self, x: Any) -> Any:
        """Arc tangent."""
        return self._float("atan", x)

    def sinh(self, x: Any) -> Any:
        """Hyperbolic sine."""
        return self._float("sinh", x)

    def cosh(self, x: Any) -> Any:
        """Hyperbolic cosine."""
        return self._float("cosh", x)

    def asinh(self, x: Any) -> Any:
        """Inverse hyperbolic sine."""
        return self._float("asinh", x)

    def acosh(self, x: Any) -> Any:
        """Inverse hyperbolic cosine."""
        return self._float("acosh", x)

    def atanh(self, x: Any) -> Any:
        """Inverse hyperbolic tangent."""
        return self._float("atanh", x)

    def tanh(self, x: Any) -> Any:
        """Hyperbolic tangent."""
        return self._float("tanh", x)

    def sigmoid(self, x: Any) -> Any:
        """The logistic function."""
        return self._float("sigmoid", x)

    def erf(self, x: Any) -> Any:
        """The error function."""
        return self._float("erf", x)

    def elu(self, x: Any) -> Any:
        """``exp(x) - 1`` below zero, the number itself above."""
        return self._float("elu", x)

    def softplus(self, x: Any) -> Any:
        """``log(1 + exp(x))`` without overflow."""
        return self._float("softplus", x)

    def is_nan(self, x: Any) -> Any:
        """Whether each element is NaN."""
        return self._float("is_nan", x)

    def leaky_relu(self, x: Any, alpha: float) -> Any:
        """``alpha * x`` below zero, the number itself above."""
        return self.compute("leaky_relu", lambda y: tf.nn.leaky_relu(y, alpha), x)

    def hard_swish(self, x: Any) -> Any:
        """``x * max(0, min(6, x + 3)) / 6``, in the form that TFLite's converter makes its HARD_SWISH of."""
        return self.compute("hard_swish", lambda y: y * tf.nn.relu6(y + 3.0) * (1.0 / 6.0), x)

    def gelu(self, x: Any, approximate: str) -> Any:
        """GELU by erf (``none``) or by tanh."""
        return self.compute("gelu", lambda y: tf.nn.gelu(y, approximate=approximate == "tanh"), x)
