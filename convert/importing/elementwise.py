"""Operators that work element by element, whatever the order in which the axes are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.convert.importing import sizes
from xport.convert.importing.tensor import Size, Tensor, constant, onnx_type
from xport.convert.importing.writer import Writer
from xport.signature import numpy_dtype

COMPARISONS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
_SMALL_INTS = ("int8", "int16", "uint8", "uint16")


@dataclass(frozen=True)
class Below:
    """Whether an index is negative."""

    index: Tensor


@dataclass(frozen=True)
class Shifted:
    """An index plus a size."""

    index: Tensor
    size: Size


@dataclass(frozen=True)
class Wrapped:
    """An index that counts from the end of an axis where it is negative, as ONNX's own operators do themselves."""

    index: Tensor
    size: Size


def _remark(op: str, tensors: Sequence[Tensor]) -> Any:
    """What a later operator wants to know about the result of an operator on indices."""
    if len(tensors) != 2 or tensors[0].dtype not in ("int32", "int64"):
        return None
    a, b = tensors
    if op == "Less" and b.const is not None and not np.any(b.const):
        return Below(a)
    if op == "Add":
        for index, size in ((a, b), (b, a)):
            if size.elements is not None and len(size.elements) == 1 and index.const is None:
                return Shifted(index, size.elements[0])
    return None


def _wrapped(condition: Tensor, yes: Tensor, no: Tensor) -> Wrapped | None:
    """The index that is meant, where a selection counts negative ones from the end."""
    below, shifted = condition.extra, yes.extra
    if (
        isinstance(below, Below)
        and isinstance(shifted, Shifted)
        and below.index.value is shifted.index.value is no.value
    ):
        return Wrapped(no, shifted.size)
    return None


def broadcast(w: Writer, tensors: Sequence[Tensor]) -> tuple[Size, ...] | None:
    """The sizes that operands have together; a fresh symbol where only run time can tell."""
    if any(t.dims is None for t in tensors):
        return None
    rank = max(len(t.dims or ()) for t in tensors)
    rows = [(1,) * (rank - len(t.dims or ())) + (t.dims or ()) for t in tensors]
    return tuple(_joined(w, column) for column in zip(*rows, strict=True))


def _joined(w: Writer, sizes: Sequence[Size]) -> Size:
    others = [size for size in sizes if size != 1]
    if not others:
        return 1
    numbers = [size for size in others if isinstance(size, int)]
    if numbers:
        return numbers[0]
    return others[0] if all(size == others[0] for size in others) else w.fresh()


_NOT_IN_DOUBLE = frozenset(
    ("Asinh", "Atanh", "Cosh", "Elu", "LeakyRelu", "Selu", "Sinh", "Softplus", "Softsign", "Tan")
)
"""What ONNX Runtime's CPU computes in float32 only; see `xport.convert.importing.doubles`."""


def apply(w: Writer, op: str, tensors: Sequence[Tensor], dtype: str = "", **attributes: Any) -> Tensor:
    """An elementwise operator of ONNX on operands that broadcast.

    Args:
        w: The writer.
        op: ONNX's name of the operator.
        tensors: The operands.
        dtype: The result's, if it is not the first operand's.
        **attributes: The operator's.

    Returns:
        The result, stored as the operands are.
    """
    kind = dtype or tensors[0].dtype
    if all(t.const is not None for t in tensors):
        folded: Tensor = w.op(op, tensors, kind, **attributes)
        return folded
    if kind == "float64" and op in _NOT_IN_DOUBLE:
        from xport.convert.importing.doubles import FORMULAS

        return FORMULAS[op](w, tensors[0], attributes)
    perm = w.choose(tensors)
    dims = broadcast(w, tensors)
    rank = len(dims or ())
    wide = w.stays_wide(tensors)
    values = [w.aligned(t, rank, perm, wide=wide) if dims is not None else w.value(t, wide=wide) for t in tensors]
    made = w.emit(op, values, ["int64" if wide and kind == "int32" else kind], attributes)[0]
    return Tensor(kind, dims, made, perm, wide=wide and kind == "int32", extra=_remark(op, tensors))


