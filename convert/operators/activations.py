"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Tensor, op, refuse

SELU_ALPHA = 1.67326319217681884765625
SELU_GAMMA = 1.05070102214813232421875


def in_single(xp: Any, x: Any, compute: Callable[[Any], Any]) -> Any:
    """Compute a formula of several steps in float32 where the type is narrower, and round once."""
    dtype = xp.dtype(x)
    if dtype in ("float16", "bfloat16"):
        return xp.cast(compute(xp.cast(x, "float32")), dtype)
    if dtype == "float64" and xp.flavor == "tflite":
        xp.compute("an activation", compute, x)
    return compute(x)


@op("Relu", since=6, layout=layout.elementwise)
def relu(xp: Any, x: Tensor) -> Any:
    """The number itself above zero, zero below."""
    return xp.relu(x)


@op("Sigmoid", since=6, layout=layout.elementwise)
def sigmoid(xp: Any, x: Tensor) -> Any:
    """The logistic function."""
    return xp.sigmoid(x)


@op("LeakyRelu", since=6, layout=layout.elementwise)
def leaky_relu(xp: Any, x: Tensor, *, alpha: float = 0.01) -> Any:
    """``alpha * x`` below zero, the number itself above."""
    return xp.leaky_relu(x, alpha)


@op("PRelu", since=7, layout=layout.elementwise)
def prelu(xp: Any, x: Tensor, slope: Tensor) -> Any:
    """``slope * x`` below zero, the number itself above; the slope broadcasts to ``x``."""
    return xp.prelu(x, slope)


@op("Elu", since=6, layout=layout.elementwise)
def elu(xp: Any, x: Tensor, *, alpha: float = 1.0) -> Any:
    """``alpha * (exp(x) - 1)`` below zero, the number itself above."""
    return in_single(xp, x, lambda y: _scaled_elu(xp, y, alpha))


def _scaled_elu(xp: Any, x: Any, alpha: float) -> Any:
    curve = xp.elu(x)
    return curve if alpha == 1.0 else xp.where(xp.less(x, xp.scalar(0, x)), xp.mul(curve, xp.scalar(alpha, x)), x)


@op("Celu", since=12, layout=layout.elementwise)
def celu(xp: Any, x: Tensor, *, alpha: float = 1.0) -> Any:
    """``alpha * (exp(x / alpha) - 1)`` below zero, the number itself above."""
    if alpha == 1.0:
        return in_single(xp, x, xp.elu)

    def compute(y: Any) -> Any:
        scale = xp.scalar(alpha, y)
        curve = xp.mul(xp.elu(xp.divide(y, scale)), scale)
        zero = xp.scalar(0, y)
        # As the formula says, for either sign of alpha: max(0, x) + min(0, curve).
        negative = xp.minimum(zero, curve) if alpha > 0 else _celu_curve(xp, y, scale)
        return xp.where(xp.less(y, zero), negative, y) if alpha > 0 else xp.add(xp.maximum(zero, y), negative)

    return in_single(xp, x, compute)


def _celu_curve(xp: Any, x: Any, scale: Any) -> Any:
    one, zero = xp.scalar(1, x), xp.scalar(0, x)
    return xp.minimum(zero, xp.mul(scale, xp.sub(xp.exp(xp.divide(x, scale)), one)))


@op("Selu", since=6, layout=layout.elementwise)
def selu(xp: Any, x: Tensor, *, alpha: float = SELU_ALPHA, gamma: float = SELU_GAMMA) -> Any:
    """``gamma`` times the exponential linear unit of ``alpha``."""
    return in_single(xp, x, lambda y: xp.mul(_scaled_elu(xp, y, alpha), xp.scalar(gamma, y)))


@op("Gelu", since=20, layout=layout.elementwise)
def gelu(xp: Any, x: Tensor, *, approximate: str = "none") -> Any:
    """The Gaussian error linear unit, exact (erf) or by the tanh formula, as the node says."""
    if approximate not in ("none", "tanh"):
        raise refuse(f"approximate={approximate!r}", "it must be none or tanh")
    return in_single(xp, x, lambda y: xp.gelu(y, approximate))


@op("HardSigmoid", since=6, layout=layout.elementwise)
def hard_sigmoid(xp: Any, x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    """``alpha * x + beta``, limited to [0, 1]."""
    return in_single(xp, x, lambda y: _hard_sigmoid(xp, y, alpha, beta))


def _hard_sigmoid(xp: Any, x: Any, alpha: float, beta: float) -> Any:
    line = xp.add(xp.mul(x, xp.scalar(alpha, x)), xp.scalar(beta, x))
    return xp.minimum(xp.maximum(line, xp.scalar(0, x)), xp.scalar(1, x))


@op("HardSwish", since=14, layout=layout.elementwise)
def hard_swish(xp: Any, x: Tensor) -> Any:
    """``x * hard_sigmoid(x)`` with alpha 1/6 and beta 1/2."""
    return in_single(xp, x, xp.hard_swish)


@op("Mish", since=18, layout=layout.elementwise)
def mish(xp: Any, x: Tensor) -> Any:
    """``x * tanh(softplus(x))``."""
    return in_single(xp, x, lambda y: xp.mul(y, xp.tanh(xp.softplus(y))))


@op("Swish", since=24, layout=layout.elementwise)
def swish(xp: Any, x: Tensor, *, alpha: float = 1.0) -> Any:
    """``x * sigmoid(alpha * x)``."""

    def compute(y: Any) -> Any:
        return xp.mul(y, xp.sigmoid(y if alpha == 1.0 else xp.mul(y, xp.scalar(alpha, y))))

    return in_single(xp, x, compute)


@op("Softplus", since=1, layout=layout.elementwise)
def softplus(xp: Any, x: Tensor) -> Any:
    """``log(1 + exp(x))``."""
    return in_single(xp, x, xp.softplus)


@op("Softsign", since=1, layout=layout.elementwise)
def softsign(xp: Any, x: Tensor) -> Any:
    """``x / (1 + |x|)``."""
    return in_single(xp, x, lambda y: xp.divide(y, xp.add(xp.abs(y), xp.scalar(1, y))))


@op("ThresholdedRelu", since=10, layout=layout.elementwise)
def thresholded_relu(xp: Any, x: Tensor, *, alpha: float = 1.0) -> Any:
    """The number itself above ``alpha``, zero elsewhere."""
    return in_single(xp, x, lambda y: xp.where(xp.greater(y, xp.scalar(alpha, y)), y, xp.scalar(0, y)))


@op("Shrink", since=9, layout=layout.elementwise)
def shrink(xp: Any, x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    """Toward zero by ``bias`` beyond ``±lambd``, zero between."""
    if "int" in xp.dtype(x):
        return _shrink_integers(xp, x, bias, lambd)

    def compute(y: Any) -> Any:
        shift, limit = xp.scalar(bias, y), xp.scalar(lambd, y)
        inner = xp.where(xp.greater(y, limit), xp.sub(y, shift), xp.scalar(0, y))
        return xp.where(xp.less(y, xp.neg(limit)), xp.add(y, shift), inner)

    return in_single(xp, x, compute)


def _shrink_integers(xp: Any, x: Any, bias: float, lambd: float) -> Any:
    """Integers are shrunk as floats and cut off towards zero, as ONNX Runtime does."""
    if xp.dtype(x) not in ("int8", "uint8", "int16", "uint16"):
        raise refuse(f"Shrink of {xp.dtype(x)}", "its numbers are not all exact in the float type of bias and lambd")
    return xp.cast(shrink(xp, xp.cast(x, "float32"), bias=bias, lambd=lambd), xp.dtype(x))
