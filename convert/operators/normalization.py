"""Normalisations; images come in the target's own order of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.layout import Call
from xport.convert.lowering.registry import Tensor, Weight, op, refuse


def _image_then_statistics(call: Call) -> None:
    """The image is channels-last on its way in and out; the statistics are vectors."""
    layout.spatial(call)
    if call.perms[0] is not None:
        call.out_perms = [call.perms[0], None, None, None, None]


@op("BatchNormalization", since=7, layout=_image_then_statistics)
def batch_normalization(
    xp: Any,
    x: Tensor,
    scale: Weight,
    bias: Weight,
    mean: Weight,
    variance: Weight,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
    context: Context,
) -> Any:
    """Normalise each channel: by stored statistics, or in training mode by the batch's own, updating the stored."""
    wide, parameters = _alike(xp, x, [scale, bias, mean, variance])
    if training_mode:
        return _train(xp, x, wide, parameters, epsilon, momentum)
    if any(context.wants(i) for i in range(1, 5)):
        raise refuse("statistics as outputs", "before opset 14 they belong to training, which this is not")
    rank = xp.rank(x)
    if spatial or rank == 2:
        return xp.cast(xp.batch_norm(wide, *parameters, epsilon), xp.dtype(x))
    order = sorted(range(1, rank), key=lambda a: xp.image_axis(a, rank))
    scale, bias, mean, variance = (xp.transpose(xp.as_tensor(p), [axis - 1 for axis in order]) for p in parameters)
    factor = xp.divide(scale, xp.sqrt(variance + xp.scalar(epsilon, variance)))
    return xp.cast((wide - mean) * factor + bias, xp.dtype(x))


def _alike(xp: Any, x: Any, parameters: list[Any]) -> tuple[Any, list[Any]]:
    """The image and its parameters in one dtype, the wider one where they differ."""
    wide, parameters = xp.widened(x), [xp.widened(p) for p in parameters]
    kinds = [p.dtype.name if isinstance(p, np.ndarray) else xp.dtype(p) for p in parameters]
    kind = "float64" if "float64" in kinds else "float32" if {xp.dtype(wide), *kinds} != {kinds[0]} else kinds[0]
    if xp.dtype(wide) == "float64":
        kind = "float64"
    cast = [p.astype(kind) if isinstance(p, np.ndarray) else xp.cast(p, kind) for p in parameters]
    return xp.cast(wide, kind), cast


def _train(xp: Any, x: Any, wide: Any, parameters: list[Any], epsilon: float, momentum: float) -> tuple[Any, ...]:
    scale, bias, mean, variance = (xp.as_tensor(p) for p in parameters)
    rank = xp.rank(x)
    channel = xp.image_axis(1, rank)
    axes = [axis for axis in range(rank) if axis != channel]
    own = xp.reduce_mean(wide, axes, True)
    centred = wide - own
    spread = xp.reduce_mean(centred * centred, axes, True)
    factor = xp.divide(xp.channelwise(scale, rank), xp.sqrt(spread + xp.scalar(epsilon, spread)))
    y = centred * factor + xp.channelwise(bias, rank)
    keep, take = xp.scalar(momentum, wide), xp.scalar(1 - momentum, wide)
    running = [old * keep + xp.reshape(new, [-1]) * take for old, new in ((mean, own), (variance, spread))]
    return xp.cast(y, xp.dtype(x)), *running


