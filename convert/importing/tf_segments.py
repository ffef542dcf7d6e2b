"""TensorFlow's operators that sort rows into segments, count, and search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, reducing, searching, shaping, slicing
from xport.convert.importing.formulas import Term
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import Call, op
from xport.signature import numpy_dtype

_KINDS = {"Sum": "add", "Prod": "mul", "Max": "max", "Min": "min"}
_UNSORTED = tuple(f"UnsortedSegment{kind}" for kind in _KINDS)
_SORTED = tuple(f"Segment{kind}{v}" for kind in (*_KINDS, "Mean") for v in ("", "V2"))
_SPARSE = tuple(f"SparseSegment{kind}{n}" for kind in ("Sum", "Mean", "SqrtN") for n in ("", "WithNumSegments"))
_FEW = 4096
"""How many numbers rows are compared with, at most."""
_NARROW = ("float16", "bfloat16")
"""What no runtime adds up: such sums are made in float32."""


def _neutral(kind: str, dtype: str) -> np.ndarray:
    """What an operation begins with."""
    if kind in ("add", "mul"):
        return np.asarray(kind == "mul").astype(numpy_dtype(dtype))
    if dtype.startswith(("int", "uint")):
        limits = np.iinfo(numpy_dtype(dtype))
        return np.asarray(limits.min if kind == "max" else limits.max, numpy_dtype(dtype))
    bounds = np.finfo(numpy_dtype(dtype))
    return np.asarray(bounds.min if kind == "max" else bounds.max, numpy_dtype(dtype))


def _vector(c: Call, parts: Sequence[Tensor]) -> Tensor:
    """Scalars and vectors of sizes as one vector."""
    rows = [shaping.index_vector(c.w, p) for p in parts]
    return joining.concat(c.w, [shaping.unsqueeze(c.w, r, [0]) if r.rank == 0 else r for r in rows], 0)


def _rest(c: Call, x: Tensor, lead: int) -> Tensor:
    """The sizes of all axes but the leading ones."""
    return slicing.cut(c.w, shaping.shape_of(c.w, x), [(0, lead, slicing.FAR, 1)])


def _flat(c: Call, x: Tensor) -> Tensor:
    return x if x.rank == 1 else shaping.reshape(c.w, x, constant([-1], "int64"))


def _as_rows(c: Call, x: Tensor, lead: int) -> Tensor:
    """The leading axes as one."""
    if lead == 1:
        return x
    return shaping.reshape(c.w, x, _vector(c, [constant([-1], "int64"), _rest(c, x, lead)]))


def collected(c: Call, rows: Tensor, ids: Tensor, count: Tensor, kind: str) -> Tensor:
    """Rows combined by their number: row ``ids[i]`` of the result takes in row ``i``.

    Args:
        c: The call.
        rows: What is combined along the first axis.
        ids: An int64 vector; rows with a number outside of 0 … count - 1 go nowhere.
        count: How many rows the result has.
        kind: ``add``, ``mul``, ``max`` or ``min``.
    """
    if rows.dtype in _NARROW and kind in ("add", "mul"):
        return e.cast(c.w, collected(c, e.cast(c.w, rows, "float32"), ids, count, kind), rows.dtype)
    if rows.dtype in _NARROW:
        wide = collected(c, e.cast(c.w, rows, "float32"), ids, count, kind)
        bound = e.cast(c.w, constant(_neutral(kind, rows.dtype)), "float32")
        return e.cast(c.w, e.apply(c.w, "Max" if kind == "max" else "Min", [wide, bound]), rows.dtype)
    count = shaping.index_vector(c.w, count)
    inside = e.apply(
        c.w,
        "And",
        [
            e.apply(c.w, "GreaterOrEqual", [ids, constant(0, "int64")], "bool"),
            e.apply(c.w, "Less", [ids, count], "bool"),
        ],
    )
    places = e.select(c.w, inside, ids, count)
    more = e.arithmetic(c.w, "Add", count, constant(1, "int64"))
    start = joining.fill(c.w, _vector(c, [more, _rest(c, rows, 1)]), constant(_neutral(kind, rows.dtype)))
    whole = slicing.scatter(c.w, "ScatterND", start, shaping.unsqueeze(c.w, places, [1]), rows, kind)
    end = int(count.const) if count.const is not None else count
    return slicing.cut(c.w, whole, [(0, 0, end, 1)])


def _population(c: Call, ids: Tensor, count: Tensor, like: Tensor) -> Tensor:
    """How many rows each segment has, at least one, with an axis for each of the result's."""
    ones = joining.fill(c.w, shaping.shape_of(c.w, ids), constant(np.ones((), np.int64)))
    number = collected(c, ones, ids, count, "add")
    number = e.apply(c.w, "Max", [number, constant(1, "int64")])
    return shaping.unsqueeze(c.w, number, list(range(1, shaping.rank_of(like))))


