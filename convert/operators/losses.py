"""Losses of classifiers."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import Tensor, op, refuse


@op("NegativeLogLikelihoodLoss", since=12)
def negative_log_likelihood_loss(
    xp: Any,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    """The negated score of each pixel's class, weighted by class and reduced."""
    return _reduced(xp, _as_rows(xp, x), target, weight, ignore_index, reduction)


def _as_rows(xp: Any, x: Any) -> Any:
    """Scores (N, C, …) with one axis of pixels; targets with many axes could not transpose the others."""
    batch, channels, *rest = xp.shape(x)
    return xp.reshape(x, [batch, channels, xp.product(rest)])


@op("SoftmaxCrossEntropyLoss", since=12)
def softmax_cross_entropy_loss(
    xp: Any,
    scores: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    context: Context,
) -> Any:
    """The negative log-likelihood of softmax over the channels; on request with the log-probabilities."""
    logs = xp.cast(xp.log_softmax(_as_rows(xp, xp.widened(scores)), 1), xp.dtype(scores))
    loss = _reduced(xp, logs, labels, weights, ignore_index, reduction)
    return (loss, xp.reshape(logs, xp.shape(scores))) if context.wants(1) else loss


def _reduced(xp: Any, x: Any, target: Any, weight: Any, ignore_index: int | None, reduction: str) -> Any:
    sizes = xp.shape(target)
    target = xp.reshape(target, [sizes[0], xp.product(sizes[1:])])
    wide = xp.widened(x)
    loss = -xp.pick_class(wide, target)
    factor = None
    if weight is not None or ignore_index is not None:
        factor = xp.where(xp.equal(target, target), xp.scalar(1, wide), xp.scalar(0, wide))
    safe = target
    if ignore_index is not None:
        ignored = xp.equal(target, xp.scalar(ignore_index, target))
        safe = xp.where(ignored, xp.scalar(0, target), target)
        loss = xp.where(ignored, xp.scalar(0, loss), loss)
    if weight is not None:
        factor = xp.gather(xp.widened(weight), safe, 0)
        loss = loss * factor
    if ignore_index is not None:
        factor = xp.where(ignored, xp.scalar(0, loss), factor)
    axes = list(range(xp.rank(loss)))
    if reduction == "none":
        return xp.cast(xp.reshape(loss, sizes), xp.dtype(x))
    if reduction == "sum":
        return xp.cast(xp.reduce_sum(loss, axes, False), xp.dtype(x))
    if reduction != "mean":
        raise refuse(f"reduction {reduction!r}", "the specification does not define it")
    if factor is None:
        return xp.cast(xp.reduce_mean(loss, axes, False), xp.dtype(x))
    total = xp.reduce_sum(loss, axes, False)
    return xp.cast(xp.divide(total, xp.reduce_sum(factor, axes, False)), xp.dtype(x))
