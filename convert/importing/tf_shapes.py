"""TensorFlow's operators that rearrange tensors."""

from __future__ import annotations

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, reducing, shaping, slicing
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import Call, op


def ints(x: Tensor, what: str) -> list[int]:
    """The content of a tensor of integers that must be known while converting."""
    return [int(i) for i in shaping.static(x, what).reshape(-1)]


@op("Shape", "ShapeN")
def _shape(c: Call) -> list[Tensor]:
    return [shaping.shape_of(c.w, x, c.attr("out_type", "int32")) for x in c.inputs]


@op("Size")
def _size(c: Call) -> Tensor:
    shape = shaping.shape_of(c.w, c.x, c.attr("out_type", "int32"))
    return reducing.reduce(c.w, "ReduceProd", shape, [0], keepdims=False)


@op("Rank")
def _rank(c: Call) -> Tensor:
    return constant(shaping.rank_of(c.x), "int32")


@op("Reshape")
def _reshape(c: Call) -> Tensor:
    return shaping.reshape(c.w, *c.inputs)


@op("Squeeze")
def _squeeze(c: Call) -> Tensor:
    return shaping.squeeze(c.w, c.x, c.attr("squeeze_dims") or [])


@op("ExpandDims")
def _expand_dims(c: Call) -> Tensor:
    return shaping.unsqueeze(c.w, c.x, ints(c.inputs[1], "The axis"))


@op("Transpose")
def _transpose(c: Call) -> Tensor:
    return c.w.transpose(c.x, ints(c.inputs[1], "The order of a transpose"))


@op("InvertPermutation")
def _invert(c: Call) -> Tensor:
    return reducing.matrix_inverse_permutation(c.w, c.x)


@op("Pack")
def _pack(c: Call) -> Tensor:
    return joining.stack(c.w, c.inputs, c.attr("axis", 0))


@op("Unpack")
def _unpack(c: Call) -> list[Tensor]:
    return joining.unstack(c.w, c.x, c.attr("axis", 0), c.attr("num"))


@op("ConcatV2", "Concat")
def _concat(c: Call) -> Tensor:
    values, axis = (c.inputs[:-1], c.inputs[-1]) if c.op.type == "ConcatV2" else (c.inputs[1:], c.inputs[0])
    return joining.concat(c.w, values, ints(axis, "The axis")[0])


@op("Split")
def _split(c: Call) -> list[Tensor]:
    axis = ints(c.inputs[0], "The axis")[0]
    return joining.split(c.w, c.inputs[1], axis, None, c.attr("num_split"))


@op("SplitV")
def _split_v(c: Call) -> list[Tensor]:
    x, lengths, axis = c.inputs
    known = [int(i) for i in lengths.const] if lengths.const is not None else None
    return joining.split(
        c.w, x, ints(axis, "The axis")[0], known, c.attr("num_split"), lengths if known is None else None
    )


@op("Slice")
def _slice(c: Call) -> Tensor:
    return slicing.slice_sizes(c.w, *c.inputs)