@op(*_UNSORTED)
def _unsorted(c: Call) -> Tensor:
    data, ids, count = c.inputs
    rows = _as_rows(c, data, shaping.rank_of(ids))
    kind = _KINDS[c.op.type.removeprefix("UnsortedSegment")]
    return collected(c, rows, shaping.index_vector(c.w, _flat(c, ids)), count, kind)


def _after_last(c: Call, ids: Tensor) -> Tensor:
    """The number behind the largest."""
    all_ids = joining.concat(c.w, [constant([-1], "int64"), ids], 0)
    largest = reducing.reduce(c.w, "ReduceMax", all_ids, [0], keepdims=False)
    return e.apply(c.w, "Add", [largest, constant(1, "int64")])


@op(*_SORTED)
def _sorted(c: Call) -> Tensor:
    ids = shaping.index_vector(c.w, c.inputs[1])
    count = c.inputs[2] if len(c.inputs) > 2 else _after_last(c, ids)
    kind = c.op.type.removeprefix("Segment").removesuffix("V2")
    if kind == "Mean":
        return _averaged(c, c.x, ids, count)
    made = collected(c, c.x, ids, count, _KINDS[kind])
    if kind in ("Sum", "Prod") or len(c.inputs) > 2:
        return made
    ones = joining.fill(c.w, shaping.shape_of(c.w, ids), constant(np.ones((), np.int64)))
    number = collected(c, ones, ids, count, "add")
    number = shaping.unsqueeze(c.w, number, list(range(1, shaping.rank_of(c.x))))
    empty = e.apply(c.w, "Equal", [number, constant(0, "int64")], "bool")
    return e.select(c.w, empty, e.like(0, c.x), made)


def _averaged(c: Call, rows: Tensor, ids: Tensor, count: Tensor, *, root: bool = False) -> Tensor:
    narrow = rows.dtype in _NARROW
    total = collected(c, e.cast(c.w, rows, "float32") if narrow else rows, ids, count, "add")
    number = e.cast(c.w, _population(c, ids, count, rows), total.dtype)
    number = e.apply(c.w, "Sqrt", [number]) if root else number
    return e.cast(c.w, e.apply(c.w, "Div", [total, number]), rows.dtype)


@op(*_SPARSE)
def _sparse(c: Call) -> Tensor:
    data, indices, given = c.inputs[:3]
    ids = shaping.index_vector(c.w, given)
    count = c.inputs[3] if len(c.inputs) > 3 else _after_last(c, ids)
    rows = shaping.gather(c.w, data, indices, 0)
    kind = c.op.type.removeprefix("SparseSegment").removesuffix("WithNumSegments")
    if kind == "Sum":
        return collected(c, rows, ids, count, "add")
    return _averaged(c, rows, ids, count, root=kind == "SqrtN")


@op("Bincount", "DenseBincount")
def _bincount(c: Call) -> Tensor:
    values, size, weights = c.inputs
    binary = bool(c.attr("binary_output", False))
    by_row = c.op.type == "DenseBincount" and shaping.rank_of(values) == 2
    unweighted = binary or weights.size == 0
    if by_row and size.const is not None and int(size.const.reshape(())) <= _FEW:
        return _counted(c, int(size.const.reshape(())), binary=binary, weights=None if unweighted else weights)
    ids = shaping.index_vector(c.w, values)
    width = shaping.index_vector(c.w, size)
    width = shaping.reshape(c.w, width, constant([], "int64")) if width.rank else width
    count = width
    if by_row:
        # Each row counts in a block of its own, whose last place takes what is too large.
        block = e.apply(c.w, "Add", [width, constant(1, "int64")])
        rows = shaping.size_of(c.w, values, 0)
        first = e.apply(c.w, "Mul", [_numbers(c, rows), block])
        ids = e.apply(c.w, "Add", [e.apply(c.w, "Min", [ids, width]), shaping.unsqueeze(c.w, first, [1])])
        count = e.apply(c.w, "Mul", [rows, block])
    ids = _flat(c, ids)
    one = constant(np.ones((), numpy_dtype(c.dtype)))
    given = joining.fill(c.w, shaping.shape_of(c.w, ids), one) if unweighted else _flat(c, weights)
    counts = collected(c, given, ids, count, "max" if binary else "add")
    if binary:
        counts = e.apply(c.w, "Max", [counts, e.like(0, counts)])
    if not by_row:
        return counts
    grid = shaping.reshape(c.w, counts, _vector(c, [constant([-1], "int64"), block]))
    return slicing.cut(c.w, grid, [(1, 0, -1, 1)])


def _counted(c: Call, width: int, *, binary: bool, weights: Tensor | None) -> Tensor:
    """The rows of a matrix counted by comparing with each number: plain operators, which every target has."""
    numbers = constant(np.arange(width, dtype=numpy_dtype(c.x.dtype)))
    hits = e.apply(c.w, "Equal", [shaping.unsqueeze(c.w, c.x, [2]), numbers], "bool")
    if weights is None:
        given = e.cast(c.w, hits, c.dtype)
    else:
        given = e.select(c.w, hits, shaping.unsqueeze(c.w, weights, [2]), e.like(0, weights))
    total = reducing.reduce(c.w, "ReduceSum", given, [1], keepdims=False)
    return e.apply(c.w, "Min", [total, e.like(1, total)]) if binary else total


