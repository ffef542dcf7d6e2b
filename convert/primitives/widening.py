"""Computing in a wider type where a target has no kernel for the element type, whenever that is exact."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from xport.convert.lowering.registry import refuse
from xport.convert.lowering.target import Target
from xport.convert.primitives.wide_integers import flip_order, unsigned_divide

COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "is_nan", "is_inf"}
"""Primitives whose result is boolean, whatever they compare."""

_UNORDERED = {"add", "sub", "mul", "neg", "equal", "not_equal", "where"}
_ORDERED = {"less", "less_equal", "greater", "greater_equal", "maximum", "minimum"}

Function = Callable[..., Any]


class Widening(Target):
    """Runs a primitive in the element type itself, or in a wider one where the target has no such kernel.

    Sums, products and quotients of integers are the same in a wider type once they are cut back to their own width.
    A float16 or bfloat16 result computed in float32 and rounded once is the correctly rounded one.
    """

    @abc.abstractmethod
    def wider(self, name: str, dtype: str) -> str | None:
        """The type to compute in: the type itself if it has a kernel, a wider one, or None if there is none."""

    @abc.abstractmethod
    def recast(self, x: Any, dtype: str) -> Any:
        """The target's plain conversion between types that it computes with; integers wrap around."""

    @abc.abstractmethod
    def bits64(self, x: Any) -> Any:
        """A uint64 tensor as the int64 of the same bits."""

    @abc.abstractmethod
    def from_bits64(self, x: Any) -> Any:
        """The uint64 tensor of the same bits as an int64."""

    @abc.abstractmethod
    def scalar(self, value: float | bool, like: Any) -> Any:
        """A rank-0 constant of another tensor's dtype."""

    @abc.abstractmethod
    def not_equal(self, a: Any, b: Any) -> Any:
        """Whether the operands differ."""

    def compute(self, name: str, function: Function, *tensors: Any) -> Any:
        """Run a primitive on tensors of one type.

        Args:
            name: The primitive's name, by which `wider` knows what has a kernel.
            function: Computes it in a type that has one.
            *tensors: The operands.

        Raises:
            UnsupportedError: If the target computes this neither in the type nor in a wider one.
        """
        dtype = self.dtype(tensors[0])
        wide = self.wider(name, dtype)
        if wide == dtype:
            return function(*tensors)
        if dtype == "uint64" and wide == "int64":
            return self._on_bits(name, function, tensors)
        if wide is None:
            raise refuse(f"{name} of {dtype}", "the target has no kernel for this type and no wider one to compute in")
        result = function(*[self.recast(t, wide) for t in tensors])
        return result if name in COMPARISONS else self.recast(result, dtype)

    def _on_bits(self, name: str, function: Function, tensors: tuple[Any, ...]) -> Any:
        bits = [self.bits64(t) for t in tensors]
        if name in _UNORDERED:
            result = function(*bits)
        elif name in _ORDERED:
            result = function(*[flip_order(self, b) for b in bits])
            result = result if name in COMPARISONS else flip_order(self, result)
        elif name in ("divide", "modulo", "fmod"):
            result = unsigned_divide(self, *bits)[0 if name == "divide" else 1]
        elif name in ("abs", "relu"):
            return tensors[0]
        elif name == "sign":
            result = self.recast(self.not_equal(bits[0], self.scalar(0, bits[0])), "int64")
        else:
            raise refuse(f"{name} of uint64", "the target has no kernel for this type")
        return result if name in COMPARISONS else self.from_bits64(result)
