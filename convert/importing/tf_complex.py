"""TensorFlow's complex numbers, each written as two real tensors: ONNX computes with real ones only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, shaping
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import COMPLEX, TABLE, Call, op
from xport.convert.importing.writer import Writer
from xport.signature import numpy_dtype

REAL = {"complex64": "float32", "complex128": "float64"}
"""The dtype of the parts."""


@dataclass(frozen=True)
class Pair:
    """The parts of complex numbers; both have all their sizes."""

    real: Tensor
    imag: Tensor


def pair(x: Tensor) -> Pair:
    """The parts of a complex tensor."""
    if isinstance(x.extra, Pair):
        return x.extra
    content = np.asarray(x.const)
    kind = REAL[x.dtype]
    return Pair(constant(content.real, kind, x.label), constant(content.imag, kind, f"{x.label}_imag"))


def joined(real: Tensor, imag: Tensor) -> Tensor:
    """A complex tensor of two parts."""
    kind = "complex64" if real.dtype == "float32" else "complex128"
    dims = real.dims if imag.const is not None or imag.dims is None else imag.dims
    return Tensor(kind, dims, label="a complex number", extra=Pair(real, imag))


def _one_side(c: Call, side: str) -> list[Tensor]:
    """The results of an operator on one part of its inputs; real inputs are as they are."""
    inputs = [getattr(pair(x), side) if x.dtype in REAL else x for x in c.inputs]
    made = TABLE[c.op.type](replace(c, inputs=inputs))
    return [made] if isinstance(made, Tensor) else list(made)


def _by_parts(c: Call) -> Sequence[Tensor]:
    """An operator that does the same to both parts."""
    reals, imags = _one_side(c, "real"), _one_side(c, "imag")
    return [
        joined(real, imag) if tensor.dtype.is_complex else real
        for real, imag, tensor in zip(reals, imags, c.op.outputs, strict=False)
    ]


_PARTWISE = """
    Identity IdentityN StopGradient PreventGradient Snapshot EnsureShape PlaceholderWithDefault OptimizationBarrier
    Reshape Squeeze ExpandDims Transpose Pack Unpack Concat ConcatV2 Split SplitV Slice StridedSlice Tile BroadcastTo
    Fill Gather GatherV2 GatherNd ScatterNd TensorScatterUpdate TensorScatterAdd ReverseV2 Roll Pad PadV2 MirrorPad
    ReverseSequence Select SelectV2 ZerosLike MatrixBandPart Neg Add AddV2 AddN Sub Sum Mean Cumsum BiasAdd
    UnsortedSegmentSum SegmentSum MatrixDiag MatrixDiagV3 MatrixDiagPart MatrixDiagPartV3 MatrixSetDiag
    MatrixSetDiagV3 Diag DiagPart DynamicStitch DynamicPartition Shape ShapeN Size Rank
