"""Element types that a target does not compute with, and the wider types that carry their values exactly.

ONNX stores weights in types of 2, 4 and 8 bits that few kernels take. While a graph is lowered, a tensor of such a
type is one of its carrier: every value is the same, only the storage is wider. At the interface the type is the
model's own, or the model is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

INTEGER_CARRIERS = {"int4": "int8", "uint4": "uint8", "int2": "int8", "uint2": "uint8"}
"""Integers of less than eight bits."""

FLOAT_CARRIERS = {
    "float4_e2m1fn": "float16",
    "float8_e4m3fn": "float16",
    "float8_e4m3fnuz": "float16",
    "float8_e5m2": "float16",
    "float8_e5m2fnuz": "float16",
    # Its smallest value is a subnormal float32, which TensorFlow flushes to zero.
    "float8_e8m0fnu": "float64",
}
"""Floats of at most eight bits; each carrier holds every value of the type."""

INTEGER_BITS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}
"""The width of an integer type that is carried."""


@dataclass(frozen=True)
class FloatFormat:
    """A float of few bits.

    Attributes:
        mantissa: Explicit mantissa bits.
        min_exponent: The exponent of the smallest normal number.
        max_exponent: The exponent of the largest number.
        max: The largest finite number.
        infinity: Whether it has infinities; otherwise what overflows is NaN.
        negative_zero: Whether it tells -0 from 0.
    """

    mantissa: int
    min_exponent: int
    max_exponent: int
    max: float
    infinity: bool = False
    negative_zero: bool = True


FLOAT_FORMATS = {
    "float4_e2m1fn": FloatFormat(1, 0, 2, 6.0),
    "float8_e4m3fn": FloatFormat(3, -6, 8, 448.0),
    "float8_e4m3fnuz": FloatFormat(3, -7, 7, 240.0, negative_zero=False),
    "float8_e5m2": FloatFormat(2, -14, 15, 57344.0, infinity=True),
    "float8_e5m2fnuz": FloatFormat(2, -15, 15, 57344.0, negative_zero=False),
}
"""Formats that a float is rounded into by its exponent; float8_e8m0fnu has no mantissa and a rule of its own."""


def carry(array: np.ndarray, carriers: dict[str, str]) -> np.ndarray:
    """An array in the type that carries its values; itself if its type needs no carrier."""
    carrier = carriers.get(array.dtype.name)
    return array if carrier is None else array.astype(carrier)
