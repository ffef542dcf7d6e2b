"""TensorFlow's operators that work element by element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, shaping
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_loops import source
from xport.convert.importing.tf_registry import TABLE, Call, Handler, op
from xport.signature import numpy_dtype

SAME = {
    **{name: name for name in ("Abs", "Neg", "Exp", "Log", "Sqrt", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan")},
    **{name: name for name in ("Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh", "Sigmoid", "Relu", "Softplus")},
    **{name: name for name in ("Softsign", "Erf", "Ceil", "Floor", "Sign", "Reciprocal", "Elu", "Selu", "Round")},
    "Inv": "Reciprocal",
    "Rint": "Round",
    "Invert": "BitwiseNot",
    "Maximum": "Max",
    "BitwiseOr": "BitwiseOr",
    "BitwiseXor": "BitwiseXor",
    "Pow": "Pow",
    "TruncateDiv": "Div",
    "AddV2": "Add",
    "Add": "Add",
    "Sub": "Sub",
    "Mul": "Mul",
    "RealDiv": "Div",
}
"""Operators with one of the same meaning in ONNX."""

LOGICAL = {
    "LogicalNot": "Not",
    "LogicalAnd": "And",
    "LogicalOr": "Or",
    "Equal": "Equal",
    "Less": "Less",
    "LessEqual": "LessOrEqual",
    "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual",
    "IsNan": "IsNaN",
}
"""The same, with boolean results."""

UNCHANGED = (
    "Identity",
    "StopGradient",
    "PreventGradient",
    "Snapshot",
    "EnsureShape",
    "CheckNumerics",
    "CheckNumericsV2",
    "PlaceholderWithDefault",
    "DebugIdentityV2",
    "OptimizationBarrier",
)
"""Operators that give what they are given."""


def _same(name: str) -> Handler:
    def handler(c: Call) -> Tensor:
        if name in ("Add", "Sub", "Mul", "Div") and len(c.inputs) == 2:
            return e.arithmetic(c.w, name, *c.inputs)
        return e.apply(c.w, name, c.inputs)

    return handler


def _logical(name: str) -> Handler:
    return lambda c: e.apply(c.w, name, c.inputs, "bool")


TABLE.update({name: _same(target) for name, target in SAME.items()})
TABLE.update({name: _logical(target) for name, target in LOGICAL.items()})
TABLE["Div"] = lambda c: (
    e.floor_division(c.w, *c.inputs) if c.dtype.startswith(("int", "uint")) else e.apply(c.w, "Div", c.inputs)
)
TABLE["FloorDiv"] = lambda c: e.floor_division(c.w, *c.inputs)
TABLE["FloorMod"] = lambda c: e.floor_modulo(c.w, *c.inputs)
TABLE["TruncateMod"] = TABLE["Mod"] = lambda c: e.apply(c.w, "Mod", c.inputs, fmod=1)
TABLE["Rsqrt"] = lambda c: e.rsqrt(c.w, c.x)
TABLE["Square"] = lambda c: e.square(c.w, c.x)
TABLE["SquaredDifference"] = lambda c: e.square(c.w, e.apply(c.w, "Sub", c.inputs))
TABLE["AddN"] = TABLE["AccumulateNV2"] = lambda c: e.add_all(c.w, c.inputs)
TABLE["Expm1"] = lambda c: e.expm1(c.w, c.x)
TABLE["Log1p"] = lambda c: e.log1p(c.w, c.x)
TABLE["Erfc"] = lambda c: e.apply(c.w, "Sub", [e.like(1, c.x), e.apply(c.w, "Erf", [c.x])])
TABLE["Atan2"] = lambda c: e.atan2(c.w, *c.inputs)
TABLE["Relu6"] = lambda c: e.clip(c.w, c.x, 0, 6)
TABLE["LeakyRelu"] = lambda c: e.apply(c.w, "LeakyRelu", [c.x], alpha=float(c.attr("alpha", 0.2)))
TABLE["SelectV2"] = lambda c: e.select(c.w, *c.inputs)
TABLE["IdentityN"] = lambda c: c.inputs
TABLE["ZerosLike"] = lambda c: _filled(c, 0)
TABLE["OnesLike"] = lambda c: _filled(c, 1)
TABLE.update({name: lambda c: c.x for name in UNCHANGED})


def _filled(c: Call, value: int) -> Tensor:
    return joining.fill(c.w, shaping.shape_of(c.w, c.x), e.like(value, c.x))


@op("Cast")
def _cast(c: Call) -> Tensor:
    return e.cast(c.w, c.x, c.dtype)


@dataclass(frozen=True)
class Bits:
    """The bits of a float read as an integer, of which ONNX can only tell the sign."""

    number: Tensor


@op("Bitcast")
def _bitcast(c: Call) -> Tensor:
    target, own = c.dtype, c.x.dtype
    if target == own:
        return c.x
    if c.x.const is not None and c.x.rank:
        return constant(c.x.const.view(numpy_dtype(target)))
    if own in ("float16", "float32", "float64") and target == f"int{own.removeprefix('float')}":
        label = f"Bitcast ({c.op.name}): the bits of a number"
        return Tensor(target, c.x.dims, label=label, extra=Bits(c.x))
    raise c.refuse("ONNX cannot read the bits of a number as another type")


def _sign_bit(c: Call, x: Tensor) -> Tensor:
    """Whether a float is negative; so is a zero that one over it tells to be. The sign of what is no number is lost."""
    negative = e.apply(c.w, "Less", [x, e.like(0, x)], "bool")
    zero = e.apply(c.w, "Equal", [x, e.like(0, x)], "bool")
    below = e.apply(c.w, "Less", [e.apply(c.w, "Reciprocal", [x]), e.like(0, x)], "bool")
    return e.apply(c.w, "Or", [negative, e.apply(c.w, "And", [zero, below])])


@op("Minimum")
def _minimum(c: Call) -> Tensor:
    """The least of both; of an integer and what is at least as large, that integer: so a table's size is kept."""
    for i, bound in enumerate(c.inputs):
        other = source(c.op.inputs[1 - i])
        if bound.const is None or bound.const.dtype.kind not in "iu" or bound.const.ndim or other.type != "Maximum":
            continue
        lower = [c.values[t.name].const for t in other.inputs if t.name in c.values]
        if other.outputs[0].shape.rank == 0 and any(a is not None and a >= bound.const for a in lower):
            return bound
    return e.apply(c.w, "Min", c.inputs)


