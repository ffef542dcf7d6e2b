"""QuantizeLinear, DequantizeLinear and their kin."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context, dtype_name
from xport.convert.lowering.registry import Tensor, op, refuse
from xport.convert.operators.casts import logical_dtype
from xport.convert.primitives.narrow_types import INTEGER_CARRIERS

RANGES = {
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint4": (0, 15),
    "int4": (-8, 7),
    "uint2": (0, 3),
    "int2": (-2, 1),
}
"""The numbers of each quantized integer type."""


def quantize(xp: Any, x: Any, scale: Any, zero: Any | None, dtype: str, *, saturate: bool = True) -> Any:
    """``saturate(round(x / scale) + zero)``, everything already of fitting shapes.

    Args:
        xp: The target's primitives.
        x: Floats.
        scale: Floats of the same type.
        zero: The zero point, of any type; None for zero.
        dtype: The quantized type.
        saturate: For eight-bit floats, see Cast.
    """
    ratio = xp.divide(x, scale)
    if dtype not in RANGES:
        shifted = ratio if zero is None else xp.add(ratio, xp.cast(zero, xp.dtype(ratio)))
        return xp.cast(shifted, dtype, saturate)
    if xp.dtype(ratio) in ("float16", "bfloat16"):
        ratio = xp.cast(ratio, "float32")  # the zero point and the limits may be no numbers of these types
    rounded = xp.round(ratio)
    shifted = rounded if zero is None else xp.add(rounded, xp.cast(zero, xp.dtype(rounded)))
    low, high = (xp.scalar(v, shifted) for v in RANGES[dtype])
    limited = xp.minimum(xp.maximum(shifted, low), high)
    return xp.cast(xp.cast(limited, "int32"), INTEGER_CARRIERS.get(dtype, dtype))


def dequantize(xp: Any, x: Any, scale: Any, zero: Any | None) -> Any:
    """``(x - zero) * scale`` in the scale's type, everything already of fitting shapes."""
    dtype = xp.dtype(scale)
    if "float" in xp.dtype(x):
        wide = xp.cast(x, "float32")
        wide = wide if zero is None else xp.sub(wide, xp.cast(zero, "float32"))
    else:
        wide = x if zero is None else xp.sub(xp.cast(x, "int32"), xp.cast(zero, "int32"))
    if dtype in ("float16", "bfloat16"):
        return xp.cast(xp.mul(xp.cast(wide, "float32"), xp.cast(scale, "float32")), dtype)
    return xp.mul(xp.cast(wide, dtype), scale)


def fit(xp: Any, x: Any, parameter: Any, axis: int, block_size: int) -> Any:
    """A scale or zero point in a shape that broadcasts to ``x``: one for all, one an index of an axis, or blocks."""
    rank, own = xp.rank(x), xp.rank(parameter)
    sizes = xp.shape(parameter)
    if own == 0 or (own == 1 and xp.is_one(sizes[0])):
        return xp.reshape(parameter, [])
    if own == 1:
        return xp.reshape(parameter, [-1 if i == axis % rank else 1 for i in range(rank)])
    if own != rank:
        raise refuse(f"a scale of rank {own}", f"the input has rank {rank}")
    return _blocks(xp, x, parameter, axis % rank, block_size)


def _blocks(xp: Any, x: Any, parameter: Any, axis: int, block_size: int) -> Any:
    """Repeat each element of a blocked parameter along its axis, as far as ``x`` goes."""
    wanted, sizes = xp.shape(x)[axis], xp.shape(parameter)
    if block_size <= 0:
        raise refuse("a blocked scale", "block_size must be positive")
    narrow = xp.dtype(parameter)
    if "int" in narrow:
        parameter = xp.cast(parameter, "int32")
    apart = xp.reshape(parameter, [*sizes[: axis + 1], 1, *sizes[axis + 1 :]])
    spread = xp.expand(apart, [*sizes[: axis + 1], block_size, *sizes[axis + 1 :]])
    joined = xp.reshape(spread, [*sizes[:axis], sizes[axis] * block_size, *sizes[axis + 1 :]])
    return xp.slice(joined, [(axis, 0, wanted, 1)])


def _quantized_type(context: Context, xp: Any, zero: Any | None, output_dtype: int) -> str:
    if zero is not None:
        return logical_dtype(xp, context, 2, zero)
    return dtype_name(ir.DataType(output_dtype)) if output_dtype else "uint8"


@op("QuantizeLinear", since=10, layout=layout.along_axis)
def quantize_linear(
    xp: Any,
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
    context: Context,
) -> Any:
    """Divide by the scale, round half to even, add the zero point, saturate.

    The division is in float32, as ONNX Runtime does it, unless the node names another precision or float64 is given.
    """
    dtype = _quantized_type(context, xp, zero, output_dtype)
    work = dtype_name(ir.DataType(precision)) if precision else "float32"
    if not precision and "float64" in (xp.dtype(x), xp.dtype(scale)):
        work = "float64"
    factor = fit(xp, x, xp.cast(scale, work), axis, block_size)
    offset = None if zero is None else fit(xp, x, zero, axis, block_size)
    return quantize(xp, xp.cast(x, work), factor, offset, dtype, saturate=bool(saturate))


@op("DequantizeLinear", since=10, layout=layout.along_axis)
def dequantize_linear(
    xp: Any,
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Any:
    """Subtract the zero point, multiply by the scale; the result has the scale's type or ``output_dtype``."""
    offset = None if zero is None else fit(xp, x, zero, axis, block_size)
    if output_dtype:
        scale = xp.cast(scale, dtype_name(ir.DataType(output_dtype)))
    return dequantize(xp, x, fit(xp, x, scale, axis, block_size), offset)


@op("QuantizeLinear", domain="com.microsoft", layout=layout.along_axis)
def quantize_linear_microsoft(
    xp: Any,
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    context: Context,
) -> Any:
    """ONNX Runtime's own form, of before the standard had 16 bits and blocks."""
    return quantize_linear(xp, x, scale, zero, axis=axis, block_size=block_size, context=context)


@op("DequantizeLinear", domain="com.microsoft", layout=layout.along_axis)
def dequantize_linear_microsoft(
    xp: Any, x: Tensor, scale: Tensor, zero: Tensor | None = None, *, axis: int = 1, block_size: int = 0
) -> Any:
    """ONNX Runtime's own form, of before the standard had 16 bits and blocks."""
    return dequantize_linear(xp, x, scale, zero, axis=axis, block_size=block_size)


def dynamic_parameters(xp: Any, x: Any) -> tuple[Any, Any]:
    """The scale and the uint8 zero point by which a tensor's numbers, and zero, fill 0 to 255."""
    axes = list(range(xp.rank(x)))
    zero = xp.scalar(0, x)
    high = xp.maximum(xp.reduce_max(x, axes, False), zero)
    low = xp.minimum(xp.reduce_min(x, axes, False), zero)
    scale = xp.divide(xp.sub(high, low), xp.scalar(255, x))
    scale = xp.where(xp.equal(high, low), xp.scalar(1, x), scale)
    start = xp.neg(xp.divide(low, scale))
    limited = xp.minimum(xp.maximum(start, zero), xp.scalar(255, x))
    return scale, xp.cast(xp.cast(xp.round(limited), "int32"), "uint8")


@op("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(xp: Any, x: Tensor) -> Any:
    """Quantize to uint8 by the tensor's own range, which always includes zero; also gives scale and zero point."""
    scale, zero = dynamic_parameters(xp, x)
    return quantize(xp, x, scale, zero, "uint8"), scale, zero