@op("StridedSlice")
def _strided_slice(c: Call) -> Tensor:
    masks = slicing.Masks(
        *(c.attr(f"{name}_mask", 0) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis"))
    )
    x, begin, end, strides = c.inputs
    return slicing.strided_slice(c.w, x, begin, end, strides, masks)


@op("Tile")
def _tile(c: Call) -> Tensor:
    return joining.tile(c.w, *c.inputs)


@op("BroadcastTo")
def _broadcast_to(c: Call) -> Tensor:
    return joining.expand(c.w, *c.inputs)


@op("BroadcastArgs")
def _broadcast_args(c: Call) -> Tensor:
    a, b = (shaping.index_vector(c.w, x) for x in c.inputs)
    one = constant([1], "int64")
    if a.rank != 1 or b.rank != 1 or not isinstance(a.dims, tuple) or not isinstance(b.dims, tuple):
        raise c.refuse("shapes of unknown length cannot be joined")
    n, m = a.dims[0], b.dims[0]
    if not isinstance(n, int) or not isinstance(m, int):
        raise c.refuse("shapes of unknown length cannot be joined")
    rows = [joining.concat(c.w, [one] * (max(n, m) - k) + [x], 0) for x, k in ((a, n), (b, m))]
    is_one = e.apply(c.w, "Equal", [rows[0], one], "bool")
    joined = e.select(c.w, is_one, rows[1], rows[0])
    return joined.with_(dtype="int32", wide=True) if c.dtype == "int32" else joined


@op("Fill")
def _fill(c: Call) -> Tensor:
    return joining.fill(c.w, *c.inputs)


@op("GatherV2")
def _gather(c: Call) -> Tensor:
    x, indices, axis = c.inputs
    return slicing.gather_batched(c.w, x, indices, ints(axis, "The axis")[0], c.attr("batch_dims", 0))


@op("Gather")
def _gather_first(c: Call) -> Tensor:
    return shaping.gather(c.w, c.x, c.inputs[1], 0)


@op("ResourceGather")
def _resource_gather(c: Call) -> Tensor:
    table = c.reader.read(c.x.extra)
    return slicing.gather_batched(c.w, table, c.inputs[1], c.attr("batch_dims", 0), c.attr("batch_dims", 0))


@op("GatherNd")
def _gather_nd(c: Call) -> Tensor:
    x, indices = c.inputs
    made: Tensor = c.w.op("GatherND", [x, shaping.index_vector(c.w, indices)], x.dtype)
    return made


@op("ScatterNd")
def _scatter_nd(c: Call) -> Tensor:
    return slicing.scatter_nd(c.w, *c.inputs)


@op("TensorScatterUpdate", "TensorScatterAdd", "TensorScatterMax", "TensorScatterMin", "TensorScatterSub")
def _tensor_scatter(c: Call) -> Tensor:
    data, indices, updates = c.inputs
    kind = c.op.type.removeprefix("TensorScatter").lower()
    if kind == "sub":
        kind, updates = "add", e.apply(c.w, "Neg", [updates])
    return slicing.scatter(c.w, "ScatterND", data, indices, updates, "none" if kind == "update" else kind)


@op("ReverseV2")
def _reverse(c: Call) -> Tensor:
    return slicing.reverse(c.w, c.x, ints(c.inputs[1], "The axes"))


@op("ReverseSequence")
def _reverse_sequence(c: Call) -> Tensor:
    return slicing.reverse_sequence(c.w, c.x, c.inputs[1], c.attr("seq_dim"), c.attr("batch_dim", 0))


@op("Roll")
def _roll(c: Call) -> Tensor:
    axes, shift = ints(c.inputs[2], "The axis"), c.inputs[1]
    shift = shaping.unsqueeze(c.w, shift, [0]) if shift.rank == 0 else shift
    return slicing.roll(c.w, c.x, [slicing.entry(c.w, shift, i) for i in range(len(axes))], axes)


@op("Pad", "PadV2")
def _pad(c: Call) -> Tensor:
    return slicing.pad(c.w, c.x, c.inputs[1], c.inputs[2] if len(c.inputs) > 2 else None)


@op("MirrorPad")
def _mirror_pad(c: Call) -> Tensor:
    return slicing.pad(c.w, c.x, c.inputs[1], mode=c.attr("mode").lower())


@op("OneHot")
def _one_hot(c: Call) -> Tensor:
    indices, depth, on, off = c.inputs
    return slicing.one_hot(c.w, indices, depth, on, off, c.attr("axis", -1))


@op("Range")
def _range(c: Call) -> Tensor:
    return shaping.arange(c.w, c.inputs, c.dtype)


@op("LinSpace")
def _lin_space(c: Call) -> Tensor:
    start, stop, count = (shaping.static(x, "A range") for x in c.inputs)
    return constant(np.linspace(start, stop, int(count), dtype=start.dtype))


@op("Where")
def _where(c: Call) -> Tensor:
    return reducing.where_true(c.w, c.x)


@op("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2")
def _unique(c: Call) -> list[Tensor]:
    kind, own = c.attr("out_idx", "int32"), c.x.dtype
    known = own in ("float32", "float64", "int64", "int8", "string")  # to ONNX Runtime
    x = c.x if known else e.cast(c.w, c.x, "float32" if own in ("float16", "bfloat16") else "int64")
    values, _, inverse, counts = c.w.op("Unique", [x], [x.dtype, "int64", "int64", "int64"], sorted=0)
    return [e.cast(c.w, values, own), *(x.with_(dtype=kind, wide=kind == "int32") for x in (inverse, counts))]


@op("MatrixBandPart")
def _band(c: Call) -> Tensor:
    lower, upper = ints(c.inputs[1], "A band")[0], ints(c.inputs[2], "A band")[0]
    return reducing.band(c.w, c.x, lower, upper)
