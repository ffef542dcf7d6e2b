"""Rounding into element types of few bits, with the primitives that every target has."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering.registry import refuse
from xport.convert.primitives.narrow_types import FLOAT_FORMATS, INTEGER_BITS


def wrap_to_bits(xp: Any, x: Any, dtype: str) -> Any:
    """Numbers as an integer of two or four bits: floats rounded half away from zero, higher bits dropped.

    The specification leaves the rounding open; this is what ONNX Runtime does.
    """
    source = xp.dtype(x)
    if "float" in source:
        x = xp.cast(x, "float32") if source != "float64" else x
        half = xp.scalar(0.5, x)
        whole = xp.floor(xp.add(xp.abs(x), half))
        x = xp.cast(xp.where(xp.less(x, xp.scalar(0, x)), xp.neg(whole), whole), "int32")
    elif source in ("bool", "int8", "uint8"):
        x = xp.cast(x, "int32")
    bits = INTEGER_BITS[dtype]
    signed = dtype.startswith("int")
    offset = 1 << (bits - 1) if signed else 0
    if xp.dtype(x).startswith("uint"):
        x = xp.cast(x, "int64")
    shifted = xp.modulo(xp.add(x, xp.scalar(offset, x)), xp.scalar(1 << bits, x))
    return xp.sub(shifted, xp.scalar(offset, x))


def round_to_format(xp: Any, x: Any, dtype: str, saturate: bool) -> Any:
    """Floats rounded half to even to the nearest numbers of a narrow format, still in their own type.

    Args:
        xp: The target's primitives.
        x: float32 or float64 numbers.
        dtype: A name in `FLOAT_FORMATS`.
        saturate: Whether what overflows becomes the largest number, rather than infinity or NaN.
    """
    form = FLOAT_FORMATS[dtype]
    spacing = xp.quantum(x, form)
    rounded = xp.mul(xp.round(xp.divide(x, spacing)), spacing)
    low, high = xp.scalar(-form.max, x), xp.scalar(form.max, x)
    above, below = xp.greater(rounded, high), xp.less(rounded, low)
    if saturate or dtype == "float4_e2m1fn":
        over, under = high, low
    elif form.infinity:
        over, under = xp.scalar(float("inf"), x), xp.scalar(float("-inf"), x)
    else:
        over = under = xp.scalar(float("nan"), x)
    result = xp.where(above, over, xp.where(below, under, rounded))
    return result if form.negative_zero else xp.add(result, xp.scalar(0.0, x))


def round_to_e8m0(xp: Any, x: Any, saturate: bool, round_mode: str) -> Any:
    """Positive float32 numbers as powers of two, by the rule of onnx's ``to_float8e8m0``; NaN and infinity are NaN."""
    exponent, fraction = xp.exponent_and_fraction(x)
    zero, one = xp.scalar(0, exponent), xp.scalar(1, exponent)
    half = xp.scalar(1 << 22, fraction)
    if round_mode == "up":
        more = xp.greater(fraction, xp.scalar(0, fraction))
    elif round_mode == "down":
        more = xp.less(fraction, xp.scalar(0, fraction))
    elif round_mode == "nearest":
        tie_up = xp.logical_and(xp.equal(fraction, half), xp.greater(exponent, zero))
        more = xp.logical_or(xp.greater(fraction, half), tie_up)
    else:
        raise refuse(f"round_mode={round_mode!r}", "it must be up, down or nearest")
    top = xp.scalar(254, exponent)
    special = xp.greater(exponent, top)
    raised = xp.add(exponent, xp.where(more, one, zero))
    limit = top if saturate else xp.scalar(255, exponent)
    index = xp.minimum(raised, limit)
    result = xp.power_of_two(xp.where(special, zero, index))
    nan = xp.scalar(float("nan"), result)
    return xp.where(xp.logical_or(special, xp.greater(index, top)), nan, result)
