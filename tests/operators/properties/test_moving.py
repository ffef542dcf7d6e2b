"""Operators that move elements: pad, slice, split, tile, expand, gather, scatter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.properties.examining import Case, drawn, examine
from tests.operators.properties.strategies import Draw, axes_of, axis_of, floats, ints, mode, shapes, vector

FAR = st.sampled_from([0, 1, 2, -1, -2, 5, -5, 100, -100, np.iinfo(np.int64).max, np.iinfo(np.int64).min])
DTYPES = st.sampled_from([np.float32, np.float32, np.float32, np.int64, np.int32, np.float64, np.uint8, np.bool_])


def content(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of any type."""
    dtype = draw(DTYPES)
    return floats(draw, shape, dtype) if issubclass(dtype, np.floating) else ints(draw, shape, 0, 2, dtype)


@st.composite
def pads(draw: Draw) -> Case:
    x = content(draw, draw(shapes(1, 4)))
    opset = draw(st.sampled_from([10, 11, 18, 19, 21]))
    how = draw(st.sampled_from(["constant", "constant", "reflect", "edge", *(["wrap"] if opset >= 19 else [])]))
    axes = axes_of(draw, x.ndim, least=1) if opset >= 18 and draw(st.booleans()) else None
    sizes = [x.shape[a] for a in (range(x.ndim) if axes is None else axes)]
    most = {"reflect": lambda s: max(s - 1, 0), "wrap": lambda s: s}.get(how, lambda s: 3)
    amounts = [draw(st.integers(-1 if s > 2 else 0, min(most(s), 3))) for s in sizes * 2]
    attributes: dict[str, Any] = {"mode": how}
    if opset == 10:
        attributes |= {"pads": amounts, "value": 1.5}
        return Case("Pad", [x], attributes, opset, symbolic=draw(st.booleans()))
    inputs: list[np.ndarray | None] = [x, vector(*amounts)]
    if how == "constant" and draw(st.booleans()):
        inputs.append(np.array(3, x.dtype))
    if axes is not None:
        inputs = [*inputs, *[None] * (3 - len(inputs)), np.array(axes, draw(st.sampled_from([np.int32, np.int64])))]
    return Case("Pad", inputs, attributes, opset, **mode(draw, inputs))


@st.composite
def slices(draw: Draw) -> Case:
    x = content(draw, draw(shapes(1, 4)))
    opset = draw(st.sampled_from([9, 10, 13]))
    axes = axes_of(draw, x.ndim, least=1)
    if draw(st.booleans()):
        axes = list(range(len(axes)))
    begins, ends = [draw(FAR) for _ in axes], [draw(FAR) for _ in axes]
    if opset == 9:
        attributes = {"starts": begins, "ends": ends} | ({} if axes == list(range(len(axes))) else {"axes": axes})
        return Case("Slice", [x], attributes, opset, symbolic=draw(st.booleans()))
    index = draw(st.sampled_from([np.int64, np.int64, np.int32]))
    limits = np.iinfo(index)
    inputs: list[np.ndarray | None] = [
        x,
        *(np.clip(np.array(v, object), limits.min, limits.max).astype(index) for v in (begins, ends)),
    ]
    steps = [draw(st.sampled_from([1, 2, -1, -2, 3, -100, 100])) for _ in axes]
    if axes != list(range(len(axes))) or draw(st.booleans()):
        inputs.append(np.array(axes, index))
        if draw(st.booleans()):
            inputs.append(np.array(steps, index))
    elif draw(st.booleans()):
        inputs += [None, np.array(steps, index)]
    return Case("Slice", inputs, {}, opset, **mode(draw, inputs))


@st.composite
def splits(draw: Draw) -> Case:
    x = content(draw, draw(shapes(1, 4)))
    axis = axis_of(draw, x.ndim)
    size = x.shape[axis]
    opset = draw(st.sampled_from([7, 11, 13, 18]))
    parts = draw(st.integers(1, 4))
    if draw(st.booleans()):
        cuts = sorted(draw(st.integers(0, size)) for _ in range(parts - 1))
        sizes = np.diff([0, *cuts, size]).tolist()
        if opset < 13:
            return Case("Split", [x], {"axis": axis, "split": sizes}, opset, parts, symbolic=draw(st.booleans()))
        inputs = [x, vector(*sizes)]
        return Case("Split", inputs, {"axis": axis}, opset, parts, **mode(draw, inputs))
    attributes = {"axis": axis} | ({"num_outputs": parts} if opset >= 18 else {})
    return Case("Split", [x], attributes, opset, parts, symbolic=draw(st.booleans()))


@st.composite
def repeats(draw: Draw) -> Case:
    x = content(draw, draw(shapes(0, 4)))
    if draw(st.booleans()):
        inputs = [x, vector(*[draw(st.integers(0, 3)) for _ in range(x.ndim)])]
        return Case("Tile", inputs, {}, draw(st.sampled_from([7, 13])), **mode(draw, inputs))
    wanted = [draw(st.sampled_from([1, s])) if s != 1 else draw(st.sampled_from([1, 2, 3, 0])) for s in x.shape]
    lead = [draw(st.integers(0, 3)) for _ in range(draw(st.integers(0, 2)))]
    inputs = [x, vector(*lead, *(wanted if lead else wanted[draw(st.integers(0, len(wanted))) :]))]
    return Case("Expand", inputs, {}, draw(st.sampled_from([8, 13])), **mode(draw, inputs))


