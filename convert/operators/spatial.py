"""Convolutions, pools and what else works on images; tensors come in the target's own image order."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Tensor, Weight, op


@op("GlobalAveragePool", layout=layout.spatial)
def global_average_pool(xp: Any, x: Tensor) -> Any:
    """The mean over all spatial axes, kept as ones."""
    return xp.reduce_mean(x, xp.spatial_axes(xp.rank(x)), True)


@op("GlobalMaxPool", layout=layout.spatial)
def global_max_pool(xp: Any, x: Tensor) -> Any:
    """The maximum over all spatial axes, kept as ones."""
    return xp.reduce_max(x, xp.spatial_axes(xp.rank(x)), True)


@op("Conv", since=1, layout=layout.spatial)
def conv(
    xp: Any,
    x: Tensor,
    w: Weight,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """Convolution of any spatial rank, with groups, dilations and asymmetric pads."""
    n = xp.rank(x) - 2
    strides, dilations = strides or [1] * n, dilations or [1] * n
    kernel = [int(k) for k in xp.shape_of_weight(w)[2:]]
    effective = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = [xp.shape(x)[axis] for axis in xp.spatial_axes(xp.rank(x))]
    padding = resolve_pads(auto_pad, pads, sizes, effective, strides)
    return xp.conv(x, w, b, strides=strides, padding=padding, dilations=dilations, groups=group)


def resolve_pads(
    auto_pad: str, pads: list[int] | None, sizes: list[Any], kernel: list[int], strides: list[int]
) -> list[tuple[Any, Any]]:
    """Begin and end padding per spatial axis.

    Args:
        auto_pad: ``NOTSET``, ``VALID``, ``SAME_UPPER`` or ``SAME_LOWER``.
        pads: The node's pads, all begins and then all ends.
        sizes: Spatial sizes of the input.
        kernel: Effective kernel sizes, dilation included.
        strides: Strides.

    Returns:
        One pair an axis.
    """
    n = len(kernel)
    if auto_pad == "VALID" or (auto_pad == "NOTSET" and pads is None):
        return [(0, 0)] * n
    if auto_pad == "NOTSET" and pads is not None:
        return [(pads[i], pads[n + i]) for i in range(n)]
    padding = []
    for size, k, stride in zip(sizes, kernel, strides, strict=True):
        total = _same_padding(size, k, stride)
        small = total // 2
        padding.append((small, total - small) if auto_pad == "SAME_UPPER" else (total - small, small))
    return padding


def _same_padding(size: Any, kernel: int, stride: int) -> Any:
    if isinstance(size, int):
        return max((-(-size // stride) - 1) * stride + kernel - size, 0)
    if stride == 1:
        return kernel - 1
    from xport.convert.lowering.registry import refuse

    raise refuse("auto_pad SAME with a stride", "the spatial size must be known while converting")


@op("MaxPool", since=1, layout=layout.spatial)
def max_pool(
    xp: Any,
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    storage_order: int = 0,
    strides: list[int] | None = None,
) -> Any:
    """Maximum over windows."""
    n = len(kernel_shape)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    effective = [(k - 1) * d + 1 for k, d in zip(kernel_shape, dilations, strict=True)]
    sizes = [xp.shape(x)[axis] for axis in xp.spatial_axes(xp.rank(x))]
    padding = resolve_pads(auto_pad, pads, sizes, effective, strides)
    return xp.max_pool(x, kernel_shape, strides=strides, padding=padding, dilations=dilations)
