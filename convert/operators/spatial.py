"""Convolutions; images come in the target's own order of axes."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Tensor, Weight, op, refuse
from xport.convert.operators.windows import resolve_pads, spatial_sizes


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
    """Convolution of one to three spatial axes, with groups, dilations and asymmetric pads."""
    n = _spatial_rank(xp, x)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    kernel = _kernel_sizes(xp, w, kernel_shape)
    effective = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    padding = resolve_pads(xp, auto_pad, pads, spatial_sizes(xp, x), effective, strides)
    return xp.conv(x, w, b, strides=strides, padding=padding, dilations=dilations, groups=group)


def _spatial_rank(xp: Any, x: Any) -> int:
    """How many spatial axes an image has, if a convolution can be made of it."""
    n = int(xp.rank(x)) - 2
    if n not in (1, 2, 3):
        raise refuse(f"convolution over {n} spatial axes", "one to three are known")
    return n


def _kernel_sizes(xp: Any, w: Any, kernel_shape: list[int] | None) -> list[Any]:
    """The kernel's spatial sizes: the weight's own, or the attribute's where only run time knows the weight's."""
    sizes = xp.shape_of_weight(w)[2:]
    if kernel_shape is None:
        return list(sizes)
    return [k if not isinstance(s, int) else s for s, k in zip(sizes, kernel_shape, strict=True)]


@op("ConvTranspose", since=1, layout=layout.spatial)
def conv_transpose(
    xp: Any,
    x: Tensor,
    w: Weight,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """Transposed convolution: every pixel spreads the kernel, then ``pads`` is cut off and the rest is shifted."""
    n = _spatial_rank(xp, x)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    extra = output_padding or [0] * n
    kernel = _kernel_sizes(xp, w, kernel_shape)
    effective = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if output_shape is not None:
        full = [(size - 1) * s + e for size, s, e in zip(spatial_sizes(xp, x), strides, effective, strict=True)]
        crops = [_crop(xp, *row, auto_pad) for row in zip(full, extra, output_shape[-n:], strict=True)]
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        crops = [_same_crop(xp, *row, auto_pad) for row in zip(effective, extra, strides, strict=True)]
    else:
        own = pads if pads is not None and auto_pad == "NOTSET" else [0] * (2 * n)
        crops = [(own[i], own[n + i] - extra[i]) for i in range(n)]
    return xp.conv_transpose(x, w, b, strides=strides, crops=crops, dilations=dilations, groups=group)


def _crop(xp: Any, full: Any, extra: int, wanted: int, auto_pad: str) -> tuple[Any, Any]:
    """What to cut from one axis of the full result so that ``wanted`` is left; a negative end adds zeros."""
    total = xp.largest(full + extra - wanted, 0)
    small = total // 2
    begin = small if auto_pad == "SAME_UPPER" else total - small
    return begin, full - wanted - begin


def _same_crop(xp: Any, kernel: Any, extra: int, stride: int, auto_pad: str) -> tuple[Any, Any]:
    """What to cut from one axis of the full result for as many pixels times the stride; a negative end adds zeros.

    Nothing is added where the full result is smaller than that, as ONNX Runtime has it:
    ComputeTransposePadAndOutputShape in conv_transpose_attributes.h.
    """
    total = xp.largest(kernel + extra - stride, 0)
    small = total // 2
    begin = small if auto_pad == "SAME_UPPER" else total - small
    return begin, total - begin - extra