def _numbers(c: Call, count: Tensor) -> Tensor:
    return shaping.arange(c.w, [constant(0, "int64"), count, constant(1, "int64")], "int64")


@op("LookupTableSizeV2", "LookupTableSize")
def _table_size(c: Call) -> Tensor:
    return constant(len(c.reader.table(c.x.extra)[0]), "int64")


@op("Bucketize")
def _bucketize(c: Call) -> Tensor:
    edges = np.asarray(c.attr("boundaries") or [], np.float32)
    x = c.x if c.x.dtype == "float64" else e.cast(c.w, c.x, "float32")
    found = searching.edges_below(c.w, constant(edges.astype(numpy_dtype(x.dtype))), x, equal=True)
    return e.cast(c.w, found, "int32")


@op("LowerBound", "UpperBound")
def _bound(c: Call) -> Tensor:
    found = searching.edges_below(c.w, *c.inputs, equal=c.op.type == "UpperBound")
    return e.cast(c.w, found, c.dtype)


@op("DynamicPartition")
def _partition(c: Call) -> list[Tensor]:
    data, parts = c.inputs
    rows = _as_rows(c, data, shaping.rank_of(parts))
    numbers = shaping.index_vector(c.w, _flat(c, parts))
    made = []
    for i in range(c.attr("num_partitions")):
        chosen = e.apply(c.w, "Equal", [numbers, constant(i, "int64")], "bool")
        dims = None if rows.dims is None else (c.w.fresh(), *rows.dims[1:])
        made.append(c.w.op("Compress", [rows, chosen], rows.dtype, dims, axis=0))
    return made


@op("DynamicStitch", "ParallelDynamicStitch")
def _stitch(c: Call) -> Tensor:
    half = len(c.inputs) // 2
    indices = [shaping.index_vector(c.w, _flat(c, i)) for i in c.inputs[:half]]
    rows = [_as_rows(c, x, shaping.rank_of(i)) if i.rank else shaping.unsqueeze(c.w, x, [0])
            for i, x in zip(c.inputs[:half], c.inputs[half:], strict=True)]  # fmt: skip
    ids, content = joining.concat(c.w, indices, 0), joining.concat(c.w, rows, 0)
    start = joining.fill(c.w, _vector(c, [_after_last(c, ids), _rest(c, content, 1)]), e.like(0, content))
    return slicing.scatter(c.w, "ScatterND", start, shaping.unsqueeze(c.w, ids, [1]), content)


@op("SparseToDense")
def _sparse_to_dense(c: Call) -> Tensor:
    indices, shape, values, default = c.inputs
    start = joining.fill(c.w, shape, default)
    if not indices.rank:
        indices = shaping.unsqueeze(c.w, indices, [0])
    if indices.rank == 1:
        indices = shaping.unsqueeze(c.w, indices, [1])
    if values.rank == 0:
        values = joining.expand(c.w, values, slicing.cut(c.w, shaping.shape_of(c.w, indices), [(0, 0, 1, 1)]))
    return slicing.scatter(c.w, "ScatterND", start, indices, values)


@op("LookupTableFindV2", "LookupTableFind")
def _look_up(c: Call) -> Tensor:
    keys, values = c.reader.table(c.x.extra)
    return searching.look_up(c.w, keys, values, c.inputs[1], c.inputs[2])


@op("SparseTensorDenseMatMul")
def _sparse_product(c: Call) -> Tensor:
    places, values, shape, b = c.inputs
    rows, columns = (shaping.gather(c.w, shaping.index_vector(c.w, places), constant(i, "int64"), 1) for i in (0, 1))
    side = 0
    if c.attr("adjoint_a", False):
        rows, columns, side = columns, rows, 1
    b = reducing.swapped(c.w, b) if c.attr("adjoint_b", False) else b
    parts = e.apply(c.w, "Mul", [shaping.unsqueeze(c.w, values, [1]), shaping.gather(c.w, b, columns, 0)])
    count = shaping.gather(c.w, shaping.index_vector(c.w, shape), constant(side, "int64"), 0)
    return collected(c, parts, rows, count, "add")


@op("HistogramFixedWidth")
def _histogram(c: Call) -> Tensor:
    values, bounds = (Term(c.w, e.cast(c.w, _flat(c, x), "float64")) for x in c.inputs[:2])
    low, high = bounds.take(0, 0), bounds.take(1, 0)
    count = shaping.index_vector(c.w, c.inputs[2])
    last = Term(c.w, e.cast(c.w, count, "float64")) - 1
    ids = ((values.most(low) - low) / ((high - low) / (last + 1))).least(last).cast("int64")
    ones = joining.fill(c.w, shaping.shape_of(c.w, ids.tensor), constant(np.ones((), numpy_dtype(c.dtype))))
    return collected(c, ones, ids.tensor, count, "add")
