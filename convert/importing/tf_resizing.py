"""TensorFlow's ways of resizing images that ONNX has no operator for: one matrix for each side of the image.

Row ``o`` of a matrix holds the weights with which pixels of the source make pixel ``o`` of the result. Where both sizes
are known the matrix is a constant; else it is computed from the sizes at run time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import shaping, spatial
from xport.convert.importing.formulas import Term, count_up
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import Call, op

_TINY = 1000 * float(np.finfo(np.float32).tiny)
"""Weights whose sum is smaller are not normalised; TensorFlow leaves such pixels zero."""

_TABLE = 1024
"""TensorFlow rounds the place between two pixels to this part of their distance for cubic weights."""


def _lanczos(radius: int) -> Callable[[Term], Term]:
    def kernel(x: Term) -> Term:
        inner = x.clip(1e-3, radius) * math.pi
        wave = radius * inner.of("Sin") * (inner / radius).of("Sin") / (inner * inner)
        return (x > radius).where(0, (x <= 1e-3).where(1, wave))

    return kernel


def _gaussian(x: Term) -> Term:
    return (x >= 1.5).where(0, (-(x * x) / (2 * 0.5**2)).of("Exp"))


def _box(x: Term) -> Term:
    return (x < 0.5).where(1, x.equals(0.5).where(x, 0))


def _triangle(x: Term) -> Term:
    return (1 - x).most(0)


def _cubic(near: tuple[float, ...], far: tuple[float, ...]) -> Callable[[Term], Term]:
    """A piece up to distance one and a piece up to two, as factors of powers of the distance, the highest first."""

    def kernel(x: Term) -> Term:
        pieces = []
        for factors in (near, far):
            value = x * factors[0]
            for factor in factors[1:-1]:
                value = (value + factor) * x
            pieces.append(value + factors[-1])
        return (x >= 2).where(0, (x >= 1).where(pieces[1], pieces[0]))

    return kernel


KERNELS: dict[str, tuple[float, Callable[[Term], Term]]] = {
    "lanczos1": (1, _lanczos(1)),
    "lanczos3": (3, _lanczos(3)),
    "lanczos5": (5, _lanczos(5)),
    "gaussian": (1.5, _gaussian),
    "box": (1, _box),
    "triangle": (1, _triangle),
    "keyscubic": (2, _cubic((1.5, -2.5, 0, 1), (-0.5, 2.5, -4, 2))),
    "mitchellcubic": (2, _cubic((7 / 6, -2, 0, 8 / 9), (-7 / 18, 2, -10 / 3, 16 / 9))),
}
"""Weights by the distance, and how far they reach, as in TensorFlow's ``sampling_kernels.h``."""


def _side(c: Call, axis: int) -> tuple[Tensor, Tensor]:
    """The sizes of the source and of the result along an axis of the image."""
    size = shaping.gather(c.w, shaping.index_vector(c.w, c.inputs[1]), constant(axis - 1, "int64"), 0)
    return shaping.size_of(c.w, c.x, axis), size


def _applied(c: Call, matrices: list[Term]) -> Tensor:
    """The image with both sides resized."""
    x = e.cast(c.w, c.x, "float32")
    value, perm, _, channels = spatial.image(c.w, x, first=False)
    rows, columns = (c.w.value(m.tensor) for m in matrices)
    turned = c.w.emit("Transpose", [columns], ["float32"], {"perm": [1, 0]})[0]
    tall = c.w.emit("MatMul", [rows, value], ["float32"])[0]
    made = c.w.emit("MatMul", [tall, turned], ["float32"])[0]
    ends = [(m.tensor.dims or (c.w.fresh(),))[0] for m in matrices]
    return spatial.pictured(x, made, perm, ends, channels)


@op("ScaleAndTranslate")
def _scale_and_translate(c: Call) -> Tensor:
    kind = c.attr("kernel_type", "lanczos3")
    if kind not in KERNELS:
        raise c.refuse(f"its kernel {kind} is not known")
    scales, shifts = (Term(c.w, x) for x in c.inputs[2:4])
    antialias = bool(c.attr("antialias", True))
    return _applied(c, [_sampled(c, a, scales.take(a - 1, 0), shifts.take(a - 1, 0), kind, antialias) for a in (1, 2)])


def _sampled(c: Call, axis: int, scale: Term, shift: Term, kind: str, antialias: bool) -> Term:
    _, kernel = KERNELS[kind]
    before, after = _side(c, axis)
    inverse = 1 / scale
    wide = inverse.most(1) if antialias else inverse * 0 + 1
    place = (count_up(c.w, after, "float32") + 0.5) * inverse + (-inverse) * shift
    place = place.at(1)
    source = (count_up(c.w, before, "float32") + 0.5).at(0)
    weights = kernel(((source - place) * (1 / wide)).of("Abs"))
    total = weights.total(1)
    extent = Term(c.w, e.cast(c.w, before, "float32"))
    used = (place >= 0) & (place <= extent) & (total.of("Abs") >= _TINY)
    return used.where(weights * (1 / used.where(total, 1)), 0)


def _step(c: Call, before: Tensor, after: Tensor) -> Term:
    """The distance of two of the result's pixels in the source."""
    a, b = (Term(c.w, e.cast(c.w, x, "float32")) for x in (before, after))
    if not c.attr("align_corners", False):
        return a / b
    return (b > 1).where((a - 1) / (b - 1).most(1), a / b)


@op("ResizeBicubic")
def _bicubic(c: Call) -> Tensor:
    return _applied(c, [_cubic_weights(c, axis) for axis in (1, 2)])


def _cubic_weights(c: Call, axis: int) -> Term:
    half = bool(c.attr("half_pixel_centers", False))
    before, after = _side(c, axis)
    numbers, step = count_up(c.w, after, "float32"), _step(c, before, after)
    place = (numbers + 0.5) * step - 0.5 if half else numbers * step
    floor = place.of("Floor")
    part = ((place - floor) * _TABLE).of("Round") / _TABLE
    a = -0.5 if half else -0.75
    taps = [_far(1 + part, a), _near(part, a), _near(1 - part, a), _far(2 - part, a)]
    last = Term(c.w, before) - 1
    places = [floor.cast("int64") + i for i in (-1, 0, 1, 2)]
    bounded = [p.clip(0, last) for p in places]
    if half:
        taps = [p.equals(b).where(tap, 0) for p, b, tap in zip(places, bounded, taps, strict=True)]
        total = taps[0] + taps[1] + taps[2] + taps[3]
        taps = [tap * (1 / total) for tap in taps]
    source = count_up(c.w, before).at(0)
    rows = [source.equals(b.at(1)).where(tap.at(1), 0) for b, tap in zip(bounded, taps, strict=True)]
    return rows[0] + rows[1] + rows[2] + rows[3]


def _near(x: Term, a: float) -> Term:
    return (x * (a + 2) - (a + 3)) * x * x + 1


def _far(x: Term, a: float) -> Term:
    return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a


@op("ResizeArea")
def _area(c: Call) -> Tensor:
    return _applied(c, [_overlap(c, axis) for axis in (1, 2)])


def _overlap(c: Call, axis: int) -> Term:
    before, after = _side(c, axis)
    step = _step(c, before, after)
    numbers, source = count_up(c.w, after, "float32").at(1), count_up(c.w, before, "float32").at(0)
    low, high = numbers * step, (numbers + 1) * step
    last = source >= Term(c.w, e.cast(c.w, before, "float32")) - 1
    end = last.where(high, (source + 1).least(high))
    return (end - source.most(low)).most(0) / step
