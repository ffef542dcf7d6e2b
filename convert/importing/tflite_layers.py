"""TFLite's convolutions, pools, products and reductions."""

from __future__ import annotations

from typing import Any

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, reducing, shaping, spatial
from xport.convert.importing.tensor import Perm, Tensor, constant
from xport.convert.importing.tf_shapes import ints
from xport.convert.importing.tflite_registry import TABLE, Call, op

PADDING = ("SAME", "VALID")
REDUCTIONS = {"SUM": "ReduceSum", "MEAN": "ReduceMean", "REDUCE_PROD": "ReduceProd", "REDUCE_MAX": "ReduceMax"}
REDUCTIONS |= {"REDUCE_MIN": "ReduceMin", "REDUCE_ALL": "ReduceMin", "REDUCE_ANY": "ReduceMax"}


def weight(c: Call, i: int, order: Perm) -> Tensor:
    """A weight, stored in the order that ONNX wants where it is a constant of the file."""
    index = int(c.op.inputs[i])
    tensor = c.graph.tensors[index]
    if c.reader.file.has_data(tensor):
        found: Tensor = c.reader.stored(tensor, order)
        return found
    return c.input(i)


def _strides(c: Call) -> list[int]:
    return [int(c.option("strideH", 1)), int(c.option("strideW", 1))]


def _dilations(c: Call) -> list[int]:
    return [int(c.option("dilationHFactor", 1)), int(c.option("dilationWFactor", 1))]


@op("CONV_2D")
def _conv(c: Call) -> Tensor:
    kernel = c.w.transpose(weight(c, 1, (0, 3, 1, 2)), (1, 2, 3, 0))
    mode = PADDING[c.option("padding", 0)]
    made = spatial.conv(c.w, c.x, kernel, strides=_strides(c), mode=mode, dilations=_dilations(c), bias=c.maybe(2))
    return c.activated(made)


@op("DEPTHWISE_CONV_2D")
def _depthwise(c: Call) -> Tensor:
    kernel = weight(c, 1, (3, 0, 1, 2))
    # Stored as (out, 1, height, width): a convolution whose groups have one channel each.
    kernel = c.w.transpose(kernel, (1, 2, 0, 3))
    channels = (c.x.dims or ())[-1]
    if not isinstance(channels, int):
        raise c.refuse("the number of channels is not known")
    mode = PADDING[c.option("padding", 0)]
    made = spatial.conv(
        c.w, c.x, kernel, strides=_strides(c), mode=mode, dilations=_dilations(c), bias=c.maybe(2), groups=channels
    )
    return c.activated(made)


@op("CONV_3D")
def _conv3d(c: Call) -> Tensor:
    strides = [int(c.option(f"stride{axis}", 1)) for axis in "DHW"]
    dilations = [int(c.option(f"dilation{axis}Factor", 1)) for axis in "DHW"]
    mode = PADDING[c.option("padding", 0)]
    kernel = weight(c, 1, (4, 3, 0, 1, 2))
    made = spatial.conv(c.w, c.x, kernel, strides=strides, mode=mode, dilations=dilations, bias=c.maybe(2))
    return c.activated(made)


@op("CONV_3D_TRANSPOSE")
def _transpose_conv3d(c: Call) -> Tensor:
    strides = [int(c.option(f"stride{axis}", 1)) for axis in "DHW"]
    dilations = [int(c.option(f"dilation{axis}Factor", 1)) for axis in "DHW"]
    mode, bias = PADDING[c.option("padding", 0)], c.maybe(3)
    made = spatial.conv_transpose(
        c.w, c.input(0), c.input(1), c.input(2), strides=strides, mode=mode, dilations=dilations, bias=bias
    )
    return c.activated(made)


@op("TRANSPOSE_CONV")
def _transpose_conv(c: Call) -> Tensor:
    kernel = c.w.transpose(weight(c, 1, (3, 0, 1, 2)), (1, 2, 0, 3))
    mode = PADDING[c.option("padding", 0)]
    made = spatial.conv_transpose(
        c.w, c.input(0), kernel, c.input(2), strides=_strides(c), mode=mode, dilations=[1, 1], bias=c.maybe(3)
    )
    return c.activated(made)


@op("FULLY_CONNECTED")
def _fully_connected(c: Call) -> Tensor:
    if c.option("weightsFormat", 0):
        raise c.refuse("shuffled weights are for one kind of processor only")
    x, kernel, bias = c.x, weight(c, 1, (1, 0)), c.maybe(2)
    inner = (kernel.dims or ())[-1]
    if not c.option("keepNumDims", False) and not (x.rank == 2 and (x.dims or ())[-1] == inner):
        x = shaping.reshape(c.w, x, constant([-1, inner], "int64"))
    made = reducing.matmul(c.w, x, c.w.transpose(kernel, (1, 0)))
    if bias is not None:
        made = e.apply(c.w, "Add", [made, bias])
    return c.activated(made)


