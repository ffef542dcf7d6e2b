"""TFLite's operators that rearrange tensors."""

from __future__ import annotations

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, reducing, shaping, slicing, spatial
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_shapes import ints
from xport.convert.importing.tflite_file import Quantization
from xport.convert.importing.tflite_registry import Call, op


@op("SHAPE")
def _shape(c: Call) -> Tensor:
    return shaping.shape_of(c.w, c.x, c.dtype)


@op("RANK")
def _rank(c: Call) -> Tensor:
    return constant(shaping.rank_of(c.x), "int32")


@op("RESHAPE", moves=True)
def _reshape(c: Call) -> Tensor:
    shape = c.maybe(1)
    if shape is None:
        shape = constant(c.option("newShape", []), "int64")
    return _kept(c, shaping.reshape(c.w, c.x, shape))


def _kept(c: Call, made: Tensor) -> Tensor:
    """A result that holds the input's values, on the grid that they are on."""
    if made.const is not None or not isinstance(c.x.extra, Quantization):
        return made
    return made.with_(extra=c.x.extra)


@op("SQUEEZE", moves=True)
def _squeeze(c: Call) -> Tensor:
    axes = c.option("squeezeDims")
    return _kept(c, shaping.squeeze(c.w, c.x, [] if axes is None else [int(a) for a in axes]))


@op("EXPAND_DIMS", moves=True)
def _expand_dims(c: Call) -> Tensor:
    return _kept(c, shaping.unsqueeze(c.w, c.x, ints(c.input(1), "The axis")))


@op("TRANSPOSE", moves=True)
def _transpose(c: Call) -> Tensor:
    return _kept(c, c.w.transpose(c.x, ints(c.input(1), "The order of a transpose")))


@op("PACK")
def _pack(c: Call) -> Tensor:
    return joining.stack(c.w, c.tensors, c.option("axis", 0))


@op("UNPACK", moves=True)
def _unpack(c: Call) -> list[Tensor]:
    return [_kept(c, part) for part in joining.unstack(c.w, c.x, c.option("axis", 0), c.option("num"))]


@op("CONCATENATION")
def _concat(c: Call) -> Tensor:
    return c.activated(joining.concat(c.w, c.tensors, c.option("axis", 0)))


@op("SPLIT", moves=True)
def _split(c: Call) -> list[Tensor]:
    axis, x = ints(c.input(0), "The axis")[0], c.input(1)
    parts = joining.split(c.w, x, axis, None, c.option("numSplits"))
    return [part.with_(extra=x.extra) for part in parts]


@op("SPLIT_V", moves=True)
def _split_v(c: Call) -> list[Tensor]:
    x, lengths, axis = c.tensors
    known = [int(i) for i in lengths.const] if lengths.const is not None else None
    rest = lengths if known is None else None
    parts = joining.split(c.w, x, ints(axis, "The axis")[0], known, c.option("numSplits"), rest)
    return [_kept(c, part) for part in parts]


@op("SLICE", moves=True)
def _slice(c: Call) -> Tensor:
    return _kept(c, slicing.slice_sizes(c.w, *c.tensors))


@op("STRIDED_SLICE", moves=True)
def _strided_slice(c: Call) -> Tensor:
    names = ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")
    x, begin, end, strides = c.tensors
    if c.option("offset", False):
        end = e.apply(c.w, "Add", [begin, end])
    made = slicing.strided_slice(c.w, x, begin, end, strides, slicing.Masks(*(c.option(n, 0) for n in names)))
    return _kept(c, made)


@op("PAD", "PADV2")
def _pad(c: Call) -> Tensor:
    return slicing.pad(c.w, c.x, c.input(1), c.maybe(2))


@op("MIRROR_PAD")
def _mirror_pad(c: Call) -> Tensor:
    return slicing.pad(c.w, c.x, c.input(1), mode="symmetric" if c.option("mode") else "reflect")


@op("TILE", moves=True)
def _tile(c: Call) -> Tensor:
    return _kept(c, joining.tile(c.w, *c.tensors))


@op("BROADCAST_TO", moves=True)
def _broadcast_to(c: Call) -> Tensor:
    return _kept(c, joining.expand(c.w, *c.tensors))


