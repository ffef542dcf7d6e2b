"""TensorFlow's operators on boxes: suppression and crops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, reducing, shaping, slicing
from xport.convert.importing.formulas import Term, count_up
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import Call, op

_FLOAT = "float32"


def _selected(c: Call, boxes: Tensor, scores: Tensor, limit: Tensor, bounds: list[Tensor]) -> Tensor:
    """ONNX's suppression: a row (batch, class, box) for each box that is kept."""
    operands = [boxes, scores, shaping.index_vector(c.w, limit), *(e.cast(c.w, x, _FLOAT) for x in bounds)]
    made: Tensor = c.w.op("NonMaxSuppression", operands, "int64", (c.w.fresh(), 3))
    return made


def _rest(c: Call, limit: Tensor, count: Tensor) -> Tensor:
    """The padding with which a vector gets ``limit`` elements."""
    missing = e.arithmetic(c.w, "Sub", shaping.index_vector(c.w, limit), count)
    rows = [constant([0], "int64"), shaping.unsqueeze(c.w, missing, [0])]
    return shaping.unsqueeze(c.w, joining.concat(c.w, rows, 0), [0])


@op(*(f"NonMaxSuppression{version}" for version in ("", "V2", "V3", "V4", "V5")))
def _suppress(c: Call) -> list[Tensor]:
    version = c.op.type.removeprefix("NonMaxSuppression")
    boxes, scores, limit = c.inputs[:3]
    bounds = c.inputs[3:5] or [constant(float(c.attr("iou_threshold", 0.5)), _FLOAT)]
    soft = len(c.inputs) > 5 and not (c.inputs[5].const is not None and float(c.inputs[5].const) == 0)
    if soft:
        raise c.refuse("soft suppression has no ONNX operator")
    wide = e.cast(c.w, boxes, _FLOAT), e.cast(c.w, scores, _FLOAT)
    found = _selected(
        c, shaping.unsqueeze(c.w, wide[0], [0]), shaping.unsqueeze(c.w, wide[1], [0, 1]), limit, list(bounds)
    )
    picked = shaping.gather(c.w, found, constant(2, "int64"), 1)
    count = shaping.size_of(c.w, picked, 0)
    kept = slicing.gather_batched(c.w, scores, picked, 0, 0)
    if c.attr("pad_to_max_output_size", False):
        rest = _rest(c, limit, count)
        picked, kept = slicing.pad(c.w, picked, rest), slicing.pad(c.w, kept, rest)
    results = [picked.with_(dtype="int32", wide=True), count.with_(dtype="int32", wide=True)]
    if version == "V5":
        return [results[0], kept, results[1]]
    return results if version == "V4" else results[:1]


@dataclass(frozen=True)
class _Candidates:
    """Boxes with their scores in every class.

    Attributes:
        boxes: (batch, boxes, 4), or (batch * classes, boxes, 4) where each class has its own.
        scores: (batch, classes, boxes).
        own: Whether each class has its own boxes.
    """

    boxes: Tensor
    scores: Tensor
    own: bool


def _candidates(c: Call) -> _Candidates:
    boxes, scores = c.inputs[:2]
    groups = (boxes.dims or (None, None, None))[2]
    turned = c.w.transpose(scores, [0, 2, 1])
    if groups == 1:
        return _Candidates(shaping.squeeze(c.w, boxes, [2]), turned, own=False)
    if not isinstance(groups, int):
        raise c.refuse("whether classes have boxes of their own must be known while converting")
    rows = c.w.transpose(boxes, [0, 2, 1, 3])
    sizes = [constant([-1], "int64"), slicing.cut(c.w, shaping.shape_of(c.w, rows), [(0, 2, slicing.FAR, 1)])]
    return _Candidates(shaping.reshape(c.w, rows, joining.concat(c.w, sizes, 0)), turned, own=True)


def _survivors(c: Call, given: _Candidates, limit: Tensor, bounds: list[Tensor]) -> Tensor:
    """The scores of what is kept, minus infinity for the others, as (batch, classes * boxes)."""
    w, scores = c.w, given.scores
    shape = shaping.shape_of(w, scores)
    if given.own:
        flat = [constant([-1, 1], "int64"), slicing.cut(w, shape, [(0, 2, slicing.FAR, 1)])]
        scores = shaping.reshape(w, scores, joining.concat(w, flat, 0))
    found = _selected(c, given.boxes, scores, limit, bounds)
    kept: Tensor = w.op("GatherND", [scores, found], _FLOAT, (w.fresh(),))
    nothing = joining.fill(w, shaping.shape_of(w, scores), constant(-np.inf, _FLOAT))
    marked = slicing.scatter(w, "ScatterND", nothing, found, kept)
    batch = slicing.cut(w, shape, [(0, 0, 1, 1)])
    return shaping.reshape(w, marked, joining.concat(w, [batch, constant([-1], "int64")], 0))


