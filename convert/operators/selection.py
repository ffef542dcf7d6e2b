"""Operators that select by value: TopK, ArgMax, Unique, NonMaxSuppression."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, op


@op("TopK", since=10)
def top_k(
    xp: Any, x: Tensor, k: RawValue, *, axis: int = -1, largest: int = 1, sorted: int = 1, context: Context
) -> Any:
    """The extremes along an axis and their indices, in order; of equal ones the lower index comes first."""
    if k.known or k.vector is not None:
        count = context.interpreter.as_sizes(k)[0]
    else:
        count = xp.unstack(xp.reshape(context.tensor(k), []), "K")[0]
    return _top_k(xp, x, count, axis, bool(largest))


@op("TopK", since=1, until=9)
def top_k_1(xp: Any, x: Tensor, *, k: int, axis: int = -1) -> Any:
    """The older form, with the count as an attribute."""
    return _top_k(xp, x, k, axis, True)


def _top_k(xp: Any, x: Any, count: Any, axis: int, largest: bool) -> tuple[Any, Any]:
    rank = xp.rank(x)
    axis %= rank
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    if axis == rank - 1:
        return xp.top_k(x, count, largest)  # type: ignore[no-any-return]
    values, indices = xp.top_k(xp.transpose(x, order), count, largest)
    return xp.transpose(values, order), xp.transpose(indices, order)


@op("ArgMax", "ArgMin", since=1, layout=layout.arg_reduction)
def arg_extreme(
    xp: Any, x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0, context: Context
) -> Any:
    """The index of the extreme along an axis: of equal ones the first, or the last on request."""
    axis %= xp.rank(x)
    sizes = xp.shape(x)
    largest = context.node.op_type == "ArgMax"
    if select_last_index:
        last = xp.size64(sizes[axis] - 1)
        result = xp.sub(last, xp.arg_extreme(xp.flip(x, axis), axis, largest))
    else:
        result = xp.arg_extreme(x, axis, largest)
    return xp.reshape(result, [1 if i == axis else s for i, s in enumerate(sizes)]) if keepdims else result


@op("Unique", since=11)
def unique(xp: Any, x: Tensor, *, axis: int | None = None, sorted: int = 1) -> Any:
    """Distinct elements (or slices along an axis), their first indices, the inverse and the counts."""
    if axis is None:
        return xp.unique(xp.reshape(x, [-1]), bool(sorted))
    rank = xp.rank(x)
    axis %= rank
    order = [axis, *[i for i in range(rank) if i != axis]]
    moved = xp.transpose(x, order)
    sizes = xp.shape(moved)
    rows = xp.reshape(moved, [sizes[0], xp.product(sizes[1:])])
    values, first, inverse, counts = xp.unique_rows(rows, bool(sorted))
    whole = xp.reshape(values, [xp.shape(values)[0], *sizes[1:]])
    return xp.transpose(whole, [order.index(i) for i in range(rank)]), first, inverse, counts


@op("NonMaxSuppression", since=10)
def non_max_suppression(
    xp: Any,
    boxes: Tensor,
    scores: Tensor,
    limit: RawValue = None,
    iou_threshold: Tensor | None = None,
    score_threshold: Tensor | None = None,
    *,
    center_point_box: int = 0,
    context: Context,
) -> Any:
    """Select boxes greedily by score for each batch element and class, dropping those that overlap one selected.

    A box is dropped where its intersection over union with a selected one is greater than the threshold. Selected
    are rows of (batch, class, box), ordered by batch, class and falling score; of equal scores the lower index comes
    first.
    """
    first, second = boxes[..., :2], boxes[..., 2:]
    if center_point_box:
        half = xp.divide(second, xp.scalar(2.0, second))
        first, second = xp.sub(first, half), xp.add(first, half)
        # A box of negative extent overlaps nothing: make it empty.
        lower, upper = first, xp.maximum(first, second)
    else:
        lower, upper = xp.minimum(first, second), xp.maximum(first, second)
    corners = xp.concat([lower, upper], 2)
    known = np.zeros((), np.int64) if limit is None else limit.static()
    if known is None:
        count = xp.limit_scalar(xp.reshape(context.tensor(limit), []))
    else:
        count = xp.limit_scalar(min(max(int(known.reshape(())), 0), 2**31 - 1))
    overlap = xp.scalar(0.0, boxes) if iou_threshold is None else xp.reshape(iou_threshold, [])
    least = None if score_threshold is None else xp.reshape(score_threshold, [])
    return xp.non_max_suppression(corners, scores, count, overlap, least)
