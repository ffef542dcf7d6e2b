"""TensorFlow's operators on diagonals, and running products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, nested, reducing, shaping, slicing
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import Call, op
from xport.convert.importing.tf_shapes import ints
from xport.convert.importing.writer import Writer

ZERO, ONE = constant(0, "int64"), constant(1, "int64")


def _add(w: Writer, a: Tensor, b: Tensor) -> Tensor:
    return e.arithmetic(w, "Add", a, b)


def _minus(w: Writer, a: Tensor, b: Tensor) -> Tensor:
    return e.arithmetic(w, "Sub", a, b)


def _times(w: Writer, a: Tensor, b: Tensor) -> Tensor:
    return e.arithmetic(w, "Mul", a, b)


def _numbers(w: Writer, count: Tensor) -> Tensor:
    return shaping.arange(w, [ZERO, count, ONE], "int64")


def _scalar(w: Writer, size: int | Tensor) -> Tensor:
    return constant(size, "int64") if isinstance(size, int) else size


@dataclass(frozen=True)
class Band:
    """Some diagonals of a matrix, and how a table with one row for each of them holds them.

    Attributes:
        low: The number of the lowest; the main one is 0, those above it count up.
        high: The number of the highest, the table's first row.
        right: Whether diagonals above the main one end at the table's right edge, and those below it too.
    """

    low: int
    high: int
    right: tuple[bool, bool]

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.high - self.low + 1

    def width(self, w: Writer, rows: Tensor, columns: Tensor) -> Tensor:
        """How long the longest is in a matrix of some size."""
        down = _add(w, rows, constant(min(self.high, 0), "int64"))
        across = _minus(w, columns, constant(max(self.low, 0), "int64"))
        return e.apply(w, "Min", [down, across])

    def shift(self, w: Writer, number: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """By how many places a diagonal stands to the right in the table."""
        above = e.apply(w, "Max", [number, ZERO])
        below = e.apply(w, "Min", [number, ZERO])
        length = e.apply(w, "Min", [_add(w, rows, below), _minus(w, columns, above)])
        free = _minus(w, self.width(w, rows, columns), length)
        upper, lower = (free if right else _times(w, free, ZERO) for right in self.right)
        return e.select(w, e.apply(w, "GreaterOrEqual", [number, ZERO], "bool"), upper, lower)


def _band(c: Call, k: Tensor) -> Band:
    numbers = ints(k, "The number of a diagonal")
    sides = str(c.attr("align", "LEFT_LEFT")).split("_")
    return Band(numbers[0], numbers[-1], (sides[0] == "RIGHT", sides[-1] == "RIGHT"))


def _placed(w: Writer, band: Band, diagonals: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Diagonals spread over a matrix: where they stand, and the matrix (anything elsewhere).

    ``diagonals`` has a table's two axes last.
    """
    lead = shaping.rank_of(diagonals) - 2
    i, j = shaping.unsqueeze(w, _numbers(w, rows), [1]), shaping.unsqueeze(w, _numbers(w, columns), [0])
    number = _minus(w, j, i)
    low, high = constant(band.low, "int64"), constant(band.high, "int64")
    inside = e.apply(
        w,
        "And",
        [e.apply(w, "GreaterOrEqual", [number, low], "bool"), e.apply(w, "LessOrEqual", [number, high], "bool")],
    )
    row = _minus(w, high, number)
    place = _minus(w, j, e.apply(w, "Max", [number, ZERO]))
    place = _add(w, place, band.shift(w, number, rows, columns))
    width = shaping.size_of(w, diagonals, lead + 1)
    index = e.select(w, inside, _add(w, _times(w, row, width), place), _times(w, number, ZERO))
    flat = slicing.reshape_last(w, diagonals, lead, [-1])
    return inside, shaping.gather(w, flat, index, lead)


def spread(w: Writer, x: Tensor, k: Tensor, band: Band, rows: int | Tensor, columns: int | Tensor) -> tuple[
    Tensor, Tensor
]:  # fmt: skip
    """Diagonals in TensorFlow's form as a matrix; see `_placed`."""
    table = x if band.rows > 1 else shaping.unsqueeze(w, x, [shaping.rank_of(x) - 1])
    return _placed(w, band, table, _scalar(w, rows), _scalar(w, columns))


@op("MatrixDiag", "BatchMatrixDiag", "MatrixDiagV2", "MatrixDiagV3")
def _matrix_diag(c: Call) -> Tensor:
    w, x = c.w, c.x
    if len(c.inputs) == 1:
        band, rows, columns, padding = Band(0, 0, (False, False)), None, None, e.like(0, x)
    else:
        k, m, n, padding = c.inputs[1:]
        band = _band(c, k)
        rows, columns = (None if t.const is not None and int(t.const) < 0 else t for t in (m, n))
    length = shaping.size_of(w, x, shaping.rank_of(x) - 1)
    least_rows = _add(w, length, constant(max(-band.high, 0), "int64"))
    least_columns = _add(w, length, constant(max(band.low, 0), "int64"))
    if rows is None and columns is None:
        rows = columns = e.apply(w, "Max", [least_rows, least_columns])
    height = least_rows if rows is None else shaping.index_vector(w, rows)
    width = least_columns if columns is None else shaping.index_vector(w, columns)
    inside, made = spread(w, x, c.x, band, height, width)
    return e.select(w, inside, made, padding)


@op("MatrixSetDiag", "BatchMatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3")
def _set_diagonal(c: Call) -> Tensor:
    w, (x, diagonal) = c.w, c.inputs[:2]
    band = _band(c, c.inputs[2]) if len(c.inputs) > 2 else Band(0, 0, (False, False))
    rank = shaping.rank_of(x)
    k = constant(0)
    inside, made = spread(w, diagonal, k, band, shaping.size_of(w, x, rank - 2), shaping.size_of(w, x, rank - 1))
    return e.select(w, inside, made, x)