@op("InstanceNormalization", since=6, layout=layout.spatial)
def instance_normalization(xp: Any, x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Any:
    """Normalise each channel of each image over its pixels."""
    y = xp.instance_norm(xp.widened(x), xp.widened(scale), xp.widened(bias), epsilon)
    return xp.cast(y, xp.dtype(x))


@op("GroupNormalization", since=21, layout=layout.spatial)
def group_normalization(
    xp: Any, x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Any:
    """Normalise each group of channels of each image, then scale and shift each channel."""
    y = xp.group_norm(xp.widened(x), num_groups, xp.widened(scale), xp.widened(bias), epsilon)
    return xp.cast(y, xp.dtype(x))


@op("GroupNormalization", since=18, until=20, layout=layout.spatial)
def group_normalization_18(
    xp: Any, x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5, num_groups: int
) -> Any:
    """The older form, which scales and shifts each group."""
    channels = xp.shape(x)[xp.image_axis(1, xp.rank(x))]
    each = [
        xp.reshape(xp.expand(xp.reshape(xp.widened(p), [-1, 1]), [num_groups, channels // num_groups]), [-1])
        for p in (scale, bias)
    ]
    return xp.cast(xp.group_norm(xp.widened(x), num_groups, *each, epsilon), xp.dtype(x))


@op("LayerNormalization", since=17)
def layer_normalization(
    xp: Any,
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    context: Context,
) -> Any:
    """Normalise over the trailing axes from ``axis`` on; on request with the mean and the inverse deviation."""
    rank, kind = xp.rank(x), xp.dtype(x)
    axes = list(range(axis % rank if rank else 0, rank))
    wide = xp.widened(x)
    y = xp.cast(xp.layer_norm(wide, xp.widened(scale), None if bias is None else xp.widened(bias), axes, epsilon), kind)
    if not (context.wants(1) or context.wants(2)):
        return y
    stash = xp.cast(x, "float32") if kind in ("float16", "bfloat16") else wide
    mean = xp.reduce_mean(stash, axes, True)
    centred = stash - mean
    spread = xp.reduce_mean(centred * centred, axes, True)
    inverse = xp.reciprocal(xp.sqrt(spread + xp.scalar(epsilon, spread)))
    return (
        y,
        *(
            xp.cast(t, context.output_dtype(i) or "float32")
            for i, t in ((1, mean), (2, inverse))
            if context.n_outputs > i
        ),
    )


@op("RMSNormalization", since=23)
def rms_normalization(
    xp: Any, x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    """Divide by the root of the mean square over the trailing axes from ``axis`` on, then scale."""
    rank = xp.rank(x)
    kind = xp.dtype(scale)
    half = xp.dtype(x) in ("float16", "bfloat16")
    wide = xp.cast(x, "float32") if half else xp.widened(x)
    y = xp.rms_norm(wide, xp.cast(xp.widened(scale), xp.dtype(wide)), list(range(axis % rank, rank)), epsilon)
    return xp.cast(y, kind)


@op("LpNormalization", since=1, layout=layout.along_axis)
def lp_normalization(xp: Any, x: Tensor, *, axis: int = -1, p: int = 2) -> Any:
    """Divide by the 1- or 2-norm along an axis; where that is zero, the result is zero."""
    if p not in (1, 2):
        raise refuse(f"p={p}", "the specification knows the 1-norm and the 2-norm")
    wide = xp.widened(x)
    total = xp.reduce_sum(xp.abs(wide) if p == 1 else wide * wide, [axis], True)
    norm = total if p == 1 else xp.sqrt(total)
    empty = xp.equal(norm, xp.scalar(0, norm))
    safe = xp.where(empty, xp.scalar(1, norm), norm)
    return xp.cast(xp.where(empty, xp.scalar(0, wide), xp.divide(wide, safe)), xp.dtype(x))


@op("MeanVarianceNormalization", since=9, layout=layout.reduction)
def mean_variance_normalization(xp: Any, x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Any:
    """Subtract the mean over axes, divide by the deviation; by default over all but the channels."""
    wide = xp.widened(x)
    centred = wide - xp.reduce_mean(wide, list(axes), True)
    deviation = xp.sqrt(xp.reduce_mean(centred * centred, list(axes), True))
    return xp.cast(xp.divide(centred, deviation + xp.scalar(1e-9, deviation)), xp.dtype(x))


@op("LRN", since=1, layout=layout.spatial)
def local_response_normalization(
    xp: Any, x: Tensor, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Any:
    """Divide by a power of the squares summed over the neighbouring channels."""
    wide = xp.widened(x)
    y = xp.local_response(wide, size, alpha, beta, bias)
    if y is None:
        channel = xp.image_axis(1, xp.rank(x))
        ends = ((size - 1) // 2, size - 1 - (size - 1) // 2)
        squares = xp.pad_image(wide * wide, [ends if a == channel else (0, 0) for a in range(xp.rank(x))])
        total = None
        for tap in xp.taps(squares, channel, size, 1, 1):
            total = tap if total is None else total + tap
        y = xp.divide(
            wide, xp.pow(xp.scalar(bias, wide) + xp.scalar(alpha / size, wide) * total, xp.scalar(beta, wide))
        )
    return xp.cast(y, xp.dtype(x))
