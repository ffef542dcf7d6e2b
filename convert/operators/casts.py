"""Conversions between element types."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context, dtype_name
from xport.convert.lowering.registry import Tensor, op, refuse
from xport.convert.primitives.narrow_types import FLOAT_CARRIERS, INTEGER_CARRIERS


@op("Cast", since=6, layout=layout.elementwise)
def cast(xp: Any, x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    """Convert the element type.

    Integers wrap around, floats are cut off towards zero; into eight-bit floats they are rounded half to even and,
    with ``saturate``, limited to the largest number.
    """
    return xp.cast(x, dtype_name(ir.DataType(to)), bool(saturate), round_mode)


@op("CastLike", since=15, layout=layout.elementwise)
def cast_like(xp: Any, x: Tensor, like: Tensor, *, saturate: int = 1, round_mode: str = "up", context: Context) -> Any:
    """Convert to the element type of a second tensor, whose content does not matter."""
    return xp.cast(x, logical_dtype(xp, context, 1, like), bool(saturate), round_mode)


@op("BitCast", since=26, layout=layout.elementwise)
def bit_cast(xp: Any, x: Tensor, *, to: int, context: Context) -> Any:
    """Reinterpret the bits as another type of the same width."""
    source = logical_dtype(xp, context, 0, x)
    dtype = dtype_name(ir.DataType(to))
    if source == dtype:
        return x
    if any(name in INTEGER_CARRIERS or name == "float4_e2m1fn" for name in (source, dtype)):
        raise refuse(f"a bit cast from {source} to {dtype}", "types below eight bits are not stored in their own bits")
    if xp.flavor == "tflite" and (source in FLOAT_CARRIERS or dtype in FLOAT_CARRIERS):
        raise refuse(f"a bit cast from {source} to {dtype}", "TensorFlow Lite stores no eight-bit floats")
    return xp.bit_cast(x, dtype)


def logical_dtype(xp: Any, context: Context, index: int, tensor: Any) -> str:
    """The ONNX element type of an input, which the tensor only carries if the target lacks it."""
    value = context.node.inputs[index]
    known = None if value is None else value.dtype
    return str(xp.dtype(tensor)) if known is None else dtype_name(known)
