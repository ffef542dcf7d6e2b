"""Arithmetic on sizes: a number, or a sum of products of symbols like ``2*batch*height-1``, always written alike."""

from __future__ import annotations

import re
from functools import lru_cache

from xport.convert.importing.tensor import Size

Product = tuple[str, ...]
"""Symbols in order; empty for the number."""

_SIGNED = re.compile(r"[+-]?[^+-]+")


@lru_cache(maxsize=4096)
def terms(size: Size) -> tuple[tuple[Product, int], ...]:
    """A size as factors of products of symbols."""
    if isinstance(size, int):
        return (((), size),)
    found: dict[Product, int] = {}
    for text in _SIGNED.findall(size):
        amount = -1 if text.startswith("-") else 1
        names = []
        for word in text.lstrip("+-").split("*"):
            if word.isdigit():
                amount *= int(word)
            else:
                names.append(word)
        product = tuple(sorted(names))
        found[product] = found.get(product, 0) + amount
    return tuple(found.items())


def _written(found: dict[Product, int]) -> Size:
    number = found.get((), 0)
    parts = []
    for product in sorted(p for p in found if p and found[p]):
        factor = found[product]
        text = "*".join(product) if abs(factor) == 1 else "*".join((str(abs(factor)), *product))
        parts.append(f"{'-' if factor < 0 else '+'}{text}")
    if not parts:
        return number
    if number:
        parts.append(f"{number:+d}")
    return "".join(parts).removeprefix("+")


def add(a: Size, b: Size) -> Size:
    """The sum of two sizes."""
    found = dict(terms(a))
    for product, factor in terms(b):
        found[product] = found.get(product, 0) + factor
    return _written(found)


def subtract(a: Size, b: Size) -> Size:
    """The difference of two sizes."""
    return add(a, times(b, -1))


def times(a: Size, b: Size) -> Size:
    """The product of two sizes."""
    found: dict[Product, int] = {}
    for left, m in terms(a):
        for right, n in terms(b):
            product = tuple(sorted((*left, *right)))
            found[product] = found.get(product, 0) + m * n
    return _written(found)


def divide(a: Size, b: Size) -> Size | None:
    """The quotient of two sizes; None if that leaves a remainder or cannot be told."""
    divisor = terms(b)
    if len(divisor) != 1 or divisor[0][1] == 0:
        return None
    symbols, number = divisor[0]
    found: dict[Product, int] = {}
    for product, factor in terms(a):
        rest = list(product)
        for symbol in symbols:
            if symbol not in rest:
                return None
            rest.remove(symbol)
        if factor % number:
            return None
        found[tuple(rest)] = factor // number
    return _written(found)


def never_negative(size: Size) -> bool:
    """Whether a size is certainly not below zero."""
    return all(factor >= 0 for _, factor in terms(size))