@op("FILL")
def _fill(c: Call) -> Tensor:
    return joining.fill(c.w, *c.tensors)


@op("GATHER", moves=True)
def _gather(c: Call) -> Tensor:
    x, indices = c.tensors
    return _kept(c, slicing.gather_batched(c.w, x, indices, c.option("axis", 0), c.option("batchDims", 0)))


@op("GATHER_ND", moves=True)
def _gather_nd(c: Call) -> Tensor:
    x, indices = c.tensors
    return _kept(c, c.w.op("GatherND", [x, shaping.index_vector(c.w, indices)], x.dtype))


@op("EMBEDDING_LOOKUP")
def _embedding(c: Call) -> Tensor:
    ids, table = c.tensors
    return shaping.gather(c.w, table, ids, 0)


@op("SCATTER_ND")
def _scatter_nd(c: Call) -> Tensor:
    return slicing.scatter_nd(c.w, *c.tensors)


@op("DYNAMIC_UPDATE_SLICE")
def _update_slice(c: Call) -> Tensor:
    """The starts are moved so that the update lies inside, then it is scattered row by row."""
    x, update, starts = c.tensors
    if update.size is None or x.dims is None or update.dims is None:
        raise c.refuse("an update of unknown size")
    room = [constant(0, "int64")] * len(x.dims)
    where: list[Tensor] = []
    for axis, size in enumerate(update.dims):
        extent = shaping.size_of(c.w, x, axis)
        room[axis] = e.apply(c.w, "Sub", [extent, constant(size, "int64")])
        bound = slicing.entry(c.w, starts, axis)
        start = constant(bound, "int64") if isinstance(bound, int) else bound
        start = e.apply(c.w, "Max", [e.apply(c.w, "Min", [start, room[axis]]), constant(0, "int64")])
        shape = [1] * len(update.dims)
        shape[axis] = int(size)
        steps = shaping.reshape(c.w, _count(int(size)), constant(shape, "int64"))
        place = e.apply(c.w, "Add", [start, steps])
        where.append(joining.expand(c.w, place, constant([int(d) for d in update.dims], "int64")))
    return slicing.scatter(c.w, "ScatterND", x, joining.stack(c.w, where, -1), update)


def _count(size: int) -> Tensor:
    return constant(list(range(size)), "int64")


@op("REVERSE_V2", moves=True)
def _reverse(c: Call) -> Tensor:
    return _kept(c, slicing.reverse(c.w, c.x, ints(c.input(1), "The axes")))


@op("REVERSE_SEQUENCE", moves=True)
def _reverse_sequence(c: Call) -> Tensor:
    x, lengths = c.tensors
    return _kept(c, slicing.reverse_sequence(c.w, x, lengths, c.option("seqDim"), c.option("batchDim", 0)))


@op("ONE_HOT")
def _one_hot(c: Call) -> Tensor:
    indices, depth, on, off = c.tensors
    return slicing.one_hot(c.w, indices, depth, on, off, c.option("axis", -1))


@op("RANGE")
def _range(c: Call) -> Tensor:
    return shaping.arange(c.w, c.tensors, c.dtype)


@op("WHERE")
def _where(c: Call) -> Tensor:
    return reducing.where_true(c.w, c.x)


@op("UNIQUE")
def _unique(c: Call) -> list[Tensor]:
    values, _, inverse, _ = c.w.op("Unique", [c.x], [c.x.dtype, "int64", "int64", "int64"], sorted=0)
    kind = c.reader.file.dtype(c.graph.tensors[c.op.outputs[1]])
    return [values, inverse.with_(dtype=kind, wide=kind == "int32")]


@op("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
def _batches(c: Call) -> Tensor:
    block, rows = ints(c.input(1), "A block"), c.input(2)
    change = spatial.space_to_batch if c.kind == "SPACE_TO_BATCH_ND" else spatial.batch_to_space
    return change(c.w, c.x, block, rows)


@op("SPACE_TO_DEPTH", "DEPTH_TO_SPACE", moves=True)
def _depth(c: Call) -> Tensor:
    change = spatial.space_to_depth if c.kind == "SPACE_TO_DEPTH" else spatial.depth_to_space
    return _kept(c, change(c.w, c.x, c.option("blockSize")))