@st.composite
def reshapes(draw: Draw) -> Case:
    x = content(draw, draw(shapes(0, 4)))
    sizes = list(x.shape)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(sizes)))
        if draw(st.booleans()) and len(sizes) > 1 and at + 1 < len(sizes):
            sizes[at : at + 2] = [sizes[at] * sizes[at + 1]]
        else:
            sizes.insert(at, 1)
    zero = draw(st.integers(0, 1))
    if not zero:
        sizes = [0 if i < x.ndim and s == x.shape[i] and draw(st.booleans()) else s for i, s in enumerate(sizes)]
    if sizes and draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    inputs = [x, vector(*sizes)]
    opset = draw(st.sampled_from([7, 14, 21]))
    return Case("Reshape", inputs, {"allowzero": zero} if opset >= 14 else {}, opset, **mode(draw, inputs))


@st.composite
def gathers(draw: Draw) -> Case:
    op = draw(st.sampled_from(["Gather", "GatherElements", "GatherND"]))
    x = content(draw, draw(shapes(1, 4)))
    index = draw(st.sampled_from([np.int64, np.int64, np.int32]))
    opset = draw(st.sampled_from([11, 13]))
    if op == "GatherND":
        opset = draw(st.sampled_from([11, 12, 13]))
        batch = draw(st.integers(0, x.ndim - 1)) if opset > 11 else 0
        depth = draw(st.integers(1, x.ndim - batch))
        lead = [*x.shape[:batch], *draw(shapes(0 if batch else 1, 2))]
        parts = [ints(draw, lead, -s, s) for s in x.shape[batch : batch + depth]]
        inputs = [x, np.stack(parts, -1)]
        return Case(op, inputs, {"batch_dims": batch} if opset > 11 else {}, opset, **mode(draw, inputs))
    axis = axis_of(draw, x.ndim)
    if op == "Gather":
        indices = ints(draw, draw(shapes(0, 2)), -x.shape[axis], x.shape[axis], index)
    else:
        sizes = [draw(st.integers(0, s)) for s in x.shape]
        sizes[axis] = draw(st.integers(0, 5))
        indices = ints(draw, sizes, -x.shape[axis], x.shape[axis], index)
    inputs = [x, indices]
    return Case(op, inputs, {"axis": axis}, opset, **mode(draw, inputs))


@st.composite
def scatters(draw: Draw) -> Case:
    op = draw(st.sampled_from(["ScatterElements", "ScatterND"]))
    shape = draw(shapes(1, 3))
    x = draw(st.sampled_from([floats(draw, shape), ints(draw, shape, -9, 9), ints(draw, shape, -9, 9, np.int32)]))
    opset = draw(st.sampled_from([11, 13, 16, 18]))
    how = draw(st.sampled_from(["none", "add", "mul", "max", "min"][: {16: 3, 18: 5}.get(opset, 1)]))
    attributes: dict[str, Any] = {"reduction": how} if opset >= 16 else {}
    if op == "ScatterND":
        depth = draw(st.integers(1, x.ndim))
        lead = draw(shapes(1, 2))
        count = int(np.prod(x.shape[:depth]))
        flat = np.random.default_rng(draw(st.integers(0, 99))).permutation(max(count, 1))
        if how != "none":
            flat = np.concatenate([flat, flat, flat])
        lead = (min(int(np.prod(lead)), len(flat) if count else 0),)
        places = np.stack(np.unravel_index(flat[: lead[0]], x.shape[:depth]) if count else [vector()] * depth, -1)
        places = np.where(ints(draw, places.shape, 0, 2) > 0, places, places - np.array(x.shape[:depth]))
        values = [*lead, *x.shape[depth:]]
    else:
        axis = axis_of(draw, x.ndim)
        attributes["axis"] = axis
        values = [draw(st.integers(0, s)) for s in x.shape]
        places = np.argsort(np.random.default_rng(draw(st.integers(0, 99))).random(x.shape), axis=axis)
        places = places[tuple(slice(v) for v in values)]
        if how != "none" and x.shape[axis]:
            places = ints(draw, values, -x.shape[axis], x.shape[axis])
        elif draw(st.booleans()):
            places = places - x.shape[axis]
    updates = floats(draw, values) if x.dtype == np.float32 else ints(draw, values, -9, 9, x.dtype)
    inputs = [x, places.astype(np.int64), updates]
    return Case(op, inputs, attributes, opset, **mode(draw, inputs))


MOVES = (pads, slices, splits, repeats, reshapes, gathers, scatters)


@pytest.mark.parametrize("move", MOVES, ids=lambda f: f.__name__)
def test_move(move: Any) -> None:
    @drawn(30)
    @given(move())
    def holds(case: Case) -> None:
        examine(case)

    holds()


@pytest.mark.slow
@drawn(60)
@given(st.one_of([move() for move in MOVES]))
def test_for_tflite(case: Case) -> None:
    examine(case, ["tflite"])
