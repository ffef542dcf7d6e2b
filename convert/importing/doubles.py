"""Functions of float64 that ONNX Runtime's CPU lacks, of those that it has.

Its kernels in float64 were tried one by one with ONNX Runtime 1.31; those for Erf, Atan, Asin, Acos and convolution are
missing too, and have no such form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xport.convert.importing.elementwise import apply, expm1, like, select
from xport.convert.importing.formulas import Term
from xport.convert.importing.tensor import Tensor
from xport.convert.importing.writer import Writer

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""ONNX's alpha and gamma."""


def _term(w: Writer, op: str, x: Tensor) -> Term:
    return Term(w, apply(w, op, [x]))


def _log1p(w: Writer, x: Tensor) -> Tensor:
    """``log(1 + x)`` by ``log(u) x / (u - 1)`` with ``u = 1 + x`` rounded, which undoes that rounding (Kahan)."""
    u = Term(w, x) + 1
    exact = Term(w, apply(w, "Log", [u.tensor])) * Term(w, x) / (u - 1)
    return select(w, apply(w, "Equal", [u.tensor, like(1, x)], "bool"), x, exact.tensor)


def _softplus(w: Writer, x: Tensor) -> Tensor:
    tail = _log1p(w, apply(w, "Exp", [apply(w, "Neg", [apply(w, "Abs", [x])])]))
    return apply(w, "Add", [apply(w, "Max", [x, like(0, x)]), tail])


def _elu(w: Writer, x: Tensor, alpha: float) -> Tensor:
    negative = apply(w, "Mul", [expm1(w, apply(w, "Min", [x, like(0, x)])), like(alpha, x)])
    return select(w, apply(w, "Less", [x, like(0, x)], "bool"), negative, x)


def _leaky(w: Writer, x: Tensor, alpha: float) -> Tensor:
    return select(w, apply(w, "Less", [x, like(0, x)], "bool"), apply(w, "Mul", [x, like(alpha, x)]), x)


def _atanh(w: Writer, x: Tensor) -> Tensor:
    return ((Term(w, _log1p(w, x)) - Term(w, _log1p(w, apply(w, "Neg", [x])))) * 0.5).tensor


def _asinh(w: Writer, x: Tensor) -> Tensor:
    size = _term(w, "Abs", x)
    root = _term(w, "Sqrt", (size * size + 1).tensor)
    return (_term(w, "Sign", x) * Term(w, _log1p(w, (size + size * size / (root + 1)).tensor))).tensor


def _sinh(w: Writer, x: Tensor) -> Tensor:
    grown = Term(w, expm1(w, apply(w, "Abs", [x])))
    return (_term(w, "Sign", x) * (grown + grown / (grown + 1)) * 0.5).tensor


def _cosh(w: Writer, x: Tensor) -> Tensor:
    return ((_term(w, "Exp", x) + _term(w, "Exp", apply(w, "Neg", [x]))) * 0.5).tensor


FORMULAS: dict[str, Callable[[Writer, Tensor, Mapping[str, Any]], Tensor]] = {
    "Asinh": lambda w, x, _: _asinh(w, x),
    "Atanh": lambda w, x, _: _atanh(w, x),
    "Cosh": lambda w, x, _: _cosh(w, x),
    "Elu": lambda w, x, given: _elu(w, x, float(given.get("alpha", 1.0))),
    "LeakyRelu": lambda w, x, given: _leaky(w, x, float(given.get("alpha", 0.01))),
    "Selu": lambda w, x, _: (Term(w, _elu(w, x, _SELU[0])) * _SELU[1]).tensor,
    "Sinh": lambda w, x, _: _sinh(w, x),
    "Softplus": lambda w, x, _: _softplus(w, x),
    "Softsign": lambda w, x, _: (Term(w, x) / (_term(w, "Abs", x) + 1)).tensor,
    "Tan": lambda w, x, _: (_term(w, "Sin", x) / _term(w, "Cos", x)).tensor,
}
"""By ONNX's name of the operator, what writes it of its input and attributes."""
