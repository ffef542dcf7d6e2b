"""ONNX Runtime's quantized operators: a float operator between dequantizing and quantizing again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xport.convert.lowering import layout
from xport.convert.lowering.layout import Call
from xport.convert.lowering.registry import Tensor, op, refuse
from xport.convert.operators.activations import leaky_relu
from xport.convert.operators.pooling import average_pool
from xport.convert.operators.quantization import dequantize, quantize
from xport.convert.operators.quantized_linear import centred, integer_product, requantize
from xport.convert.operators.quantized_linear import rows as _rows

DOMAIN = "com.microsoft"


def _float(xp: Any, x: Any, scale: Any, zero: Any | None) -> Any:
    return dequantize(xp, x, xp.reshape(scale, []), None if zero is None else xp.reshape(zero, []))


def _quantized(xp: Any, y: Any, scale: Any, zero: Any | None, like: Any) -> Any:
    dtype = xp.dtype(like if zero is None else zero)
    return quantize(xp, y, xp.reshape(scale, []), None if zero is None else xp.reshape(zero, []), dtype)


def _images(call: Call) -> None:
    """`layout.spatial`, unless the node's images are channels-last already."""
    if not call.attributes.get("channels_last"):
        layout.spatial(call)


def _binary(
    xp: Any, compute: Callable[[Any, Any], Any], a: list[Any | None], b: list[Any | None], y: list[Any | None]
) -> Any:
    result = compute(_float(xp, *a), _float(xp, *b))
    return _quantized(xp, result, y[0], y[1], a[0])


@op("QLinearAdd", domain=DOMAIN)
def qlinear_add(
    xp: Any,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor | None = None,
    b: Tensor | None = None,
    b_scale: Tensor | None = None,
    b_zero: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
) -> Any:
    """The sum of two broadcasting quantized tensors, quantized."""
    return _binary(xp, xp.add, [a, a_scale, a_zero], [b, b_scale, b_zero], [y_scale, y_zero])


@op("QLinearMul", domain=DOMAIN)
def qlinear_mul(
    xp: Any,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor | None = None,
    b: Tensor | None = None,
    b_scale: Tensor | None = None,
    b_zero: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
) -> Any:
    """The product of two broadcasting quantized tensors, quantized."""
    return _binary(xp, xp.mul, [a, a_scale, a_zero], [b, b_scale, b_zero], [y_scale, y_zero])


@op("QLinearSigmoid", domain=DOMAIN, layout=layout.elementwise)
def qlinear_sigmoid(
    xp: Any,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
) -> Any:
    """The logistic function of a quantized tensor, quantized."""
    return _quantized(xp, xp.sigmoid(_float(xp, x, x_scale, x_zero)), y_scale, y_zero, x)


@op("QLinearLeakyRelu", domain=DOMAIN, layout=layout.elementwise)
def qlinear_leaky_relu(
    xp: Any,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
    *,
    alpha: float = 0.01,
) -> Any:
    """``alpha * x`` below zero, the number itself above, of a quantized tensor, quantized."""
    return _quantized(xp, leaky_relu(xp, _float(xp, x, x_scale, x_zero), alpha=alpha), y_scale, y_zero, x)


@op("QLinearConcat", domain=DOMAIN)
def qlinear_concat(xp: Any, y_scale: Tensor, y_zero: Tensor, *inputs: Tensor, axis: int) -> Any:
    """Join quantized tensors, each with its own scale and zero point, along an axis, quantized as one."""
    parts = []
    for start in range(0, len(inputs), 3):
        x, scale, zero = inputs[start : start + 3]
        parts.append(_quantized(xp, _float(xp, x, scale, zero), y_scale, y_zero, x))
    return xp.concat(parts, axis % xp.rank(parts[0]))


@op("QLinearSoftmax", domain=DOMAIN)
def qlinear_softmax(
    xp: Any,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor,
    *,
    axis: int = -1,
    opset: int,
) -> Any:
    """Softmax of a quantized tensor, quantized; before opset 13 over all axes from ``axis`` on."""
    y = _float(xp, x, x_scale, x_zero)
    rank = xp.rank(y)
    if opset >= 13:
        return _quantized(xp, xp.softmax(y, axis % rank), y_scale, y_zero, x)
    sizes = xp.shape(y)
    start = axis % rank
    flat = xp.reshape(y, [xp.product(sizes[:start]), xp.product(sizes[start:])])
    return _quantized(xp, xp.reshape(xp.softmax(flat, 1), sizes), y_scale, y_zero, x)


@op("QLinearGlobalAveragePool", domain=DOMAIN, layout=_images)
def qlinear_global_average_pool(
    xp: Any,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    *,
    channels_last: int = 0,
) -> Any:
    """The mean over all spatial axes of a quantized tensor, quantized: an integer sum, scaled once."""
    rank = xp.rank(x)
    axes = list(range(1, rank - 1)) if channels_last else xp.spatial_axes(rank)
    sizes = xp.shape(x)
    count = xp.product([sizes[a] for a in axes])
    if not isinstance(count, int):
        mean = xp.reduce_mean(_float(xp, x, x_scale, x_zero), axes, True)
        return _quantized(xp, mean, y_scale, y_zero, x)
    total = xp.reduce_sum(centred(xp, x, xp.reshape(x_zero, [])), axes, True)
    scale = xp.reshape(y_scale, [])
    factor = xp.divide(xp.reshape(x_scale, []), xp.mul(scale, xp.scalar(count, scale)))
    return requantize(xp, total, factor, xp.reshape(y_zero, []))


@op("QLinearAveragePool", domain=DOMAIN, layout=layout.spatial)
def qlinear_average_pool(
    xp: Any,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """The mean over windows of a quantized tensor, quantized."""
    if channels_last:
        raise refuse("channels_last=1", "windows over images stored channels-last are not lowered")
    pooled = average_pool(
        xp,
        _float(xp, x, x_scale, x_zero),
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return _quantized(xp, pooled, y_scale, y_zero, x)


@op("QGemm", domain=DOMAIN)
def qgemm(
    xp: Any,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    c: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Any:
    """A product of quantized matrices plus an int32 bias; quantized if an output scale is given, else floats."""
    left = xp.transpose(a, [1, 0]) if transA else a
    right = xp.transpose(b, [1, 0]) if transB else b
    total = integer_product(xp, left, right, a_zero, b_zero)
    if c is not None:
        total = xp.add(total, c)
    factor = xp.mul(xp.reshape(a_scale, []), b_scale)
    if alpha != 1.0:
        factor = xp.mul(factor, xp.scalar(alpha, factor))
    if y_scale is None or y_zero is None:
        return xp.mul(xp.cast(total, "float32"), factor)
    return requantize(xp, total, xp.divide(factor, xp.reshape(y_scale, [])), _rows(xp, xp.reshape(y_zero, [])))
