"""What flows along the edges of a graph while it is lowered."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Perm = tuple[int, ...]
"""A storage order: stored axis ``i`` holds logical axis ``perm[i]``."""


class Dim:
    """A size known only at run time, as a product of symbols, with the means to compute it.

    Products are enough to resolve the reshapes that exporters write (``[batch * heads, length, 64]``); any other
    expression becomes a symbol of its own.

    Args:
        coefficient: The constant factor.
        symbols: Sorted names of the symbolic factors, repeated for powers.
        scalar: Makes the run-time scalar in the target's own terms.
    """

    def __init__(self, coefficient: int, symbols: tuple[str, ...], scalar: Callable[[], Any]) -> None:
        self.coefficient = coefficient
        self.symbols = symbols
        self._scalar = scalar

    @property
    def scalar(self) -> Any:
        """The run-time scalar; made anew each time, since a graph may be left and entered between uses."""
        return self._scalar()

    @property
    def name(self) -> str:
        """A printable form that is equal for equal expressions."""
        factors = [str(self.coefficient)] if self.coefficient != 1 else []
        return "*".join([*factors, *self.symbols]) or "1"

    def _combine(self, other: Any, sign: str, compute: Callable[[Any, Any], Any]) -> Dim:
        return Dim(1, (f"({self.name}{sign}{name_of(other)})",), lambda: compute(self.scalar, scalar_of(other)))

    def __add__(self, other: Any) -> Any:
        return self if _is(other, 0) else self._combine(other, "+", lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if _is(other, 0):
            return self
        if isinstance(other, Dim) and other == self:
            return 0
        return self._combine(other, "-", lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return Dim(1, (f"({name_of(other)}-{self.name})",), lambda: other - self.scalar)

    def __mul__(self, other: Any) -> Any:
        if _is(other, 0):
            return 0
        if _is(other, 1):
            return self
        if isinstance(other, Dim):
            symbols = tuple(sorted(self.symbols + other.symbols))
            coefficient = self.coefficient * other.coefficient
        elif isinstance(other, (int, np.integer)):
            symbols, coefficient = self.symbols, self.coefficient * int(other)
        else:
            return self._combine(other, "*", lambda a, b: a * b)
        return Dim(coefficient, symbols, lambda: self.scalar * scalar_of(other))

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        exact = divide(self, other)
        return exact if exact is not None else self._combine(other, "//", lambda a, b: a // b)

    def __rfloordiv__(self, other: Any) -> Any:
        return Dim(1, (f"({name_of(other)}//{self.name})",), lambda: other // self.scalar)

    def __neg__(self) -> Any:
        return self * -1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and (self.coefficient, self.symbols) == (
            other.coefficient,
            other.symbols,
        )

    def __hash__(self) -> int:
        return hash((self.coefficient, self.symbols))

    def __repr__(self) -> str:
        return f"Dim({self.name})"


def factors(expression: str) -> tuple[int, tuple[str, ...]]:
    """The factors of a size that shape inference wrote as one expression, as `Dim` takes them.

    Args:
        expression: ``batch``, ``2*batch``, ``(height//2 + 1)*(width//2 + 1)``, …

    Returns:
        The constant factor and the others, sorted; the whole expression where it is no product.
    """
    text = _bare(re.sub(r"\s", "", expression))
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and letter in "+-/%":
            return 1, (text,)
        if depth == 0 and letter == "*":
            parts.append("")
        else:
            parts[-1] += letter
    if "" in parts:
        return 1, (text,)  # a power
    numbers = [int(part) for part in parts if part.isdecimal()]
    return math.prod(numbers), tuple(sorted(_bare(part) for part in parts if not part.isdecimal()))


def _bare(text: str) -> str:
    """An expression without the parentheses around it."""
    depths = list(itertools.accumulate((letter == "(") - (letter == ")") for letter in text))
    enclosed = text.startswith("(") and 0 not in depths[:-1] and depths[-1] == 0
    return _bare(text[1:-1]) if enclosed else text


def _is(value: Any, number: int) -> bool:
    return isinstance(value, (int, np.integer)) and int(value) == number


def name_of(size: Any) -> str:
    """A printable form of a size: a number or an expression."""
    return size.name if isinstance(size, Dim) else str(size)


def scalar_of(size: Any) -> Any:
    """The run-time value of a size: the number itself, or the scalar of a `Dim`."""
    return size.scalar if isinstance(size, Dim) else size


def divide(numerator: Any, denominator: Any) -> Any | None:
    """``numerator / denominator`` where that is provably a whole number; otherwise None."""
    if isinstance(numerator, (int, np.integer)) and isinstance(denominator, (int, np.integer)):
        if denominator == 0 or numerator % denominator:
            return None
        return int(numerator) // int(denominator)
    if not isinstance(numerator, Dim):
        return None
    coefficient = denominator.coefficient if isinstance(denominator, Dim) else denominator
    symbols = denominator.symbols if isinstance(denominator, Dim) else ()
    if not isinstance(coefficient, (int, np.integer)) or not coefficient or numerator.coefficient % coefficient:
        return None
    rest = list(numerator.symbols)
    for symbol in symbols:
        if symbol not in rest:
            return None
        rest.remove(symbol)
    quotient = numerator.coefficient // int(coefficient)
    if not rest:
        return quotient
    return Dim(quotient, tuple(rest), lambda: numerator.scalar // scalar_of(denominator))


def product(sizes: Sequence[Any]) -> Any:
    """The product of sizes; 1 for none."""
    return math.prod(sizes)


@dataclass
class HostVector:
    """An integer scalar or vector whose elements are known one by one while lowering.

    Attributes:
        items: Numbers, or sizes known at run time (`Dim` in TensorFlow, SymInt in PyTorch).
        scalar: True for rank 0; then there is one item.
        dtype: The ONNX element type's numpy name.
    """

    items: list[Any]
    scalar: bool = False
    dtype: str = "int64"

    @property
    def static(self) -> bool:
        """Whether every element is a number."""
        return all(isinstance(item, (int, np.integer)) for item in self.items)

    def array(self) -> np.ndarray:
        """The elements as an array; only if `static`."""
        values = np.array([int(i) for i in self.items], dtype=self.dtype)
        return values.reshape(()) if self.scalar else values


@dataclass
class Value:
    """One value of the graph, in exactly one of several forms.

    Attributes:
        name: The ONNX value's name.
        const: Its content, where that is known.
        vector: Its elements, where they are known one by one.
        tensor: The target's tensor, stored in the order `perm`.
        perm: The storage order of `tensor`; None for the logical order.
        dims: Names of the logical dimensions as shape inference gives them, None where it has none.
        sequence: The elements of an ONNX sequence.
        flattened: The value this one flattens into rows, not materialised until somebody asks.
        cache: The tensor in other storage orders, so that no transpose is made twice.
    """

    name: str = ""
    const: np.ndarray | None = None
    vector: HostVector | None = None
    tensor: Any = None
    perm: Perm | None = None
    dims: tuple[int | str | None, ...] | None = None
    sequence: list[Value] | None = None
    flattened: Value | None = None
    cache: dict[Any, Any] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the content is known while lowering."""
        return self.const is not None or (self.vector is not None and self.vector.static)

    def static(self) -> np.ndarray | None:
        """The content, or None where it is not known while lowering."""
        if self.const is not None:
            return self.const
        return self.vector.array() if self.vector is not None and self.vector.static else None


def identity(perm: Perm | None) -> Perm | None:
    """None for a storage order that is the logical one; otherwise the order itself."""
    return None if perm is None or perm == tuple(range(len(perm))) else perm


def inverse(perm: Sequence[int]) -> Perm:
    """The permutation that undoes ``perm``."""
    return tuple(int(i) for i in np.argsort(perm))


def channels_last(rank: int) -> Perm:
    """The storage order N, spatial…, C of a logical N, C, spatial… tensor."""
    return (0, *range(2, rank), 1)