@op("MatrixDiagPart", "BatchMatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3")
def _diagonal_part(c: Call) -> Tensor:
    w, x = c.w, c.x
    k, padding = c.inputs[1:] if len(c.inputs) > 1 else (constant(0), e.like(0, x))
    band, lead = _band(c, k), shaping.rank_of(x) - 2
    rows, columns = shaping.size_of(w, x, lead), shaping.size_of(w, x, lead + 1)
    number = shaping.unsqueeze(w, constant(np.arange(band.high, band.low - 1, -1), "int64"), [1])
    place = shaping.unsqueeze(w, _numbers(w, band.width(w, rows, columns)), [0])
    place = _minus(w, place, band.shift(w, number, rows, columns))
    i = _minus(w, place, e.apply(w, "Min", [number, ZERO]))
    j = _add(w, place, e.apply(w, "Max", [number, ZERO]))
    bounds = [("GreaterOrEqual", place, ZERO), ("Less", i, rows), ("Less", j, columns)]
    tests = [e.apply(w, kind, [a, b], "bool") for kind, a, b in bounds]
    inside = e.apply(w, "And", [e.apply(w, "And", tests[:2]), tests[2]])
    index = e.select(w, inside, _add(w, _times(w, i, columns), j), _times(w, place, ZERO))
    flat = slicing.reshape_last(w, x, lead, [-1])
    made = e.select(w, inside, shaping.gather(w, flat, index, lead), padding)
    return made if band.rows > 1 else shaping.squeeze(w, made, [lead])


@op("Diag")
def _tensor_diag(c: Call) -> Tensor:
    w = c.w
    flat = shaping.reshape(w, c.x, constant([-1], "int64"))
    count = shaping.size_of(w, flat, 0)
    inside, made = spread(w, flat, c.x, Band(0, 0, (False, False)), count, count)
    shape = shaping.shape_of(w, c.x)
    return shaping.reshape(w, e.select(w, inside, made, e.like(0, c.x)), joining.concat(w, [shape, shape], 0))


@op("DiagPart")
def _tensor_diag_part(c: Call) -> Tensor:
    w, half = c.w, shaping.rank_of(c.x) // 2
    shape = slicing.cut(w, shaping.shape_of(w, c.x), [(0, 0, half, 1)])
    flat = shaping.reshape(w, c.x, constant([-1], "int64"))
    count = reducing.reduce(w, "ReduceProd", shape, [0], keepdims=False)
    steps = _times(w, _numbers(w, count), _add(w, count, ONE))
    return shaping.reshape(w, shaping.gather(w, flat, steps, 0), shape)


@op("Cross")
def _cross(c: Call) -> Tensor:
    def turned(x: Tensor, by: int) -> Tensor:
        return shaping.gather(c.w, x, constant([(i + by) % 3 for i in range(3)], "int64"), -1)

    a, b = c.inputs
    first, second = (e.apply(c.w, "Mul", [turned(a, i), turned(b, 3 - i)]) for i in (1, 2))
    return e.apply(c.w, "Sub", [first, second])


@op("Cumprod")
def _running_product(c: Call) -> Tensor:
    w, axis = c.w, ints(c.inputs[1], "The axis")[0] % shaping.rank_of(c.x)
    back = bool(c.attr("reverse", False))
    x = slicing.reverse(w, c.x, [axis]) if back else c.x
    ones = e.like(1, c.x)
    if c.attr("exclusive", False):
        x = _moved_on(w, x, axis, 1, ones)
    size = (x.dims or ())[axis]
    made = _by_doubling(w, x, axis, size, ones) if isinstance(size, int) else _one_by_one(w, x, axis)
    return slicing.reverse(w, made, [axis]) if back else made


def _moved_on(w: Writer, x: Tensor, axis: int, by: int, fill: Tensor) -> Tensor:
    """Everything ``by`` places later along an axis; what leaves at the end is gone."""
    rows = np.zeros((shaping.rank_of(x), 2), np.int64)
    rows[axis] = by, -by
    return slicing.pad(w, x, constant(rows), fill)


def _by_doubling(w: Writer, x: Tensor, axis: int, size: int, ones: Tensor) -> Tensor:
    """Products of 1, 2, 4, … neighbours."""
    step = 1
    while step < size:
        x = e.apply(w, "Mul", [x, _moved_on(w, x, axis, step, ones)])
        step *= 2
    return x


def _one_by_one(w: Writer, x: Tensor, axis: int) -> Tensor:
    """A product for each element of an axis of unknown size."""
    rank = shaping.rank_of(x)
    order = [axis, *(i for i in range(rank) if i != axis)]
    turned = w.transpose(x, order)
    turned = Tensor(x.dtype, turned.dims, w.value(turned))
    rest = slicing.cut(w, shaping.shape_of(w, turned), [(0, 1, slicing.FAR, 1)])
    start = joining.fill(w, rest, e.like(1, x))

    def turn(number: Tensor, states: list[Tensor]) -> tuple[None, list[Tensor], list[Tensor]]:
        product = e.apply(w, "Mul", [states[0], shaping.gather(w, turned, number, 0)])
        return None, [product], [product]

    dims = (turned.dims or ())[1:]
    _, stacked = nested.loop(w, shaping.size_of(w, turned, 0), None, [start], [dims], turn)
    made = stacked[0].with_(dims=turned.dims)
    return w.transpose(made, [order.index(i) for i in range(rank)])
