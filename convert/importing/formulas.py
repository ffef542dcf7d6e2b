"""Formulas over tensors that read as they are written in books: ``(x - low) * scale``."""

from __future__ import annotations

from dataclasses import dataclass

from xport.convert.importing import elementwise as e
from xport.convert.importing import reducing, shaping
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.writer import Writer


@dataclass(frozen=True, eq=False)
class Term:
    """A tensor in a formula; numbers beside it get its dtype.

    Attributes:
        w: The writer.
        tensor: The tensor.
    """

    w: Writer
    tensor: Tensor

    def _with(self, op: str, *others: Term | float, dtype: str = "") -> Term:
        operands = [x.tensor if isinstance(x, Term) else e.like(x, self.tensor) for x in (self, *others)]
        return Term(self.w, e.apply(self.w, op, operands, dtype))

    def _before(self, op: str, other: float) -> Term:
        return Term(self.w, e.like(other, self.tensor))._with(op, self)

    def __add__(self, other: Term | float) -> Term:
        return self._with("Add", other)

    def __sub__(self, other: Term | float) -> Term:
        return self._with("Sub", other)

    def __mul__(self, other: Term | float) -> Term:
        return self._with("Mul", other)

    def __truediv__(self, other: Term | float) -> Term:
        return self._with("Div", other)

    def __radd__(self, other: float) -> Term:
        return self._before("Add", other)

    def __rsub__(self, other: float) -> Term:
        return self._before("Sub", other)

    def __rmul__(self, other: float) -> Term:
        return self._before("Mul", other)

    def __rtruediv__(self, other: float) -> Term:
        return self._before("Div", other)

    def __neg__(self) -> Term:
        return self._with("Neg")

    def __and__(self, other: Term) -> Term:
        return self._with("And", other)

    def __or__(self, other: Term) -> Term:
        return self._with("Or", other)

    def __invert__(self) -> Term:
        return self._with("Not")

    def __lt__(self, other: Term | float) -> Term:
        return self._with("Less", other, dtype="bool")

    def __le__(self, other: Term | float) -> Term:
        return self._with("LessOrEqual", other, dtype="bool")

    def __gt__(self, other: Term | float) -> Term:
        return self._with("Greater", other, dtype="bool")

    def __ge__(self, other: Term | float) -> Term:
        return self._with("GreaterOrEqual", other, dtype="bool")

    def equals(self, other: Term | float) -> Term:
        """Whether elements are equal."""
        return self._with("Equal", other, dtype="bool")

    def of(self, op: str) -> Term:
        """An operator of ONNX on it: ``Floor``, ``Exp`` and the like."""
        return self._with(op)

    def modulo(self, other: Term | float) -> Term:
        """What a division of integers leaves."""
        return self._with("Mod", other)

    def most(self, other: Term | float) -> Term:
        """The larger of two."""
        return self._with("Max", other)

    def least(self, other: Term | float) -> Term:
        """The smaller of two."""
        return self._with("Min", other)

    def clip(self, low: Term | float, high: Term | float) -> Term:
        """Bounded on both sides."""
        return self.most(low).least(high)

    def where(self, yes: Term | float, no: Term | float) -> Term:
        """``yes`` where this holds, else ``no``; one of them is no number."""
        known = yes.tensor if isinstance(yes, Term) else no.tensor if isinstance(no, Term) else self.tensor
        sides = [x.tensor if isinstance(x, Term) else e.like(x, known) for x in (yes, no)]
        return Term(self.w, e.select(self.w, self.tensor, *sides))

    def cast(self, dtype: str) -> Term:
        """In another dtype."""
        return Term(self.w, e.cast(self.w, self.tensor, dtype))

    def at(self, *axes: int) -> Term:
        """With axes of size one at some places of the result."""
        return Term(self.w, shaping.unsqueeze(self.w, self.tensor, list(axes)))

    def total(self, *axes: int, op: str = "ReduceSum", keep: bool = True) -> Term:
        """Reduced over axes."""
        return Term(self.w, reducing.reduce(self.w, op, self.tensor, list(axes), keep))

    def take(self, index: int | Term, axis: int) -> Term:
        """Elements along an axis, by a number or an array of them."""
        picks = index.tensor if isinstance(index, Term) else constant(index, "int64")
        return Term(self.w, shaping.gather(self.w, self.tensor, picks, axis))


def count_up(w: Writer, count: int | Tensor, dtype: str = "int64") -> Term:
    """The numbers ``0, 1, 2, …`` up to a count."""
    end = constant(count, "int64") if isinstance(count, int) else shaping.index_vector(w, count)
    numbers = shaping.arange(w, [constant(0, "int64"), end, constant(1, "int64")], "int64")
    return Term(w, e.cast(w, numbers, dtype))