"""
"""Operators that do the same to both parts."""

COMPLEX.update(dict.fromkeys(_PARTWISE.split(), _by_parts))


@op("Complex", table=COMPLEX)
def _complex(c: Call) -> Tensor:
    a, b = c.inputs
    if a.dims is None or a.dims != b.dims:
        a, b = _filling(c.w, a, b), _filling(c.w, b, a)
    return joined(a, b)


def _filling(w: Writer, x: Tensor, other: Tensor) -> Tensor:
    """A tensor with the sizes that it has together with another."""
    return e.select(w, e.apply(w, "Equal", [other, other], "bool"), x, x)


@op("Real", "Imag", "Conj", "OnesLike", table=COMPLEX)
def _part(c: Call) -> Tensor:
    both = pair(c.x)
    if c.op.type == "Conj":
        return joined(both.real, e.apply(c.w, "Neg", [both.imag]))
    if c.op.type == "OnesLike":
        shape = shaping.shape_of(c.w, both.real)
        return joined(*(joining.fill(c.w, shape, e.like(number, both.real)) for number in (1, 0)))
    return both.real if c.op.type == "Real" else both.imag


@op("Cast", table=COMPLEX)
def _cast(c: Call) -> Tensor:
    target = c.dtype
    if target not in REAL:
        return e.cast(c.w, pair(c.x).real, target)
    if c.x.dtype in REAL:
        both = pair(c.x)
        return joined(e.cast(c.w, both.real, REAL[target]), e.cast(c.w, both.imag, REAL[target]))
    real = e.cast(c.w, c.x, REAL[target])
    nothing = constant(np.zeros((), numpy_dtype(REAL[target])))
    return joined(real, joining.fill(c.w, shaping.shape_of(c.w, real), nothing))


def magnitude(w: Writer, z: Pair) -> Tensor:
    """The distance from zero, without a square that overflows or vanishes."""
    sides = [e.apply(w, "Abs", [x]) for x in (z.real, z.imag)]
    most, least = e.apply(w, "Max", sides), e.apply(w, "Min", sides)
    limits = np.finfo(numpy_dtype(most.dtype))
    ratio = e.apply(w, "Div", [least, e.clip(w, most, float(limits.tiny), float(limits.max))])
    root = e.apply(w, "Sqrt", [e.apply(w, "Add", [e.square(w, ratio), e.like(1, ratio)])])
    return e.apply(w, "Mul", [most, root])


COMPLEX["ComplexAbs"] = COMPLEX["Abs"] = lambda c: magnitude(c.w, pair(c.x))
COMPLEX["Angle"] = lambda c: e.atan2(c.w, pair(c.x).imag, pair(c.x).real)


def _bilinear(c: Call) -> Tensor:
    """A product: of all pairs of parts."""
    a, b = (pair(x) for x in c.inputs)
    if c.op.type.startswith("BatchMatMul"):
        a, b = (_conjugate(c, z, c.attr(name, False)) for z, name in ((a, "adj_x"), (b, "adj_y")))

    def product(x: Tensor, y: Tensor) -> Tensor:
        made = TABLE[c.op.type](replace(c, inputs=[x, y]))
        return made if isinstance(made, Tensor) else made[0]

    real = e.apply(c.w, "Sub", [product(a.real, b.real), product(a.imag, b.imag)])
    return joined(real, e.apply(c.w, "Add", [product(a.real, b.imag), product(a.imag, b.real)]))


def _conjugate(c: Call, z: Pair, flag: bool) -> Pair:
    return Pair(z.real, e.apply(c.w, "Neg", [z.imag])) if flag else z


@op("Mul", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", table=COMPLEX)
def _product(c: Call) -> Tensor:
    if len(c.inputs) != 2:
        raise c.refuse("a product of more than two tensors of complex numbers")
    return _bilinear(c)


def divided(w: Writer, a: Pair, b: Pair) -> Pair:
    """A quotient; the divisor is scaled, so that no square overflows or vanishes."""
    scale = e.apply(w, "Max", [e.apply(w, "Abs", [x]) for x in (b.real, b.imag)])
    real, imag = (e.apply(w, "Div", [x, scale]) for x in (b.real, b.imag))
    size = e.apply(w, "Add", [e.apply(w, "Mul", [real, b.real]), e.apply(w, "Mul", [imag, b.imag])])

    def part(x: Tensor, y: Tensor, how: str) -> Tensor:
        total = e.apply(w, how, [e.apply(w, "Mul", [x, real]), e.apply(w, "Mul", [y, imag])])
        return e.apply(w, "Div", [total, size])

    return Pair(part(a.real, a.imag, "Add"), part(a.imag, a.real, "Sub"))


@op("RealDiv", "Div", "DivNoNan", table=COMPLEX)
def _divide(c: Call) -> Tensor:
    a, b = (pair(x) for x in c.inputs)
    made = divided(c.w, a, b)
    if c.op.type == "DivNoNan":
        zero = e.like(0, b.real)
        nothing = e.apply(c.w, "And", [e.apply(c.w, "Equal", [x, zero], "bool") for x in (b.real, b.imag)])
        made = Pair(*(e.select(c.w, nothing, zero, x) for x in (made.real, made.imag)))
    return joined(made.real, made.imag)


@op("Reciprocal", "Inv", table=COMPLEX)
def _reciprocal(c: Call) -> Tensor:
    z = pair(c.x)
    made = divided(c.w, Pair(e.like(1, z.real), e.like(0, z.real)), z)
    return joined(made.real, made.imag)


@op("Square", table=COMPLEX)
def _square(c: Call) -> Tensor:
    z = pair(c.x)
    real = e.apply(c.w, "Sub", [e.square(c.w, z.real), e.square(c.w, z.imag)])
    cross = e.apply(c.w, "Mul", [z.real, z.imag])
    return joined(real, e.apply(c.w, "Add", [cross, cross]))


@op("Exp", table=COMPLEX)
def _exp(c: Call) -> Tensor:
    z = pair(c.x)
    size = e.apply(c.w, "Exp", [z.real])
    parts = (e.apply(c.w, "Mul", [size, e.apply(c.w, kind, [z.imag])]) for kind in ("Cos", "Sin"))
    return joined(*parts)


@op("Log", table=COMPLEX)
def _log(c: Call) -> Tensor:
    z = pair(c.x)
    return joined(e.apply(c.w, "Log", [magnitude(c.w, z)]), e.atan2(c.w, z.imag, z.real))


@op("Equal", "NotEqual", table=COMPLEX)
def _equal(c: Call) -> Tensor:
    a, b = (pair(x) for x in c.inputs)
    same = [e.apply(c.w, "Equal", list(sides), "bool") for sides in ((a.real, b.real), (a.imag, b.imag))]
    both = e.apply(c.w, "And", same)
    return both if c.op.type == "Equal" else e.apply(c.w, "Not", [both])
