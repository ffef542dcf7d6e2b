"""Operators that place elements by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering.registry import Tensor, Weight, op, refuse

_REDUCTIONS = ("none", "add", "mul", "max", "min")


@op("ScatterElements", "Scatter", since=9)
def scatter_elements(
    xp: Any, data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Any:
    """Place updates along an axis, element by element; equal places are combined as ``reduction`` says."""
    _check(reduction)
    if not xp.rank(data):
        return xp.reshape(
            xp.scatter_elements(*(xp.reshape(v, [1]) for v in (data, indices, updates)), 0, reduction), []
        )
    return xp.scatter_elements(data, indices, updates, axis % xp.rank(data), reduction)


@op("ScatterND", since=11)
def scatter_nd(xp: Any, data: Tensor, indices: Weight, updates: Tensor, *, reduction: str = "none") -> Any:
    """Place slices at index tuples; equal places are combined as ``reduction`` says."""
    _check(reduction)
    return xp.scatter_nd(data, indices, updates, reduction)


def _check(reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise refuse(f"reduction {reduction!r}", "the specification knows none, add, mul, max and min")


@op("TensorScatter", since=24)
def tensor_scatter(
    xp: Any,
    cache: Tensor,
    update: Tensor,
    write_indices: Tensor | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Any:
    """Write an update into each batch element's cache along the sequence axis, from that element's own index on."""
    rank = xp.rank(cache)
    axis %= rank
    if axis == 0 or mode not in ("linear", "circular"):
        raise refuse(
            f"axis {axis}, mode {mode!r}", "the sequence axis follows the batch, and modes are linear, circular"
        )
    order = [0, axis, *[i for i in range(1, rank) if i != axis]]
    back = [order.index(i) for i in range(rank)]
    start = xp.fill([xp.shape(cache)[0]], np.zeros((), np.int64)) if write_indices is None else write_indices
    written = xp.overwrite_rows(xp.transpose(cache, order), xp.transpose(update, order), start, mode == "circular")
    return xp.transpose(written, back)