def like(value: float | int | bool, tensor: Tensor) -> Tensor:
    """A rank-0 constant of a tensor's dtype."""
    return constant(np.asarray(value).astype(numpy_dtype(tensor.dtype)))


def cast(w: Writer, x: Tensor, dtype: str) -> Tensor:
    """Another dtype; values that it cannot hold are the runtimes' own business, as in the source."""
    if x.dtype == dtype:
        return x
    if x.dtype == "int32" and dtype == "int64" and x.wide:
        return x.with_(dtype="int64", wide=False)
    if x.dtype == "int64" and dtype == "int32" and (x.elements is not None or x.const is not None):
        if x.const is not None:
            return constant(x.const.astype(np.int32), label=x.label)
        return x.with_(dtype="int32", wide=True)
    made = apply(w, "Cast", [x], dtype, to=int(onnx_type(dtype)))
    return made.with_(elements=x.elements if dtype in ("int32", "int64") else made.elements)


def arithmetic(w: Writer, op: str, a: Tensor, b: Tensor) -> Tensor:
    """Add, Sub, Mul or Div, with what is known about sizes carried along."""
    for kept, other in ((a, b), (b, a)):
        if _changes_nothing(op, kept, other, second=other is b):
            return kept
    result = apply(w, op, [a, b])
    if result.elements is not None or a.elements is None or b.elements is None or result.dims not in (a.dims, b.dims):
        return result
    count = max(len(a.elements), len(b.elements))
    left, right = (x * count if len(x) == 1 else x for x in (a.elements, b.elements))
    found = [_computed(op, x, y) for x, y in zip(left, right, strict=False)]
    return result if None in found else result.with_(elements=tuple(found))


def _changes_nothing(op: str, x: Tensor, other: Tensor, *, second: bool) -> bool:
    """Whether a constant is neutral: one in a product, zero in a sum of integers (floats know a negative zero)."""
    if other.const is None or x.const is not None or other.const.size != 1 or x.dims is None:
        return False
    if (other.rank or 0) > len(x.dims) or (op in ("Sub", "Div") and not second):
        return False
    neutral = 1 if op in ("Mul", "Div") else 0
    whole = x.dtype.startswith(("int", "uint"))
    return bool(other.const.reshape(()) == neutral) and (whole or op in ("Mul", "Div"))


def _computed(op: str, a: Size, b: Size) -> Size | None:
    """The sum, difference, product or quotient of two sizes, if it can be told."""
    if op == "Add":
        return sizes.add(a, b)
    if op == "Sub":
        return sizes.subtract(a, b)
    if op == "Mul":
        return sizes.times(a, b)
    return sizes.divide(a, b) if op == "Div" else None


def integer_division(w: Writer, a: Tensor, b: Tensor) -> Tensor:
    """Division of integers that rounds down; ONNX's own truncates."""
    if a.dtype.startswith("u") or _changes_nothing("Div", a, b, second=True):
        return arithmetic(w, "Div", a, b)
    if a.elements is not None and b.elements is not None and all(map(sizes.never_negative, a.elements + b.elements)):
        return arithmetic(w, "Div", a, b)
    quotient = apply(w, "Div", [a, b])
    remainder = apply(w, "Mod", [a, b])  # with the sign of the divisor: zero exactly where nothing is left
    truncated = apply(w, "Mod", [a, b], fmod=1)
    differs = apply(w, "Not", [apply(w, "Equal", [remainder, truncated], "bool")])
    return apply(w, "Sub", [quotient, cast(w, differs, a.dtype)])


def floor_division(w: Writer, a: Tensor, b: Tensor) -> Tensor:
    """``floor(a / b)``."""
    if a.dtype.startswith(("int", "uint")):
        return integer_division(w, a, b)
    return apply(w, "Floor", [apply(w, "Div", [a, b])])


def floor_modulo(w: Writer, a: Tensor, b: Tensor) -> Tensor:
    """The remainder with the sign of the divisor; ONNX has it for integers only."""
    if a.dtype.startswith(("int", "uint")):
        return apply(w, "Mod", [a, b])
    rest = apply(w, "Mod", [a, b], fmod=1)
    zero = like(0, a)
    crossed = apply(w, "Xor", [apply(w, "Less", [rest, zero], "bool"), apply(w, "Less", [b, zero], "bool")], "bool")
    nonzero = apply(w, "Not", [apply(w, "Equal", [rest, zero], "bool")])
    return select(w, apply(w, "And", [crossed, nonzero], "bool"), apply(w, "Add", [rest, b]), rest)


