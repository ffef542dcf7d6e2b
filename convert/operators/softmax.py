"""Softmax and its kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Tensor, op


@op("Softmax", since=13, layout=layout.along_last)
def softmax(xp: Any, x: Tensor, *, axis: int = -1) -> Any:
    """Exponentials along an axis, divided by their sum."""
    return xp.cast(xp.softmax(xp.widened(x), axis), xp.dtype(x))


@op("LogSoftmax", since=13, layout=layout.along_last)
def log_softmax(xp: Any, x: Tensor, *, axis: int = -1) -> Any:
    """The logarithm of softmax along an axis."""
    return xp.cast(xp.log_softmax(xp.widened(x), axis), xp.dtype(x))


@op("Hardmax", since=13, layout=layout.along_last)
def hardmax(xp: Any, x: Tensor, *, axis: int = -1) -> Any:
    """One where the first maximum along an axis is, zero elsewhere."""
    return xp.cast(xp.hardmax(xp.widened(x), axis), xp.dtype(x))


@op("Softmax", since=1, until=12)
def softmax_1(xp: Any, x: Tensor, *, axis: int = 1) -> Any:
    """The older form: over all axes from ``axis`` on, as if flattened to a matrix."""
    return _over_rows(xp, x, axis, xp.softmax)


@op("LogSoftmax", since=1, until=12)
def log_softmax_1(xp: Any, x: Tensor, *, axis: int = 1) -> Any:
    """The older form: over all axes from ``axis`` on, as if flattened to a matrix."""
    return _over_rows(xp, x, axis, xp.log_softmax)


@op("Hardmax", since=1, until=12)
def hardmax_1(xp: Any, x: Tensor, *, axis: int = 1) -> Any:
    """The older form: over all axes from ``axis`` on, as if flattened to a matrix."""
    return _over_rows(xp, x, axis, xp.hardmax)


def _over_rows(xp: Any, x: Any, axis: int, function: Callable[[Any, int], Any]) -> Any:
    sizes = xp.shape(x)
    first = axis % len(sizes) if axis < 0 else axis
    wide = xp.widened(x)
    if first == len(sizes) - 1:
        return xp.cast(function(wide, first), xp.dtype(x))
    rows = xp.reshape(wide, [xp.product(sizes[:first]), xp.product(sizes[first:])])
    return xp.cast(xp.reshape(function(rows, 1), sizes), xp.dtype(x))
