"""Elementwise operators: arithmetic, comparisons, logic, functions of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Tensor, op, refuse

UNARY = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "IsNaN": "is_nan",
    "Log": "log",
    "Neg": "neg",
    "Not": "logical_not",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
"""ONNX operators that are one primitive of one tensor."""

BINARY = {
    "Add": "add",
    "And": "logical_and",
    "Div": "divide",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Mul": "mul",
    "Or": "logical_or",
    "Pow": "pow",
    "Sub": "sub",
    "Xor": "logical_xor",
}
"""ONNX operators that are one primitive of two broadcasting tensors (since opset 7)."""


def _register_tables() -> None:
    for name, primitive in UNARY.items():
        op(name, layout=layout.elementwise)(_unary(primitive))
    for name, primitive in BINARY.items():
        op(name, since=7, layout=layout.elementwise)(_binary(primitive))


def _unary(primitive: str) -> Callable[..., Any]:
    def unary(xp: Any, x: Tensor) -> Any:
        return getattr(xp, primitive)(x)

    return unary


def _binary(primitive: str) -> Callable[..., Any]:
    def binary(xp: Any, a: Tensor, b: Tensor) -> Any:
        return getattr(xp, primitive)(a, b)

    return binary


_register_tables()


@op("Max", since=6, layout=layout.elementwise)
def maximum(xp: Any, *inputs: Tensor) -> Any:
    """The largest of any number of broadcasting tensors; NaN if any is."""
    result = inputs[0]
    for other in inputs[1:]:
        result = xp.maximum(result, other)
    return result


@op("Min", since=6, layout=layout.elementwise)
def minimum(xp: Any, *inputs: Tensor) -> Any:
    """The smallest of any number of broadcasting tensors; NaN if any is."""
    result = inputs[0]
    for other in inputs[1:]:
        result = xp.minimum(result, other)
    return result


@op("Sum", since=6, layout=layout.elementwise)
def sum_(xp: Any, *inputs: Tensor) -> Any:
    """The sum of any number of broadcasting tensors."""
    result = inputs[0]
    for other in inputs[1:]:
        result = xp.add(result, other)
    return result


@op("Mean", since=6, layout=layout.elementwise)
def mean(xp: Any, *inputs: Tensor) -> Any:
    """The mean of any number of broadcasting tensors."""
    total = sum_(xp, *inputs)
    return total if len(inputs) == 1 else xp.divide(total, xp.scalar(len(inputs), total))


@op("Clip", since=11, layout=layout.elementwise)
def clip(xp: Any, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Any:
    """Limit values to ``[low, high]``; the upper limit wins where they cross."""
    if low is not None:
        x = xp.maximum(x, low)
    return x if high is None else xp.minimum(x, high)


@op("Clip", since=6, until=10, layout=layout.elementwise)
def clip_6(xp: Any, x: Tensor, *, min: float | None = None, max: float | None = None) -> Any:
    """The older form, with limits as attributes; a missing one limits nothing."""
    if min is not None:
        x = xp.maximum(x, xp.scalar(min, x))
    return x if max is None else xp.minimum(x, xp.scalar(max, x))


@op("Where", since=9, layout=layout.elementwise)
def where(xp: Any, condition: Tensor, a: Tensor, b: Tensor) -> Any:
    """Choose elementwise, with broadcasting."""
    return xp.where(condition, a, b)


@op("Mod", since=10, layout=layout.elementwise)
def mod(xp: Any, a: Tensor, b: Tensor, *, fmod: int = 0) -> Any:
    """The remainder with the divisor's sign, or with the dividend's if ``fmod``.

    Floats without ``fmod`` exist since opset 28; an infinite divisor then gives the dividend or, if their signs
    differ, itself, and a zero remainder takes the divisor's sign.
    """
    if fmod:
        return xp.fmod(a, b)
    if "float" not in xp.dtype(a):
        return xp.modulo(a, b)
    zero = xp.scalar(0, a)
    rest = xp.fmod(a, b)
    apart = xp.less(xp.mul(xp.sign(rest), xp.sign(b)), zero)
    result = xp.where(apart, xp.add(rest, b), rest)
    signed_zero = xp.mul(xp.abs(xp.mul(result, zero)), xp.sign(b))
    return xp.where(xp.equal(result, zero), signed_zero, result)


@op("IsInf", since=10, layout=layout.elementwise)
def is_inf(xp: Any, x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    """Whether each element is infinite, of the signs asked for."""
    if xp.dtype(x).startswith("float8"):
        x = xp.cast(x, "float32")
    infinity = xp.scalar(float("inf"), x)
    above, below = xp.equal(x, infinity), xp.equal(x, xp.neg(infinity))
    if detect_negative and detect_positive:
        return xp.logical_or(above, below)
    if detect_positive:
        return above
    return below if detect_negative else xp.logical_and(above, below)


@op("BitwiseAnd", since=18, layout=layout.elementwise)
def bitwise_and(xp: Any, a: Tensor, b: Tensor) -> Any:
    """AND of the bits of two broadcasting tensors of integers."""
    return xp.bitwise_and(a, b)


@op("BitwiseOr", since=18, layout=layout.elementwise)
def bitwise_or(xp: Any, a: Tensor, b: Tensor) -> Any:
    """OR of the bits of two broadcasting tensors of integers."""
    return xp.bitwise_or(a, b)


@op("BitwiseXor", since=18, layout=layout.elementwise)
def bitwise_xor(xp: Any, a: Tensor, b: Tensor) -> Any:
    """Exclusive OR of the bits of two broadcasting tensors of integers."""
    return xp.bitwise_xor(a, b)


@op("BitwiseNot", since=18, layout=layout.elementwise)
def bitwise_not(xp: Any, x: Tensor) -> Any:
    """The complement of the bits of integers."""
    return xp.bitwise_not(x)


@op("BitShift", since=11, layout=layout.elementwise)
def bit_shift(xp: Any, x: Tensor, count: Tensor, *, direction: str) -> Any:
    """Shift the bits of integers; the sign is copied to the right, and counts past the width leave nothing else."""
    if direction not in ("LEFT", "RIGHT"):
        raise refuse(f"direction={direction!r}", "it must be LEFT or RIGHT")
    return xp.shift_left(x, count) if direction == "LEFT" else xp.shift_right(x, count)
