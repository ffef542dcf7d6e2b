"""Reductions."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Static, Tensor, op

PRIMITIVES = {
    "ReduceMax": "reduce_max",
    "ReduceMean": "reduce_mean",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
    "ReduceSum": "reduce_sum",
}


def _register(name: str, primitive: str) -> None:
    def reduce_attribute(xp: Any, x: Tensor, *, axes: list[int] | None = None, keepdims: int = 1) -> Any:
        return getattr(xp, primitive)(x, axes or list(range(xp.rank(x))), bool(keepdims))

    def reduce_input(
        xp: Any, x: Tensor, axes: Static | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Any:
        wanted = [] if axes is None else [int(a) for a in axes.reshape(-1)]
        if not wanted and noop_with_empty_axes:
            return x
        return getattr(xp, primitive)(x, wanted or list(range(xp.rank(x))), bool(keepdims))

    newer = 13 if name == "ReduceSum" else 18
    op(name, until=newer - 1, layout=layout.reduction)(reduce_attribute)
    op(name, since=newer, layout=layout.reduction)(reduce_input)


for _name, _primitive in PRIMITIVES.items():
    _register(_name, _primitive)