@op("CombinedNonMaxSuppression")
def _suppress_classes(c: Call) -> list[Tensor]:
    w, given = c.w, _candidates(c)
    each, total = (shaping.index_vector(w, x) for x in c.inputs[2:4])
    marked = _survivors(c, given, each, list(c.inputs[4:6]))
    if c.attr("pad_per_class", False):
        classes = shaping.size_of(w, given.scores, 1)
        total = e.apply(w, "Min", [total, e.arithmetic(w, "Mul", each, classes)])
    columns = joining.concat(w, [constant([0, 0, 0], "int64"), shaping.unsqueeze(w, total, [0])], 0)
    padded = slicing.pad(w, marked, shaping.reshape(w, columns, constant([2, 2], "int64")), constant(-np.inf, _FLOAT))
    scores, places = (Term(w, x) for x in reducing.top_k(w, padded, total, dtype="int64"))
    real = scores > -np.inf
    place = real.where(places, 0)
    count = Term(w, shaping.size_of(w, given.scores, 2))
    table, picks = given.boxes, place.modulo(count)
    if given.own:
        batch = slicing.cut(w, shaping.shape_of(w, given.scores), [(0, 0, 1, 1)])
        table, picks = shaping.reshape(w, table, joining.concat(w, [batch, constant([-1, 4], "int64")], 0)), place
    boxes = real.at(2).where(Term(w, slicing.gather_batched(w, table, picks.tensor, 1, 1)), 0)
    boxes = boxes.clip(0, 1) if c.attr("clip_boxes", True) else boxes
    named = real.where((place / count).cast(_FLOAT), 0)
    number = real.cast("int32").total(1, keep=False)
    return [boxes.tensor, real.where(scores, 0).tensor, named.tensor, number.tensor]


@op("CropAndResize")
def _crop(c: Call) -> Tensor:
    w = c.w
    image, corners = Term(w, e.cast(w, c.x, _FLOAT)), Term(w, c.inputs[1])
    height, width = (Term(w, shaping.size_of(w, c.x, axis)) for axis in (1, 2))
    size = shaping.index_vector(w, c.inputs[3])
    ends = [Term(w, shaping.gather(w, size, constant(i, "int64"), 0)) for i in (0, 1)]
    y = _sampled(corners.take(0, 1), corners.take(2, 1), height, ends[0]).at(2)
    x = _sampled(corners.take(1, 1), corners.take(3, 1), width, ends[1]).at(1)
    inside = _within(y, height) & _within(x, width)
    pixels = Term(w, shaping.reshape(w, image.tensor, _rows_of_pixels(c)))
    first = Term(w, shaping.index_vector(w, c.inputs[2])).at(1, 2) * height

    def pixel(row: Term, column: Term) -> Term:
        row, column = row.cast("int64").clip(0, height - 1), column.cast("int64").clip(0, width - 1)
        return pixels.take((first + row) * width + column, 0)

    if c.attr("method", "bilinear") == "nearest":
        made = pixel((y + 0.5).of("Floor"), (x + 0.5).of("Floor"))
    else:
        up, left = y.of("Floor"), x.of("Floor")
        lines = [
            pixel(r, left) + (pixel(r, x.of("Ceil")) - pixel(r, left)) * (x - left).at(3) for r in (up, y.of("Ceil"))
        ]
        made = lines[0] + (lines[1] - lines[0]) * (y - up).at(3)
    return inside.at(3).where(made, float(c.attr("extrapolation_value", 0))).tensor


def _rows_of_pixels(c: Call) -> Tensor:
    channels = slicing.cut(c.w, shaping.shape_of(c.w, c.x), [(0, 3, slicing.FAR, 1)])
    return joining.concat(c.w, [constant([-1], "int64"), channels], 0)


def _sampled(low: Term, high: Term, extent: Term, count: Term) -> Term:
    """Where the rows of each crop lie in the image: (crops, rows)."""
    last, steps = (extent - 1).cast(_FLOAT), (count - 1).cast(_FLOAT)
    scale = (high - low) * last / steps.most(1)
    many = low.at(1) * last + count_up(low.w, count.tensor, _FLOAT) * scale.at(1)
    return (steps > 0).where(many, (0.5 * (low + high) * last).at(1))


def _within(place: Term, extent: Term) -> Term:
    return (place >= 0) & (place <= (extent - 1).cast(_FLOAT))
