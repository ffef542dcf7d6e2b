"""Expressions of Python source as trees: what they use, and how tightly they bind.

Text of a model never gets into an expression as it is: names are made by `xport.convert.writing.naming`, everything
else is written by `literal`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

LOWEST, COMPARE, OR, XOR, AND, SHIFT, ADD, MUL, UNARY, POWER, ATOM = range(11)
"""How tightly an expression binds: https://docs.python.org/3/reference/expressions.html#operator-precedence."""

_BINARY = {
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), COMPARE),
    **{"|": OR, "^": XOR, "&": AND, "<<": SHIFT, ">>": SHIFT, "+": ADD, "-": ADD},
    **dict.fromkeys(("*", "/", "//", "%", "@"), MUL),
    "**": POWER,
}

Dims = tuple[int | str | None, ...]


@dataclass(eq=False)
class Var:
    """A tensor in the source: what a statement gives, an input, or a weight.

    Attributes:
        hint: What it would like to be called.
        dims: Its sizes as far as they are known.
        dtype: Its dtype's name.
        path: For a weight that is used by itself, its dotted name; otherwise None.
    """

    hint: str = "x"
    dims: Dims | None = None
    dtype: str | None = None
    path: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Dim:
    """One size of a tensor, read at run time.

    Attributes:
        var: The tensor.
        axis: Which of its sizes.
        symbol: The name of that size; equal names are equal sizes.
    """

    var: Var
    axis: int
    symbol: str | None = None


@dataclass(frozen=True)
class Device:
    """Where a tensor is."""

    var: Var


@dataclass(eq=False)
class Layer:
    """A module of `torch.nn` that holds weights.

    Attributes:
        path: Its dotted name.
        kind: Its class, ``Conv2d``.
        arguments: Name, value and default of what its constructor takes; leading ones are given by position.
        weights: Array by name inside the layer.
        positional: How many arguments are given by position.
    """

    path: tuple[str, ...]
    kind: str
    arguments: list[tuple[str, Any, Any]]
    weights: dict[str, Any]
    positional: int = 2


@dataclass(frozen=True)
class Hole:
    """A place in an expression: what stands there and how tightly it must bind."""

    what: Operand
    level: int = LOWEST


@dataclass(frozen=True)
class Code:
    """An expression.

    Attributes:
        parts: Text and holes, alternating as they come.
        level: How tightly it binds.
        module: What the same is as a module of its own, ``nn.ReLU()``, if there is such a one.
        name: What the result would be called.
    """

    parts: tuple[str | Hole, ...]
    level: int = ATOM
    module: str | None = field(default=None, compare=False)
    name: str = field(default="", compare=False)

    def operands(self) -> Iterator[Leaf]:
        """Everything that it uses, from left to right."""
        for part in self.parts:
            if isinstance(part, Hole):
                yield from part.what.operands() if isinstance(part.what, Code) else (part.what,)

    def mapped(self, change: Callable[[Leaf], Operand]) -> Code:
        """The same expression with other operands.

        Args:
            change: What stands in the place of an operand.
        """
        parts = tuple(
            part if isinstance(part, str) else Hole(_changed(part.what, change), part.level) for part in self.parts
        )
        return Code(parts, self.level, self.module, self.name)

    def render(self, show: Callable[[Leaf], Code]) -> str:
        """The text.

        Args:
            show: What stands for an operand.
        """
        return "".join(part if isinstance(part, str) else _fill(part, show) for part in self.parts)


Leaf = Var | Dim | Device | Layer
Operand = Leaf | Code


def _changed(item: Operand, change: Callable[[Leaf], Operand]) -> Operand:
    return item.mapped(change) if isinstance(item, Code) else change(item)


def _fill(hole: Hole, show: Callable[[Leaf], Code]) -> str:
    code = hole.what if isinstance(hole.what, Code) else show(hole.what)
    text = code.render(show)
    return text if code.level >= hole.level else f"({text})"


def plain(text: str, level: int = ATOM) -> Code:
    """An expression that is fixed text of ours."""
    return Code((text,), level)


