"""Products and convolutions of integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Tensor, Weight, op, refuse
from xport.convert.operators.quantization import RANGES, dynamic_parameters, quantize
from xport.convert.operators.spatial import conv

LARGEST = 255
"""No difference of an eight-bit number and its zero point is larger."""


def centred(xp: Any, x: Any, zero: Any | None) -> Any:
    """``x - zero`` as int32."""
    wide = xp.cast(x, "int32")
    return wide if zero is None else xp.sub(wide, xp.cast(zero, "int32"))


def rows(xp: Any, parameter: Any | None) -> Any:
    """A left operand's parameter: one for all, or one a row, which has to stand on the last axis but one."""
    return parameter if parameter is None or xp.rank(parameter) != 1 else xp.reshape(parameter, [-1, 1])


def _single(xp: Any, parameter: Any) -> Any:
    """A vector of one element as the scalar it stands for."""
    sizes = xp.shape(parameter)
    return xp.reshape(parameter, []) if len(sizes) == 1 and xp.is_one(sizes[0]) else parameter


def integer_product(xp: Any, a: Any, b: Any, a_zero: Any | None, b_zero: Any | None) -> Any:
    """The matrix product of two quantized tensors less their zero points, as int32."""
    left = centred(xp, a, None if a_zero is None else rows(xp, _single(xp, a_zero)))
    right = centred(xp, b, None if b_zero is None else _single(xp, b_zero))
    return xp.integer_matmul(left, right, LARGEST * LARGEST)


@op("MatMulInteger", since=10)
def matmul_integer(xp: Any, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None) -> Any:
    """The product of integer matrices less their zero points, as int32."""
    return integer_product(xp, a, b, a_zero, b_zero)