@op("BitwiseAnd")
def _bitwise_and(c: Call) -> Tensor:
    for bits, mask in (c.inputs, c.inputs[::-1]):
        if isinstance(bits.extra, Bits) and mask.const is not None:
            lowest = np.iinfo(mask.const.dtype).min
            if np.all(mask.const == lowest):
                return e.select(c.w, _sign_bit(c, bits.extra.number), e.like(int(lowest), bits), e.like(0, bits))
    return e.apply(c.w, "BitwiseAnd", c.inputs)


@op("Less", "GreaterEqual")
def _compared(c: Call) -> Tensor:
    bits, bound = c.inputs
    if isinstance(bits.extra, Bits) and bound.const is not None and not np.any(bound.const):
        negative = _sign_bit(c, bits.extra.number)
        return negative if c.op.type == "Less" else e.apply(c.w, "Not", [negative])
    return e.apply(c.w, LOGICAL[c.op.type], c.inputs, "bool")


@op("NotEqual")
def _not_equal(c: Call) -> Tensor:
    return e.apply(c.w, "Not", [e.apply(c.w, "Equal", c.inputs, "bool")])


@op("IsInf", "IsFinite")
def _finite(c: Call) -> Tensor:
    infinite = e.apply(c.w, "IsInf", [c.x], "bool")
    if c.op.type == "IsInf":
        return infinite
    return e.apply(c.w, "Not", [e.apply(c.w, "Or", [infinite, e.apply(c.w, "IsNaN", [c.x], "bool")])])


@op("ApproximateEqual")
def _nearly_equal(c: Call) -> Tensor:
    distance = e.apply(c.w, "Abs", [e.apply(c.w, "Sub", c.inputs)])
    return e.apply(c.w, "Less", [distance, e.like(float(c.attr("tolerance", 1e-5)), distance)], "bool")


@op("ClipByValue")
def _clip(c: Call) -> Tensor:
    return e.apply(c.w, "Min", [e.apply(c.w, "Max", [c.x, c.inputs[1]]), c.inputs[2]])


@op("DivNoNan", "MulNoNan", "Xdivy", "Xlogy", "Xlog1py")
def _no_nan(c: Call) -> Tensor:
    a, b = c.inputs
    zero = e.like(0, a)
    if c.op.type in ("DivNoNan", "Xdivy"):
        result = e.apply(c.w, "Div", [a, b])
    elif c.op.type == "MulNoNan":
        result = e.apply(c.w, "Mul", [a, b])
    else:
        inner = e.apply(c.w, "Log", [b]) if c.op.type == "Xlogy" else e.log1p(c.w, b)
        result = e.apply(c.w, "Mul", [a, inner])
    decides = b if c.op.type in ("DivNoNan", "MulNoNan") else a
    return e.select(c.w, e.apply(c.w, "Equal", [decides, zero], "bool"), zero, result)


@op("Select")
def _select(c: Call) -> Tensor:
    condition, yes, no = c.inputs
    if condition.rank == 1 and (yes.rank or 0) > 1:
        condition = shaping.unsqueeze(c.w, condition, list(range(1, yes.rank or 1)))
    return e.select(c.w, condition, yes, no)


@op("LeftShift", "RightShift")
def _shift(c: Call) -> Tensor:
    a, b = c.inputs
    if a.dtype.startswith("u"):
        return e.apply(c.w, "BitShift", [a, b], direction=c.op.type.removesuffix("Shift").upper())
    if b.const is None:
        raise c.refuse("ONNX shifts signed numbers only by a multiplication, whose factor must be known")
    power = constant(np.left_shift(1, b.const.astype(np.int64)).astype(numpy_dtype(a.dtype)))
    if c.op.type == "LeftShift":
        return e.apply(c.w, "Mul", [a, power])
    return e.floor_division(c.w, a, power)


@op("BiasAdd", "BiasAddV1")
def _bias(c: Call) -> Tensor:
    x, bias = c.inputs
    if c.attr("data_format", "NHWC") == "NCHW" and (x.rank or 0) > 2:
        bias = shaping.unsqueeze(c.w, bias, list(range(1, (x.rank or 0) - 1)))
    return e.apply(c.w, "Add", [x, bias])
