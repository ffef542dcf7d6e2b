"""Exact arithmetic on integers that a target's kernels lack, written with the ones that it has.

An unsigned 64-bit number is handled as the int64 of the same bits: sums and products are the same bits, an order is
the signed one after flipping the top bit, and quotients follow Hacker's Delight, section 9-3. TFLite has no int64
division at all, so quotients are found with floats and corrected until they are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MIN64 = np.iinfo(np.int64).min
FLOAT_STEPS = 4
"""Each step of `divide_by_floats` finds at least 22 bits of a quotient of 64."""

FLOAT_LIMIT = 2.0**62


def flip_order(xp: Any, bits: Any) -> Any:
    """Map unsigned order onto signed order: the top bit is flipped."""
    return xp.add(bits, xp.scalar(MIN64, bits))


def unsigned_less(xp: Any, a: Any, b: Any) -> Any:
    """Whether ``a < b`` as unsigned numbers."""
    return xp.less(flip_order(xp, a), flip_order(xp, b))


def unsigned_divide(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient and remainder of unsigned numbers held as int64.

    A divisor of 2**63 or more goes at most once. Below that, half the dividend is a non-negative int64, twice its
    quotient is the result or one too small.
    """
    zero, one, two = (xp.scalar(v, a) for v in (0, 1, 2))
    huge = xp.less(b, zero)
    divisor = xp.where(huge, one, b)
    # a >> 1 as unsigned: the arithmetic shift, without the sign that it copied in.
    odd = xp.modulo(a, two)
    half = xp.divide(xp.sub(a, odd), two)
    half = xp.where(xp.less(a, zero), xp.sub(half, xp.scalar(MIN64, a)), half)
    quotient = xp.mul(xp.divide(half, divisor), two)
    rest = xp.sub(a, xp.mul(quotient, divisor))
    again = xp.logical_not(unsigned_less(xp, rest, divisor))
    quotient = xp.where(again, xp.add(quotient, one), quotient)
    once = xp.logical_not(unsigned_less(xp, a, b))
    quotient = xp.where(huge, xp.where(once, one, zero), quotient)
    return quotient, xp.sub(a, xp.mul(quotient, b))


def divide_by_floats(xp: Any, a: Any, b: Any) -> Any:
    """The int64 quotient truncated towards zero, by float32 estimates of what is left."""
    zero, one = xp.scalar(0, a), xp.scalar(1, a)
    single = xp.cast(b, "float32")
    quotient, rest = xp.mul(zero, a), a
    for _ in range(FLOAT_STEPS):
        estimate = xp.divide(xp.cast(rest, "float32"), single)
        limited = xp.minimum(xp.maximum(estimate, xp.scalar(-FLOAT_LIMIT, single)), xp.scalar(FLOAT_LIMIT, single))
        step = xp.cast(limited, "int64")
        quotient = xp.add(quotient, step)
        rest = xp.sub(rest, xp.mul(step, b))
    size = xp.where(xp.less(b, zero), xp.neg(b), b)
    toward = xp.where(xp.less(a, zero), xp.neg(one), one)
    direction = xp.where(xp.less(b, zero), xp.neg(toward), toward)
    signed_rest = xp.mul(rest, toward)  # now it has to lie in [0, |b|)
    short = xp.less(signed_rest, zero)
    long = xp.greater_equal(signed_rest, size)
    return xp.where(short, xp.sub(quotient, direction), xp.where(long, xp.add(quotient, direction), quotient))


def integer_power(xp: Any, base: Any, exponent: Any) -> Any:
    """An integer to an integer power by squaring, modulo the type's width; negative powers are truncated quotients."""
    zero, one = (xp.scalar(v, base) for v in (0, 1))
    count = xp.cast(exponent, xp.dtype(base))
    negative = xp.less(count, zero)
    left = xp.where(negative, zero, count)
    result, square = xp.add(xp.mul(base, zero), one), base
    top = {"int32": 30, "int64": 62}[xp.dtype(base)]
    for bit in range(top + 1):
        low = left if bit == top else xp.modulo(left, xp.scalar(1 << (bit + 1), left))
        result = xp.where(xp.greater_equal(low, xp.scalar(1 << bit, left)), xp.mul(result, square), result)
        square = xp.mul(square, square)
    return xp.where(negative, _reciprocal_power(xp, base, count), result)


def _reciprocal_power(xp: Any, base: Any, count: Any) -> Any:
    """``base ** count`` for negative counts, truncated: only ±1 leave anything; 0 has no answer and gives 0."""
    zero, one, two = (xp.scalar(v, base) for v in (0, 1, 2))
    even = xp.equal(xp.modulo(count, two), zero)
    flipped = xp.where(even, one, xp.neg(one))
    return xp.where(xp.equal(base, one), one, xp.where(xp.equal(base, xp.neg(one)), flipped, zero))
