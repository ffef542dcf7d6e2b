"""Sizes as Python integers: numbers, sizes of tensors, and arithmetic on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xport.convert.writing.code import Code, Dim, Hole, binary

Size = int | Dim | Code
"""A number, a size of a tensor, or an expression of sizes."""


@dataclass(frozen=True)
class Sizes:
    """An integer tensor of rank 0 or 1 whose elements are known one by one.

    Attributes:
        items: The elements.
        scalar: Whether the rank is 0.
    """

    items: tuple[Size, ...]
    scalar: bool = False

    @property
    def known(self) -> bool:
        """Whether every element is a number."""
        return all(isinstance(item, int) for item in self.items)


def same(a: Size, b: Size) -> bool:
    """Whether two sizes are certainly equal."""
    if isinstance(a, Dim) and isinstance(b, Dim) and a.symbol is not None:
        return a.symbol == b.symbol
    return a == b


def _truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


_KNOWN: dict[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": _truncated,
    "Mod": lambda a, b: a % b,
    "Min": min,
    "Max": max,
}
_SIGNS = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "//", "Mod": "%"}
_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}


def combine(operator: str, a: Size, b: Size) -> Size | None:
    """Two sizes in one operation.

    Args:
        operator: An ONNX operator: Add, Sub, Mul, Div, Mod, Min or Max.
        a: The first size.
        b: The second size.

    Returns:
        The result; None if it cannot be written down as an expression on integers.
    """
    if isinstance(a, int) and isinstance(b, int):
        return None if operator in ("Div", "Mod") and b == 0 else _KNOWN[operator](a, b)
    if isinstance(b, int) and _NEUTRAL.get(operator) == b:
        return a
    if isinstance(a, int) and operator in ("Add", "Mul") and _NEUTRAL[operator] == a:
        return b
    if operator == "Sub" and same(a, b):
        return 0
    if operator in ("Min", "Max"):
        return Code((f"{operator.lower()}(", Hole(_code(a)), ", ", Hole(_code(b)), ")"))
    if operator in ("Div", "Mod") and not (isinstance(b, int) and b > 0):
        return None  # Python rounds down, ONNX to zero
    return binary(_SIGNS[operator], a, b)


def _code(size: Size) -> Any:
    from xport.convert.writing.code import literal

    return literal(size)