@op("BATCH_MATMUL")
def _batch_matmul(c: Call) -> Tensor:
    a, b = c.tensors
    return reducing.matmul(c.w, a, b, transpose_a=c.option("adjX", False), transpose_b=c.option("adjY", False))


@op("MAX_POOL_2D", "AVERAGE_POOL_2D")
def _pool(c: Call) -> Tensor:
    kind = "MaxPool" if c.kind == "MAX_POOL_2D" else "AveragePool"
    window = [int(c.option("filterHeight")), int(c.option("filterWidth"))]
    mode = PADDING[c.option("padding", 0)]
    made = spatial.pool(c.w, kind, c.x, window=window, strides=_strides(c), mode=mode)
    return c.activated(made.with_(extra=c.x.extra) if kind == "MaxPool" else made)


@op("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def _resize(c: Call) -> Tensor:
    return spatial.resize(
        c.w,
        c.x,
        c.input(1),
        linear=c.kind == "RESIZE_BILINEAR",
        align_corners=bool(c.option("alignCorners", False)),
        half_pixel=bool(c.option("halfPixelCenters", False)),
    )


@op("LOCAL_RESPONSE_NORMALIZATION")
def _lrn(c: Call) -> Tensor:
    value, perm, extents, channels = spatial.image(c.w, c.x, first=False)
    size = 2 * int(c.option("radius")) + 1
    attributes: dict[str, Any] = {"size": size, "alpha": float(c.option("alpha")) * size}
    attributes |= {"beta": float(c.option("beta")), "bias": float(c.option("bias"))}
    made = c.w.emit("LRN", [value], [c.x.dtype], attributes)[0]
    return spatial.pictured(c.x, made, perm, extents, channels)


@op("L2_NORMALIZATION")
def _l2_norm(c: Call) -> Tensor:
    squares = reducing.reduce(c.w, "ReduceSum", e.square(c.w, c.x), [-1], keepdims=True)
    bounded = e.apply(c.w, "Max", [squares, e.like(1e-6**2, c.x)])
    return c.activated(e.apply(c.w, "Div", [c.x, e.apply(c.w, "Sqrt", [bounded])]))


@op(*REDUCTIONS)
def _reduce(c: Call) -> Tensor:
    return reducing.reduce(c.w, REDUCTIONS[c.kind], c.x, c.input(1), bool(c.option("keepDims", False)))


@op("ARG_MAX", "ARG_MIN")
def _arg(c: Call) -> Tensor:
    name = "ArgMax" if c.kind == "ARG_MAX" else "ArgMin"
    return reducing.arg(c.w, name, c.x, ints(c.input(1), "The axis")[0], c.dtype)


TABLE["TOPK_V2"] = lambda c: reducing.top_k(c.w, *c.tensors)


@op("CUMSUM")
def _cumsum(c: Call) -> Tensor:
    return reducing.cumulative_sum(c.w, c.x, c.input(1), c.option("exclusive", False), c.option("reverse", False))


@op("NON_MAX_SUPPRESSION_V4")
def _suppress(c: Call) -> list[Tensor]:
    """TFLite fills what it does not select with zeros, up to the limit, and tells how many it selected."""
    boxes, scores, limit, overlap, threshold = c.tensors[:5]
    rows = [shaping.unsqueeze(c.w, boxes, [0]), shaping.unsqueeze(c.w, scores, [0, 1])]
    count = shaping.index_vector(c.w, limit)
    found: Tensor = c.w.op("NonMaxSuppression", [*rows, count, overlap, threshold], "int64", (c.w.fresh(), 3))
    picked = shaping.gather(c.w, found, constant(2, "int64"), 1)
    size = shaping.size_of(c.w, picked, 0)
    missing = shaping.unsqueeze(c.w, e.apply(c.w, "Sub", [count, size]), [0])
    amounts = joining.concat(c.w, [constant([0], "int64"), missing], 0)
    value = c.w.emit("Pad", [c.w.value(picked), c.w.int64(amounts)], ["int64"])[0]
    return [
        Tensor("int32", (limit.elements or (c.w.fresh(),))[:1], value, wide=True),
        size.with_(dtype="int32", wide=True) if size.const is None else e.cast(c.w, size, "int32"),
    ]
