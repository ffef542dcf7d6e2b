"""PyTorch's elementwise primitives of several tensors."""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.primitives.torch_unary import TorchUnary


class TorchArithmetic(TorchUnary):
    """Elementwise work and comparisons; operands broadcast and have one dtype."""

    logical_and = staticmethod(torch.logical_and)
    logical_or = staticmethod(torch.logical_or)
    logical_not = staticmethod(torch.logical_not)
    logical_xor = staticmethod(torch.logical_xor)
    where = staticmethod(torch.where)
    reciprocal = staticmethod(torch.reciprocal)

    def add(self, a: Any, b: Any) -> Any:
        """Sum; integers wrap around."""
        return self.compute("add", torch.add, a, b)

    def sub(self, a: Any, b: Any) -> Any:
        """Difference; integers wrap around."""
        return self.compute("sub", torch.sub, a, b)

    def mul(self, a: Any, b: Any) -> Any:
        """Product; integers wrap around."""
        return self.compute("mul", torch.mul, a, b)

    def divide(self, a: Any, b: Any) -> Any:
        """Division; of integers truncated towards zero, as ONNX and C do."""
        if a.is_floating_point():
            return torch.div(a, b)
        return self.compute("divide", lambda x, y: torch.div(x, y, rounding_mode="trunc"), a, b)

    def modulo(self, a: Any, b: Any) -> Any:
        """The remainder with the divisor's sign."""
        return self.compute("modulo", torch.remainder, a, b)

    def fmod(self, a: Any, b: Any) -> Any:
        """The remainder with the dividend's sign, as C's fmod."""
        return self.compute("fmod", torch.fmod, a, b)

    def neg(self, x: Any) -> Any:
        """The negative."""
        return self.compute("neg", torch.neg, x)

    def abs(self, x: Any) -> Any:
        """The absolute value."""
        return self.compute("abs", torch.abs, x)

    def sign(self, x: Any) -> Any:
        """-1, 0 or 1; NaN stays NaN."""
        if x.is_floating_point():
            return torch.where(torch.isnan(x), x, torch.sign(x))
        return self.compute("sign", torch.sign, x)

    def relu(self, x: Any) -> Any:
        """The number itself above zero, zero below."""
        return self.compute("relu", torch.relu, x)

    def prelu(self, x: Any, slope: Any) -> Any:
        """``slope * x`` below zero, the number itself above."""
        return torch.where(self.less(x, self.scalar(0, x)), self.mul(x, slope), x)

    def maximum(self, a: Any, b: Any) -> Any:
        """The larger; NaN if either is."""
        return self.compute("maximum", torch.maximum, a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        """The smaller; NaN if either is."""
        return self.compute("minimum", torch.minimum, a, b)

    def equal(self, a: Any, b: Any) -> Any:
        """Whether the operands are equal."""
        return torch.eq(a, b)

    def not_equal(self, a: Any, b: Any) -> Any:
        """Whether the operands differ."""
        return torch.ne(a, b)

    def greater(self, a: Any, b: Any) -> Any:
        """Whether a > b."""
        return self.compute("greater", torch.gt, a, b)

    def greater_equal(self, a: Any, b: Any) -> Any:
        """Whether a >= b."""
        return self.compute("greater_equal", torch.ge, a, b)

    def less(self, a: Any, b: Any) -> Any:
        """Whether a < b."""
        return self.compute("less", torch.lt, a, b)

    def less_equal(self, a: Any, b: Any) -> Any:
        """Whether a <= b."""
        return self.compute("less_equal", torch.le, a, b)

    def pow(self, a: Any, b: Any) -> Any:
        """Power; the result has the base's dtype, whatever the exponent's.

        A float base or exponent makes float64 the common ground of different types, as in ONNX Runtime.
        """
        if a.dtype == b.dtype and self.dtype(a) not in ("uint16", "uint32", "uint64"):
            return torch.pow(a, b)
        if a.is_floating_point() or b.is_floating_point():
            return self.cast(torch.pow(self.recast(a, "float64"), self.recast(b, "float64")), self.dtype(a))
        return self.compute("pow", torch.pow, a, self.recast(b, self.dtype(a)))