_ENDS = {
    -3.4028234663852886e38: "torch.finfo(torch.float32).min",
    -3.4028235e38: "torch.finfo(torch.float32).min",
    3.4028234663852886e38: "torch.finfo(torch.float32).max",
    3.4028235e38: "torch.finfo(torch.float32).max",
}


def written(value: Any) -> str:
    """The text of a Python value."""
    found = literal(value)
    return found.render(lambda _: plain("None")) if isinstance(found, Code) else repr(value)


def literal(value: Any) -> Operand:
    """A Python value as source; an operand stays what it is.

    Args:
        value: None, a number, a truth value, text, or a list or tuple of them; expressions stay what they are.
    """
    if isinstance(value, Var | Dim | Device | Layer | Code):
        return value
    if isinstance(value, tuple | list):
        return _sequence(value)
    if isinstance(value, float) and value in _ENDS:
        return plain(_ENDS[value])
    if isinstance(value, float) and not math.isfinite(value):
        text = "torch.nan" if math.isnan(value) else "torch.inf" if value > 0 else "-torch.inf"
        return plain(text, UNARY if text[0] == "-" else ATOM)
    if isinstance(value, str):
        return plain(quoted(value))
    text = repr(value)
    return plain(text, UNARY if text.startswith("-") else ATOM)


def quoted(text: str) -> str:
    """Text as a Python literal in ASCII, with double quotes where that needs no escapes."""
    shown = ascii(text)
    return f'"{shown[1:-1]}"' if shown[0] == "'" and '"' not in shown and "\\" not in shown else shown


def _sequence(values: tuple[Any, ...] | list[Any]) -> Code:
    ends = "[]" if isinstance(values, list) else "()"
    parts: list[str | Hole] = [ends[0]]
    for i, value in enumerate(values):
        parts += [", "] if i else []
        parts.append(Hole(literal(value)))
    parts.append(("," if len(values) == 1 and ends == "()" else "") + ends[1])
    return Code(tuple(parts))


def call(function: str | Operand, *args: Any, **named: Any) -> Code:
    """A call of a function of ours by its name, or of a layer; ``name=None`` arguments are written as they are."""
    head: tuple[str | Hole, ...] = (function,) if isinstance(function, str) else (Hole(function, ATOM),)
    return Code((*head, "(", *_arguments(args, named), ")"))


def method(x: Operand, name: str, *args: Any, **named: Any) -> Code:
    """A call of a method."""
    return Code((Hole(x, ATOM), f".{name}(", *_arguments(args, named), ")"))


def _arguments(args: tuple[Any, ...], named: dict[str, Any]) -> Iterator[str | Hole]:
    shown = [("", value) for value in args] + [(f"{name}=", value) for name, value in named.items()]
    for i, (prefix, value) in enumerate(shown):
        yield (", " if i else "") + prefix
        yield Hole(literal(value))


def binary(operator: str, a: Any, b: Any) -> Code:
    """``a operator b``."""
    level = _BINARY[operator]
    left, right = (level + 1, level) if operator == "**" else (level, level + 1)
    if level == COMPARE:
        left = right = COMPARE + 1
    return Code((Hole(literal(a), left), f" {operator} ", Hole(literal(b), right)), level)


def unary(operator: str, x: Any) -> Code:
    """``operator x``."""
    return Code((operator, Hole(literal(x), UNARY)), UNARY)


def index(x: Operand, items: list[Any]) -> Code:
    """``x[items]``; a `slice` is written with colons."""
    parts: list[str | Hole] = [Hole(x, ATOM), "["]
    for i, item in enumerate(items):
        parts += [", "] if i else []
        parts += _slice(item) if isinstance(item, slice) else [Hole(literal(item))]
    return Code((*parts, "]"))


def _slice(item: slice) -> list[str | Hole]:
    parts: list[str | Hole] = [Hole(literal(item.start))] if item.start is not None else []
    parts.append(":")
    parts += [Hole(literal(item.stop))] if item.stop is not None else []
    parts += [":", Hole(literal(item.step))] if item.step is not None else []
    return parts


def named(code: Code, name: str, module: str | None = None) -> Code:
    """The same expression with a wish for its result's name, or with its form as a module."""
    return Code(code.parts, code.level, module, name)
