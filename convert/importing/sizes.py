"""Arithmetic on sizes: a number, or a sum of symbols written like ``2*height-1``, always in the same way."""

from __future__ import annotations

import re

from xport.convert.importing.tensor import Size

_TERM = re.compile(r"([+-]?)(?:(\d+)\*)?([^+\-*\d][^+\-*]*|\d+)")


def _terms(size: Size) -> dict[str, int]:
    """Factor by symbol; the number stands under the empty name."""
    if isinstance(size, int):
        return {"": size}
    found: dict[str, int] = {}
    for sign, factor, word in _TERM.findall(size):
        amount = int(factor or 1) * (-1 if sign == "-" else 1)
        name, amount = ("", amount * int(word)) if word.isdigit() else (word, amount)
        found[name] = found.get(name, 0) + amount
    return found


def _written(terms: dict[str, int]) -> Size:
    number = terms.get("", 0)
    parts = []
    for name in sorted(n for n in terms if n and terms[n]):
        factor = terms[name]
        text = name if abs(factor) == 1 else f"{abs(factor)}*{name}"
        parts.append(f"{'-' if factor < 0 else '+'}{text}")
    if not parts:
        return number
    if number:
        parts.append(f"{number:+d}")
    return "".join(parts).removeprefix("+")


def add(a: Size, b: Size) -> Size:
    """The sum of two sizes."""
    terms = _terms(a)
    for name, factor in _terms(b).items():
        terms[name] = terms.get(name, 0) + factor
    return _written(terms)


def subtract(a: Size, b: Size) -> Size:
    """The difference of two sizes."""
    return add(a, times(b, -1))


def times(a: Size, factor: int) -> Size:
    """A multiple of a size."""
    return _written({name: amount * factor for name, amount in _terms(a).items()})


def divide(a: Size, divisor: int) -> Size | None:
    """A size divided by a number; None if that leaves a remainder or cannot be told."""
    terms = _terms(a)
    if divisor == 0 or any(amount % divisor for amount in terms.values()):
        return None
    return _written({name: amount // divisor for name, amount in terms.items()})
