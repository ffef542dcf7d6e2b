"""Normalisations and softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Tensor, Weight, op, refuse


@op("BatchNormalization", since=7, layout=layout.spatial)
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
) -> Any:
    """Normalise each channel by stored statistics."""
    if training_mode:
        raise refuse("training_mode=1", "a served model does not train")
    return xp.batch_norm(x, scale, bias, mean, variance, epsilon)


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
) -> Any:
    """Normalise over the trailing axes from ``axis`` on."""
    axes = list(range(axis % xp.rank(x), xp.rank(x)))
    return xp.layer_norm(x, scale, bias, axes, epsilon)


@op("Softmax", since=13, layout=layout.along_axis)
def softmax(xp: Any, x: Tensor, *, axis: int = -1) -> Any:
    """Softmax along one axis."""
    return xp.softmax(x, axis)


def channel_shape(rank: int, axis: int, array: np.ndarray) -> np.ndarray:
    """A per-channel vector shaped to broadcast along ``axis`` of a tensor of ``rank``."""
    return array.reshape([-1 if i == axis else 1 for i in range(rank)])