@op("QLinearMatMul", since=10)
def qlinear_matmul(
    xp: Any,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Any:
    """The product of quantized matrices, quantized again."""
    total = integer_product(xp, a, b, a_zero, b_zero)
    a_scale, b_scale, y_scale = (xp.cast(s, "float32") for s in (a_scale, b_scale, y_scale))
    factor = xp.divide(xp.mul(rows(xp, _single(xp, a_scale)), _single(xp, b_scale)), rows(xp, _single(xp, y_scale)))
    return requantize(xp, total, factor, rows(xp, _single(xp, y_zero)))


def requantize(xp: Any, total: Any, factor: Any, zero: Any) -> Any:
    """An int32 sum times a float32 factor, rounded half to even, in the zero point's type."""
    dtype = xp.dtype(zero)
    rounded = xp.round(xp.mul(xp.cast(total, "float32"), factor))
    low, high = RANGES[dtype]
    offset = xp.cast(zero, "float32")
    shifted = xp.add(rounded, offset)
    limited = xp.minimum(xp.maximum(shifted, xp.scalar(low, shifted)), xp.scalar(high, shifted))
    return xp.cast(xp.cast(limited, "int32"), dtype)


def _known(xp: Any, w: Any, zero: Any | None) -> Any:
    """A kernel less its zero points (one an output channel), in the float type that keeps sums exact."""
    dtype, _ = xp.exact_float
    if isinstance(w, np.ndarray) and (zero is None or isinstance(zero, np.ndarray)):
        offset = 0 if zero is None else zero.astype(np.int64).reshape(_per_output(zero.size, w.ndim))
        return (w.astype(np.int64) - offset).astype(dtype)
    tensor, rank = xp.as_tensor(w), w.ndim if isinstance(w, np.ndarray) else xp.rank(w)
    if zero is not None:
        zero = xp.as_tensor(zero)
        sizes = xp.shape(zero)
        one = not sizes or xp.is_one(sizes[0])
        zero = xp.reshape(zero, [] if one else [-1] + [1] * (rank - 1))
    return xp.cast(centred(xp, tensor, zero), dtype)


def _per_output(size: int, rank: int) -> list[int]:
    return [size] + [1] * (rank - 1)


def integer_conv(xp: Any, x: Any, w: Any, x_zero: Any | None, w_zero: Any | None, attributes: dict[str, Any]) -> Any:
    """The convolution of quantized tensors less their zero points, as int32; padding counts as the zero point.

    Where only float32 is at hand, input channels are convolved in parts whose sums stay exact.
    """
    dtype, limit = xp.exact_float
    image = xp.cast(centred(xp, x, None if x_zero is None else xp.reshape(x_zero, [])), dtype)
    kernel = _known(xp, w, w_zero)
    parts = _channel_parts(xp, kernel, limit)
    if parts == 1:
        return xp.to_int32(conv(xp, image, kernel, None, **attributes))
    if attributes["group"] != 1:
        raise refuse("a grouped convolution of integers", "its sums may exceed what float32 keeps exact")
    axis = xp.image_axis(1, xp.rank(image))
    total = None
    channels = kernel.shape[1]
    for part in np.array_split(np.arange(channels), parts):
        piece = xp.slice(image, [(axis, int(part[0]), int(part[-1]) + 1, 1)])
        result = xp.to_int32(conv(xp, piece, kernel[:, part[0] : part[-1] + 1], None, **attributes))
        total = result if total is None else xp.add(total, result)
    return total


def _channel_parts(xp: Any, kernel: Any, limit: int) -> int:
    """Into how many parts the input channels must be cut so that no sum reaches ``limit``."""
    sizes = [int(s) for s in kernel.shape] if isinstance(kernel, np.ndarray) else xp.shape(kernel)
    if limit > 1 << 50:
        return 1
    if not all(isinstance(s, int) for s in sizes):
        raise refuse("a convolution of integers", "the sizes of its weights must be known while converting")
    window = int(np.prod(sizes[2:])) * LARGEST * LARGEST
    if window >= limit:
        raise refuse("a convolution of integers", "the sum over one window may exceed what float32 keeps exact")
    if isinstance(kernel, np.ndarray) and np.abs(kernel).sum(axis=tuple(range(1, kernel.ndim))).max() * LARGEST < limit:
        return 1
    return -(-sizes[1] // (limit // window))


@op("ConvInteger", since=10, layout=layout.spatial)
def conv_integer(
    xp: Any,
    x: Tensor,
    w: Weight,
    x_zero: Tensor | None = None,
    w_zero: Weight | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """The convolution of integer tensors less their zero points, as int32."""
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "group": group,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    return integer_conv(xp, x, w, x_zero, w_zero, attributes)


@op("QLinearConv", since=10, layout=layout.spatial)
def qlinear_conv(
    xp: Any,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    w: Weight,
    w_scale: Tensor,
    w_zero: Weight,
    y_scale: Tensor,
    y_zero: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """The convolution of quantized tensors, quantized again; scales of the weights may be one an output channel."""
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "group": group,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    total = integer_conv(xp, x, w, x_zero, w_zero, attributes)
    rank = xp.rank(x)
    along = [-1 if i == xp.image_axis(1, rank) else 1 for i in range(rank)]
    if bias is not None:
        total = xp.add(total, xp.reshape(bias, along))
    scale = _single(xp, w_scale)
    if xp.rank(scale) == 1:
        scale = xp.reshape(scale, along)
    factor = xp.divide(xp.mul(xp.reshape(x_scale, []), scale), xp.reshape(y_scale, []))
    return requantize(xp, total, factor, xp.reshape(y_zero, []))


@op("MatMulIntegerToFloat", domain="com.microsoft")
def matmul_integer_to_float(
    xp: Any,
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    a_zero: Tensor | None = None,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Any:
    """The product of quantized matrices as floats, with a bias."""
    total = integer_product(xp, a, b, a_zero, b_zero)
    factor = xp.mul(rows(xp, _single(xp, a_scale)), _single(xp, b_scale))
    result = xp.mul(xp.cast(total, xp.dtype(factor)), factor)
    return result if bias is None else xp.add(result, bias)


@op("DynamicQuantizeMatMul", domain="com.microsoft")
def dynamic_quantize_matmul(
    xp: Any, a: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor | None = None, bias: Tensor | None = None
) -> Any:
    """The product of floats, quantized by their own range, and a quantized matrix, as floats."""
    scale, zero = dynamic_parameters(xp, a)
    quantized = quantize(xp, a, scale, zero, "uint8")
    return matmul_integer_to_float(xp, quantized, b, scale, b_scale, zero, b_zero, bias)
