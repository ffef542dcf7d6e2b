"""Running sums and products."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, op


@op("CumSum", since=11)
def cumsum(xp: Any, x: Tensor, axis: RawValue, *, exclusive: int = 0, reverse: int = 0, context: Context) -> Any:
    """Sums of all elements up to each one along an axis, itself left out or from the end on request."""
    return xp.cumsum(x, _axis(xp, x, axis, context), bool(exclusive), bool(reverse))


@op("CumProd", since=26)
def cumprod(xp: Any, x: Tensor, axis: RawValue, *, exclusive: int = 0, reverse: int = 0, context: Context) -> Any:
    """Products of all elements up to each one along an axis, itself left out or from the end on request."""
    return xp.cumprod(x, _axis(xp, x, axis, context), bool(exclusive), bool(reverse))


def _axis(xp: Any, x: Any, axis: Any, context: Context) -> Any:
    known = axis.static()
    if known is not None:
        return int(known.reshape(())) % xp.rank(x)
    if xp.rank(x) == 1:
        return 0
    return xp.reshape(context.tensor(axis), [])
