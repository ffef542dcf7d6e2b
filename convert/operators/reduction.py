"""Reductions: Reduce* with their axes as an attribute, as an input, or computed at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, op, refuse

Reduce = Callable[[Any, Any, bool], Any]

PLAIN = {
    "ReduceMax": "reduce_max",
    "ReduceMean": "reduce_mean",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
    "ReduceSum": "reduce_sum",
}
"""Reductions that are one primitive."""

COMPOSITE = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")
"""Reductions with something before or after a sum; with no axes at all, that part remains."""


@op(*PLAIN, *COMPOSITE, since=18, layout=layout.reduction)
def reduce_18(
    xp: Any,
    x: Tensor,
    axes: RawValue = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
    context: Context,
) -> Any:
    """Reduce over axes that are an input, known or not; over all if there are none, unless that is to do nothing."""
    reduce = _reduction(xp, x, context.node.op_type)
    known = np.zeros(0, np.int64) if axes is None else axes.static()
    if known is None:
        return xp.reduce_at(reduce, x, context.tensor(axes), bool(keepdims), bool(noop_with_empty_axes))
    wanted = [int(a) for a in known.reshape(-1)]
    if not wanted and not noop_with_empty_axes:
        wanted = list(range(xp.rank(x)))
    return reduce(x, wanted, bool(keepdims))


op("ReduceSum", since=13, layout=layout.reduction)(reduce_18)


@op(*PLAIN, *COMPOSITE, until=17, layout=layout.reduction)
def reduce_1(xp: Any, x: Tensor, *, axes: list[int] | None = None, keepdims: int = 1, context: Context) -> Any:
    """The older form, with axes as an attribute."""
    return _reduction(xp, x, context.node.op_type)(x, axes or list(range(xp.rank(x))), bool(keepdims))


def _reduction(xp: Any, x: Any, name: str) -> Reduce:
    """The function that reduces a tensor over axes."""
    if name in PLAIN:
        return getattr(xp, PLAIN[name])  # type: ignore[no-any-return]
    dtype = xp.dtype(x)
    plain = {"ReduceL1": _l1, "ReduceSumSquare": _sum_square}
    wide = {"float16": "float32", "bfloat16": "float32"}.get(dtype)
    if name not in plain and "int" in dtype:
        if xp.flavor == "tflite":
            raise refuse(f"{name} of {dtype}", "TFLite has no float64 to compute it in exactly")
        wide = "float64"
    compute = {**plain, "ReduceL2": _l2, "ReduceLogSum": _log_sum, "ReduceLogSumExp": _log_sum_exp}[name]

    def reduce(x: Any, axes: Any, keepdims: bool) -> Any:
        if wide is None:
            return compute(xp, x, axes, keepdims)
        return xp.cast(compute(xp, xp.cast(x, wide), axes, keepdims), dtype)

    return reduce


def _l1(xp: Any, x: Any, axes: Any, keepdims: bool) -> Any:
    return xp.reduce_sum(xp.abs(x), axes, keepdims)


def _sum_square(xp: Any, x: Any, axes: Any, keepdims: bool) -> Any:
    return xp.reduce_sum(xp.mul(x, x), axes, keepdims)


def _l2(xp: Any, x: Any, axes: Any, keepdims: bool) -> Any:
    return xp.sqrt(_sum_square(xp, x, axes, keepdims))


def _log_sum(xp: Any, x: Any, axes: Any, keepdims: bool) -> Any:
    return xp.log(xp.reduce_sum(x, axes, keepdims))


def _log_sum_exp(xp: Any, x: Any, axes: Any, keepdims: bool) -> Any:
    return xp.reduce_log_sum_exp(x, axes, keepdims)
