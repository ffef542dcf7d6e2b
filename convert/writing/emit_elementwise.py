"""Arithmetic, comparison, logic, and types."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering.interpreter import dtype_name
from xport.convert.writing.code import Code, Operand, binary, call, literal, method, named, unary
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit, refuse
from xport.convert.writing.sizes import Sizes, combine
from xport.convert.writing.translator import dtype_code


def pair(node: NodeView) -> list[Any]:
    """Both inputs, a constant as a number where the other one has at least its rank."""
    return [_side(node, i) for i in range(node.count)]


def _side(node: NodeView, i: int) -> Any:
    other = node.shape(1 - i) if node.count == 2 else None
    own = node.shape(i)
    number = own == () or (own is not None and other is not None and len(own) <= len(other))
    return node.operand(i, number=number and node.const(1 - i if node.count == 2 else i) is None)


def sized(node: NodeView) -> Sizes | None:
    """The result for sizes, one by one."""
    first, second = node.entry(0), node.entry(1)
    if not (isinstance(first, Sizes) or isinstance(second, Sizes)):
        return None
    if not all(isinstance(e, Sizes) or (isinstance(e, np.ndarray) and e.dtype.kind == "i") for e in (first, second)):
        return None
    if any(len(node.shape(i) or ()) > 1 for i in (0, 1)):
        return None
    a, b = node.sizes(0), node.sizes(1)
    length = max(len(a), len(b))
    if len(a) not in (1, length) or len(b) not in (1, length):
        return None
    items = [combine(node.kind, a[i % len(a)], b[i % len(b)]) for i in range(length)]
    if any(item is None for item in items):
        return None
    scalar = all((e.scalar if isinstance(e, Sizes) else e.ndim == 0) for e in (first, second) if e is not None)  # type: ignore[union-attr]
    return Sizes(tuple(item for item in items if item is not None), scalar)


_SIGNS = {"Add": "+", "Sub": "-", "Mul": "*", "Equal": "==", "Less": "<", "LessOrEqual": "<=", "Greater": ">"}
_SIGNS |= {"GreaterOrEqual": ">=", "And": "&", "Or": "|", "Xor": "^", "BitwiseAnd": "&", "BitwiseOr": "|"}
_SIGNS |= {"BitwiseXor": "^"}


@emit(*_SIGNS)
def operator(node: NodeView) -> Any:
    """What Python has an operator for."""
    if node.kind in ("Add", "Sub", "Mul"):
        found = sized(node)
        if found is not None:
            return found
    if node.kind == "Mul":
        gated = _gated(node)
        if gated is not None:
            return gated
    a, b = pair(node)
    return binary(_SIGNS[node.kind], a, b)


def _gated(node: NodeView) -> Code | None:
    """``x * sigmoid(x)`` by its name."""
    for i in (0, 1):
        maker = node.value(i).producer()
        if maker is not None and maker.op_type == "Sigmoid" and maker.inputs[0] is node.value(1 - i):
            return named(call("F.silu", node.x(1 - i)), "", "nn.SiLU()")
    return None


@emit("Div")
def divide(node: NodeView) -> Any:
    """Division; of integers towards zero."""
    found = sized(node)
    if found is not None:
        return found
    a, b = pair(node)
    if node.is_float(0):
        return binary("/", a, b)
    return call("torch.div", _tensor(node, 0, a), b, rounding_mode="trunc")


def _tensor(node: NodeView, i: int, given: Any) -> Any:
    return node.x(i) if isinstance(given, int | float | bool) else given


@emit("Mod")
def modulo(node: NodeView) -> Any:
    """The remainder, with the sign of the divisor or, with ``fmod``, of the dividend."""
    found = None if node.attr("fmod", 0) else sized(node)
    if found is not None:
        return found
    a, b = pair(node)
    return call("torch.fmod" if node.attr("fmod", 0) else "torch.remainder", _tensor(node, 0, a), b)


@emit("Pow")
def power(node: NodeView) -> Code:
    """``x ** y``, in the type of ``x``."""
    a, b = pair(node)
    if node.dtype(0) == node.dtype(1) or (node.is_float(0) and isinstance(b, int | float)):
        whole = isinstance(b, float) and b.is_integer() and abs(b) < 100
        return binary("**", a, int(b) if whole else b)
    return method(binary("**", _tensor(node, 0, a), node.x(1)), "to", dtype_code(node.dtype(0) or "float32"))


_FUNCTIONS = {
    **{name: name.lower() for name in ("Abs", "Exp", "Log", "Sqrt", "Floor", "Ceil", "Round", "Sign", "Erf")},
    **{name: name.lower() for name in ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh")},
    **{name: name.lower() for name in ("Acosh", "Atanh", "Reciprocal", "Tanh", "Sigmoid")},
    "IsNaN": "isnan",
    "BitwiseNot": "bitwise_not",
    "Det": "det",
}
_MODULES = {"Tanh": "nn.Tanh()", "Sigmoid": "nn.Sigmoid()"}


@emit(*_FUNCTIONS)
def function(node: NodeView) -> Code:
    """Functions of one tensor that `torch` has under the same name."""
    name = "special.erf" if node.kind == "Erf" else _FUNCTIONS[node.kind]
    return named(call(f"torch.{name}", node.x()), "", _MODULES.get(node.kind))


@emit("Neg", "Not")
def negative(node: NodeView) -> Any:
    """``-x`` and ``~x``."""
    entry = node.entry(0)
    if node.kind == "Neg" and isinstance(entry, Sizes):
        items = tuple(combine("Sub", 0, item) for item in entry.items)
        return Sizes(tuple(item for item in items if item is not None), entry.scalar)
    return unary("-" if node.kind == "Neg" else "~", node.x())


@emit("IsInf")
def is_infinite(node: NodeView) -> Code:
    """Whether a number is infinite, of both signs or of one."""
    up, down = node.attr("detect_positive", 1), node.attr("detect_negative", 1)
    name = "isinf" if up and down else "isposinf" if up else "isneginf"
    return call(f"torch.{name}", node.x())


@emit("Min", "Max")
def extreme(node: NodeView) -> Any:
    """The smallest or the largest of several tensors."""
    found = sized(node) if node.count == 2 else None
    if found is not None:
        return found
    if node.count == 2:
        for i in (0, 1):
            number = _side(node, i)
            if isinstance(number, int | float) and not isinstance(number, bool):
                return method(node.x(1 - i), "clamp", **{"max" if node.kind == "Min" else "min": number})
    name = "torch.minimum" if node.kind == "Min" else "torch.maximum"
    return reduce(lambda a, b: call(name, a, b), [node.x(i) for i in range(1, node.count)], node.x(0))


@emit("Sum", "Mean")
def several(node: NodeView) -> Any:
    """The sum or the mean of several tensors."""
    total: Operand = reduce(lambda a, b: binary("+", a, b), [node.x(i) for i in range(1, node.count)], node.x(0))
    return total if node.kind == "Sum" else binary("/", total, node.count)


@emit("Clip")
def clip(node: NodeView) -> Any:
    """Bounds, as attributes before opset 11."""
    bounds: dict[str, Any] = {}
    for i, name in ((1, "min"), (2, "max")):
        if node.version < 11:
            bounds[name] = node.attr(name)
        elif node.has(i):
            bounds[name] = node.operand(i)
    # The specification's defaults are the ends of the type.
    given = {name: value for name, value in bounds.items() if value is not None and not _endless(value)}
    if not given:
        return node.entry(0)
    kinds = {isinstance(value, int | float) for value in given.values()}
    if kinds == {True, False}:
        given = {name: node.x(1 if name == "min" else 2) for name in given}
    return named(method(node.x(), "clamp", **given), "", _clamp_module(given))


def _endless(value: Any) -> bool:
    return isinstance(value, float) and abs(value) >= float(np.finfo(np.float32).max)


def _clamp_module(given: dict[str, Any]) -> str | None:
    return "nn.ReLU6()" if given == {"min": 0.0, "max": 6.0} else None


@emit("Where")
def where(node: NodeView) -> Any:
    """One of two tensors, element by element."""
    first, second = node.entry(1), node.entry(2)
    chosen = node.const(0)
    if chosen is not None and chosen.size == 1 and (isinstance(first, Sizes) or isinstance(second, Sizes)):
        return first if bool(chosen.reshape(-1)[0]) else second
    a, b = node.operand(1), node.operand(2)
    if isinstance(a, int | float) and isinstance(b, int | float):
        b = node.x(2)
    return call("torch.where", node.x(0), a, b)


@emit("Cast")
def cast(node: NodeView) -> Any:
    """Another type; sizes stay sizes as integers."""
    return to_type(node, dtype_name(ir.DataType(node.attr("to"))))


@emit("CastLike")
def cast_like(node: NodeView) -> Any:
    """The type of another tensor."""
    wanted = node.dtype(1)
    if wanted is None:
        return method(node.x(0), "type_as", node.x(1))
    return to_type(node, wanted)


def to_type(node: NodeView, wanted: str) -> Any:
    """Input 0 in a type."""
    entry = node.entry(0)
    if node.dtype(0) == wanted or (isinstance(entry, Sizes) and wanted in ("int64", "int32")):
        return entry
    if wanted == "string":
        raise refuse("PyTorch has no strings")
    return method(node.x(), "to", dtype_code(wanted))


@emit("BitShift")
def shift(node: NodeView) -> Code:
    """Bits moved to the left or the right."""
    return binary("<<" if node.attr("direction") == "LEFT" else ">>", node.x(0), node.x(1))


@emit("Identity", "Dropout")
def identity(node: NodeView) -> Any:
    """The same; dropout does nothing when a model is used."""
    if node.kind == "Dropout" and node.has(2) and node.static(2, "training_mode").any():
        raise refuse("dropout in training mode is random")
    kept = literal(True)
    return (
        [node.entry(0), call("torch.full_like", node.x(), kept, dtype=dtype_code("bool"))]
        if (node.wants(1))
        else node.entry(0)
    )
