"""TensorFlow's convolutions, pools, products and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xport.convert.importing import elementwise as e
from xport.convert.importing import reducing, spatial
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import TABLE, Call, op
from xport.convert.importing.tf_shapes import ints

REDUCTIONS = {"Sum": "ReduceSum", "Mean": "ReduceMean", "Prod": "ReduceProd", "Max": "ReduceMax", "Min": "ReduceMin"}
REDUCTIONS |= {"All": "ReduceMin", "Any": "ReduceMax", "EuclideanNorm": "ReduceL2"}


def _first(c: Call) -> bool:
    return str(c.attr("data_format", "NHWC")).startswith("NC")


def _inner(values: Sequence[int], first: bool) -> list[int]:
    """The spatial entries of a list with one entry an axis."""
    return list(values[2:] if first else values[1:-1])


def _window(c: Call, *, dilated: bool = True) -> dict[str, Any]:
    """Strides, padding and dilations of a convolution or pool."""
    first = _first(c)
    strides = _inner(c.attr("strides"), first)
    explicit = list(c.attr("explicit_paddings") or [])
    found: dict[str, Any] = {"strides": strides, "mode": c.attr("padding"), "first": first}
    found["explicit"] = _inner(list(zip(explicit[::2], explicit[1::2], strict=True)), first)  # type: ignore[arg-type]
    if dilated:
        found["dilations"] = _inner(c.attr("dilations") or [1] * (len(strides) + 2), first)
    return found


@op("Conv2D", "Conv3D")
def _conv(c: Call) -> Tensor:
    return spatial.conv(c.w, *c.inputs, **_window(c))


@op("DepthwiseConv2dNative")
def _depthwise(c: Call) -> Tensor:
    return spatial.conv(c.w, *c.inputs, **_window(c), depthwise=True)


@op("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def _conv_transpose(c: Call) -> Tensor:
    return spatial.conv_transpose(c.w, *c.inputs, **_window(c))


@op("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D")
def _pool(c: Call) -> Tensor:
    kind = "MaxPool" if c.op.type.startswith("Max") else "AveragePool"
    return spatial.pool(c.w, kind, c.x, window=_inner(c.attr("ksize"), _first(c)), **_window(c, dilated=False))


@op("MaxPoolV2")
def _pool_v2(c: Call) -> Tensor:
    first = _first(c)
    window, strides = (_inner(ints(x, "A window"), first) for x in c.inputs[1:])
    return spatial.pool(c.w, "MaxPool", c.x, window=window, strides=strides, mode=c.attr("padding"), first=first)


@op("ResizeBilinear", "ResizeNearestNeighbor")
def _resize(c: Call) -> Tensor:
    linear = c.op.type == "ResizeBilinear"
    x = c.x if not linear or c.x.dtype.startswith("float") else e.cast(c.w, c.x, "float32")
    return spatial.resize(
        c.w,
        x,
        c.inputs[1],
        linear=linear,
        align_corners=c.attr("align_corners", False),
        half_pixel=c.attr("half_pixel_centers", False),
    )


@op("DepthToSpace", "SpaceToDepth")
def _depth(c: Call) -> Tensor:
    change = spatial.depth_to_space if c.op.type == "DepthToSpace" else spatial.space_to_depth
    return change(c.w, c.x, c.attr("block_size"), first=_first(c))


@op("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def _batch_norm(c: Call) -> list[Tensor]:
    if c.attr("is_training", True):
        raise c.refuse("it normalises by the batch at hand, as in training")
    first = _first(c)
    value, perm, extents, channels = spatial.image(c.w, c.x, first)
    inputs = [value, *(c.w.value(x) for x in c.inputs[1:5])]
    made = c.w.emit("BatchNormalization", inputs, [c.x.dtype], {"epsilon": float(c.attr("epsilon", 1e-4))})[0]
    return [spatial.pictured(c.x, made, perm, extents, channels), *c.inputs[3:5], *c.inputs[3:5]]


@op("LRN")
def _lrn(c: Call) -> Tensor:
    value, perm, extents, channels = spatial.image(c.w, c.x, first=False)
    size = 2 * int(c.attr("depth_radius", 5)) + 1
    attributes = {"size": size, "alpha": float(c.attr("alpha", 1)) * size, "beta": float(c.attr("beta", 0.5))}
    made = c.w.emit("LRN", [value], [c.x.dtype], {**attributes, "bias": float(c.attr("bias", 1))})[0]
    return spatial.pictured(c.x, made, perm, extents, channels)


@op("MatMul")
def _matmul(c: Call) -> Tensor:
    a, b = c.inputs
    flags = {"transpose_a": c.attr("transpose_a", False), "transpose_b": c.attr("transpose_b", False)}
    return reducing.matmul(c.w, a, b, **flags)


@op("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def _batch_matmul(c: Call) -> Tensor:
    a, b = c.inputs
    if c.op.inputs[0].dtype != c.op.outputs[0].dtype:
        return _integer_matmul(c, a, b)
    return reducing.matmul(c.w, a, b, transpose_a=c.attr("adj_x", False), transpose_b=c.attr("adj_y", False))


def _integer_matmul(c: Call, a: Tensor, b: Tensor) -> Tensor:
    """A product of bytes that are added up in a wider type."""
    a, b = (reducing.swapped(c.w, x) if c.attr(flag, False) else x for x, flag in ((a, "adj_x"), (b, "adj_y")))
    if c.dtype == "int32" and {a.dtype, b.dtype} <= {"int8", "uint8"}:
        made: Tensor = c.w.op("MatMulInteger", [a, b], "int32")
        return made
    return reducing.matmul(c.w, e.cast(c.w, a, c.dtype), e.cast(c.w, b, c.dtype))


@op("Einsum")
def _einsum(c: Call) -> Tensor:
    made: Tensor = c.w.op("Einsum", c.inputs, c.x.dtype, equation=c.attr("equation"))
    return made


@op(*REDUCTIONS)
def _reduce(c: Call) -> Tensor:
    keep = bool(c.attr("keep_dims", False))
    return reducing.reduce(c.w, REDUCTIONS[c.op.type], c.x, c.inputs[1], keep)


@op("ArgMax", "ArgMin")
def _arg(c: Call) -> Tensor:
    return reducing.arg(c.w, c.op.type, c.x, ints(c.inputs[1], "The axis")[0], c.attr("output_type", "int64"))


TABLE["MatrixDeterminant"] = lambda c: c.w.op("Det", [c.x], c.x.dtype)
TABLE["Softmax"] = lambda c: reducing.softmax(c.w, "Softmax", c.x, -1)
TABLE["LogSoftmax"] = lambda c: reducing.softmax(c.w, "LogSoftmax", c.x, -1)


@op("TopKV2", "TopK")
def _top_k(c: Call) -> list[Tensor]:
    k = c.inputs[1] if len(c.inputs) > 1 else constant(c.attr("k"), "int64")
    return reducing.top_k(c.w, c.x, k, ordered=c.attr("sorted", True), dtype=c.attr("index_type", "int32"))


@op("Cumsum")
def _cumsum(c: Call) -> Tensor:
    return reducing.cumulative_sum(c.w, c.x, c.inputs[1], c.attr("exclusive", False), c.attr("reverse", False))
