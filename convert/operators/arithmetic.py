"""Elementwise operators: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import dtype_name
from xport.convert.lowering.registry import Tensor, op

UNARY = {
    "Abs": "abs",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Log": "log",
    "Neg": "neg",
    "Not": "logical_not",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Sqrt": "sqrt",
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
}
"""ONNX operators that are one primitive of two broadcasting tensors (since opset 7)."""


def _register_tables() -> None:
    for name, primitive in UNARY.items():

        def unary(xp: Any, x: Tensor, *, _primitive: str = primitive) -> Any:
            return getattr(xp, _primitive)(x)

        op(name, layout=layout.elementwise)(unary)
    for name, primitive in BINARY.items():

        def binary(xp: Any, a: Tensor, b: Tensor, *, _primitive: str = primitive) -> Any:
            return getattr(xp, _primitive)(a, b)

        op(name, since=7, layout=layout.elementwise)(binary)


_register_tables()


@op("Max", since=8, layout=layout.elementwise)
def maximum(xp: Any, *inputs: Tensor) -> Any:
    """The largest of any number of broadcasting tensors."""
    result = inputs[0]
    for other in inputs[1:]:
        result = xp.maximum(result, other)
    return result


@op("Min", since=8, layout=layout.elementwise)
def minimum(xp: Any, *inputs: Tensor) -> Any:
    """The smallest of any number of broadcasting tensors."""
    result = inputs[0]
    for other in inputs[1:]:
        result = xp.minimum(result, other)
    return result


@op("Clip", since=11, layout=layout.elementwise)
def clip(xp: Any, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Any:
    """Limit values to ``[low, high]``; the upper limit wins where they cross."""
    if low is not None:
        x = xp.maximum(x, low)
    return x if high is None else xp.minimum(x, high)


@op("Clip", since=6, until=10, layout=layout.elementwise)
def clip_6(xp: Any, x: Tensor, *, min: float = -3.402823e38, max: float = 3.402823e38) -> Any:
    """The older form, with limits as attributes."""
    return xp.minimum(xp.maximum(x, xp.scalar(min, x)), xp.scalar(max, x))


@op("Where", since=9, layout=layout.elementwise)
def where(xp: Any, condition: Tensor, a: Tensor, b: Tensor) -> Any:
    """Choose elementwise, with broadcasting."""
    return xp.where(condition, a, b)


@op("Cast", since=6, layout=layout.elementwise)
def cast(xp: Any, x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    """Convert the element type."""
    return xp.cast(x, dtype_name(ir.DataType(to)))


@op("Gelu", since=20, layout=layout.elementwise)
def gelu(xp: Any, x: Tensor, *, approximate: str = "none") -> Any:
    """The Gaussian error linear unit, exact (erf) or by the tanh formula, as the node says."""
    return xp.gelu(x, approximate)