def select(w: Writer, condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """``yes`` where the condition holds, else ``no``."""
    if yes.dtype == "bool":
        both = apply(w, "And", [condition, yes])
        return apply(w, "Or", [both, apply(w, "And", [apply(w, "Not", [condition]), no])])
    if yes.dtype in ("int8", "int16", "uint16", "uint32", "uint64"):  # ONNX Runtime's Where lacks them
        through = "int64" if yes.dtype.endswith("64") or yes.dtype == "uint32" else "int32"
        return cast(w, select(w, condition, cast(w, yes, through), cast(w, no, through)), yes.dtype)
    made = apply(w, "Where", [condition, yes, no], yes.dtype)
    wrapped = _wrapped(condition, yes, no)
    return made if wrapped is None else made.with_(extra=wrapped)


def clip(w: Writer, x: Tensor, low: float | None, high: float | None) -> Tensor:
    """Bound values by numbers."""
    if low == 0 and high is None and x.dtype.startswith("float"):
        return apply(w, "Relu", [x])
    bounds = [None if b is None else w.value(like(b, x)) for b in (low, high)]
    while bounds and bounds[-1] is None:
        bounds.pop()
    made = w.emit("Clip", [w.stored(x, x.perm), *bounds], [x.dtype])[0]
    return Tensor(x.dtype, x.dims, made, x.perm)


def expm1(w: Writer, x: Tensor) -> Tensor:
    """``exp(x) - 1``, exact also near zero: ``2 t / (1 - t)`` with ``t = tanh(x / 2)``."""
    half = apply(w, "Tanh", [apply(w, "Mul", [x, like(0.5, x)])])
    ratio = apply(w, "Div", [apply(w, "Add", [half, half]), apply(w, "Sub", [like(1, x), half])])
    plain = apply(w, "Sub", [apply(w, "Exp", [x]), like(1, x)])
    return select(w, apply(w, "Less", [apply(w, "Abs", [x]), like(1, x)], "bool"), ratio, plain)


def log1p(w: Writer, x: Tensor) -> Tensor:
    """``log(1 + x)``, exact also near zero: ``2 atanh(x / (2 + x))``."""
    ratio = apply(w, "Div", [x, apply(w, "Add", [x, like(2, x)])])
    series = apply(w, "Atanh", [ratio])
    plain = apply(w, "Log", [apply(w, "Add", [x, like(1, x)])])
    near = apply(w, "Less", [apply(w, "Abs", [x]), like(0.5, x)], "bool")
    return select(w, near, apply(w, "Add", [series, series]), plain)


def atan2(w: Writer, y: Tensor, x: Tensor) -> Tensor:
    """The angle of a point, in all four quadrants; signed zeros give the angle of positive ones."""
    zero, pi = like(0, x), like(np.pi, x)
    angle = apply(w, "Atan", [apply(w, "Div", [y, x])])
    turned = select(w, apply(w, "Less", [y, zero], "bool"), apply(w, "Sub", [angle, pi]), apply(w, "Add", [angle, pi]))
    result = select(w, apply(w, "Less", [x, zero], "bool"), turned, angle)
    upright = apply(w, "Mul", [apply(w, "Sign", [y]), like(np.pi / 2, x)])
    return select(w, apply(w, "Equal", [x, zero], "bool"), upright, result)


def rsqrt(w: Writer, x: Tensor) -> Tensor:
    """One over the square root."""
    return apply(w, "Reciprocal", [apply(w, "Sqrt", [x])])


def square(w: Writer, x: Tensor) -> Tensor:
    """A value times itself."""
    return apply(w, "Mul", [x, x])


def add_all(w: Writer, tensors: Sequence[Tensor]) -> Tensor:
    """The sum of tensors, from left to right."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total = apply(w, "Add", [total, tensor])
    return total
