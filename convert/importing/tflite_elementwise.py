"""TFLite's operators that work element by element."""

from __future__ import annotations

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, reducing, shaping
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tflite_registry import MOVES_ONLY, TABLE, Call, Handler, op

SAME = {name: name.capitalize() for name in ("ABS", "NEG", "EXP", "LOG", "SQRT", "SIN", "COS", "TANH", "RELU", "ELU")}
SAME |= {"CEIL": "Ceil", "FLOOR": "Floor", "ROUND": "Round", "SIGN": "Sign", "LOGISTIC": "Sigmoid"}
SAME |= {"MAXIMUM": "Max", "MINIMUM": "Min", "POW": "Pow", "BITWISE_XOR": "BitwiseXor"}
"""Operators with one of the same meaning in ONNX."""

LOGICAL = {"LOGICAL_NOT": "Not", "LOGICAL_AND": "And", "LOGICAL_OR": "Or", "EQUAL": "Equal", "LESS": "Less"}
LOGICAL |= {"LESS_EQUAL": "LessOrEqual", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual"}
"""The same, with boolean results."""


def _same(name: str) -> Handler:
    return lambda c: e.apply(c.w, name, c.tensors)


def _logical(name: str) -> Handler:
    return lambda c: e.apply(c.w, name, c.tensors, "bool")


def _clip(low: float, high: float | None) -> Handler:
    return lambda c: e.clip(c.w, c.x, low, high)


TABLE.update({name: _same(target) for name, target in SAME.items()})
TABLE.update({name: _logical(target) for name, target in LOGICAL.items()})
TABLE["RELU6"], TABLE["RELU_N1_TO_1"], TABLE["RELU_0_TO_1"] = _clip(0, 6), _clip(-1, 1), _clip(0, 1)
TABLE["RSQRT"] = lambda c: e.rsqrt(c.w, c.x)
TABLE["SQUARE"] = lambda c: e.square(c.w, c.x)
TABLE["SQUARED_DIFFERENCE"] = lambda c: e.square(c.w, e.apply(c.w, "Sub", c.tensors))
TABLE["ADD_N"] = lambda c: e.add_all(c.w, c.tensors)
TABLE["LEAKY_RELU"] = lambda c: e.apply(c.w, "LeakyRelu", [c.x], alpha=float(c.option("alpha", 0.0)))
TABLE["FLOOR_DIV"] = lambda c: e.floor_division(c.w, *c.tensors)
TABLE["FLOOR_MOD"] = lambda c: e.floor_modulo(c.w, *c.tensors)
TABLE["ATAN2"] = lambda c: e.atan2(c.w, *c.tensors)
TABLE["CAST"] = lambda c: e.cast(c.w, c.x, c.dtype)
TABLE["ZEROS_LIKE"] = lambda c: joining.fill(c.w, shaping.shape_of(c.w, c.x), e.like(0, c.x))


@op("ADD", "SUB", "MUL", "DIV")
def _arithmetic(c: Call) -> Tensor:
    return c.activated(e.arithmetic(c.w, c.kind.capitalize(), *c.tensors))


@op("NOT_EQUAL")
def _not_equal(c: Call) -> Tensor:
    return e.apply(c.w, "Not", [e.apply(c.w, "Equal", c.tensors, "bool")])


@op("SELECT", "SELECT_V2")
def _select(c: Call) -> Tensor:
    condition, yes, no = c.tensors
    if c.kind == "SELECT" and condition.rank == 1 and (yes.rank or 0) > 1:
        condition = shaping.unsqueeze(c.w, condition, list(range(1, yes.rank or 1)))
    return e.select(c.w, condition, yes, no)


@op("HARD_SWISH")
def _hard_swish(c: Call) -> Tensor:
    return e.apply(c.w, "HardSwish", [c.x])


@op("GELU")
def _gelu(c: Call) -> Tensor:
    how = {"approximate": "tanh"} if c.option("approximate", False) else {}
    return e.apply(c.w, "Gelu", [c.x], **how)


@op("PRELU")
def _prelu(c: Call) -> Tensor:
    x, slope = c.tensors
    positive = e.clip(c.w, x, 0, None)
    negative = e.apply(c.w, "Min", [x, e.like(0, x)])
    return e.apply(c.w, "Add", [positive, e.apply(c.w, "Mul", [negative, slope])])


@op("SOFTMAX", "LOG_SOFTMAX")
def _softmax(c: Call) -> Tensor:
    x = c.x
    beta = float(c.option("beta", 1.0)) if c.kind == "SOFTMAX" else 1.0
    if beta != 1.0:
        x = e.apply(c.w, "Mul", [x, e.like(beta, x)])
    return reducing.softmax(c.w, "Softmax" if c.kind == "SOFTMAX" else "LogSoftmax", x, -1)


@op("RIGHT_SHIFT")
def _right_shift(c: Call) -> Tensor:
    a, b = c.tensors
    if a.dtype.startswith("u"):
        return e.apply(c.w, "BitShift", [a, b], direction="RIGHT")
    if b.const is None:
        raise c.refuse("ONNX shifts signed numbers only by a division, whose divisor must be known")
    return e.floor_division(c.w, a, constant(np.left_shift(1, b.const.astype(np.int64)).astype(b.const.dtype)))


@op("QUANTIZE", "DEQUANTIZE")
def _real_numbers(c: Call) -> Tensor:
    """The reader puts values on the grid of the output; half precision is widened here."""
    if c.x.dtype in ("float16", "bfloat16") and c.dtype == "float32":
        return e.cast(c.w, c.x, "float32")
    return c.x


MOVES_ONLY.update({"QUANTIZE", "DEQUANTIZE", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "MAXIMUM", "MINIMUM"})


@op("FAKE_QUANT")
def _fake_quant(c: Call) -> Tensor:
    low, high = float(c.option("min")), float(c.option("max"))
    if c.option("numBits") != 8 or c.option("narrowRange"):
        raise c.refuse("only 8 bits in full range are written as QuantizeLinear")
    scale = np.float32((high - low) / 255)
    grid = [constant(scale), constant(np.uint8(np.clip(np.floor(-low / scale + 0.5), 0, 255)))]
    return e.apply(c.w, "DequantizeLinear", [e.apply(c.w, "QuantizeLinear", [c.x, *grid], "uint8"), *grid], "float32")
