"""Reductions, softmaxes, normalisations, sums along an axis, picks of the largest, Einsum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.properties.examining import Case, drawn, examine
from tests.operators.properties.strategies import Draw, axes_of, axis_of, floats, images, ints, mode, shapes, vector

REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]


@st.composite
def reductions(draw: Draw) -> Case:
    name = draw(st.sampled_from(REDUCTIONS))
    x = floats(draw, draw(shapes(0, 4)))
    if name == "LogSum":
        x = np.abs(x)
    elif name in ("Sum", "Max", "Min", "Mean", "Prod", "SumSquare") and draw(st.integers(0, 3)) == 0:
        x = ints(draw, x.shape, -9, 9, draw(st.sampled_from([np.int32, np.int64])))
    opset = draw(st.sampled_from([7, 11, 13, 18]))
    attributes: dict[str, Any] = {}
    if draw(st.booleans()):
        attributes["keepdims"] = draw(st.integers(0, 1))
    axes = draw(st.sampled_from([None, [], "some", "some", "some"]))
    axes = axes_of(draw, x.ndim, least=1) if axes == "some" else axes
    if opset < 11 and axes is not None:
        axes = [a % x.ndim for a in axes]
    as_input = opset >= (13 if name == "Sum" else 18)
    if not as_input:
        attributes |= {} if not axes else {"axes": axes}
        return Case("Reduce" + name, [x], attributes, opset, symbolic=draw(st.booleans()))
    if draw(st.booleans()):
        attributes["noop_with_empty_axes"] = draw(st.integers(0, 1))
    inputs = [x] if axes is None else [x, vector(*axes)]
    return Case("Reduce" + name, inputs, attributes, opset, **mode(draw, inputs))


@st.composite
def softmaxes(draw: Draw) -> Case:
    op = draw(st.sampled_from(["Softmax", "LogSoftmax", "Hardmax"]))
    x = floats(draw, draw(shapes(1, 4)))
    opset = draw(st.sampled_from([7, 11, 13]))
    attributes = {"axis": axis_of(draw, x.ndim)} if draw(st.booleans()) else {}
    return Case(op, [x], attributes, opset, symbolic=draw(st.booleans()))


@st.composite
def normalizations(draw: Draw) -> Case:
    op = draw(st.sampled_from(["LayerNormalization", "GroupNormalization", "InstanceNormalization"]))
    if op == "LayerNormalization":
        x = floats(draw, draw(shapes(1, 4, empty=False)))
        axis = axis_of(draw, x.ndim)
        kept = x.shape[axis:]
        inputs = [x, floats(draw, kept)]
        if draw(st.booleans()):
            inputs.append(floats(draw, kept))
        attributes = {"axis": axis, "epsilon": draw(st.sampled_from([1e-5, 0.1]))}
        return Case(op, inputs, attributes, 17, draw(st.integers(1, 3)), **mode(draw, inputs), rtol=1e-4)
    groups = draw(st.sampled_from([1, 2, 3]))
    channels = groups * draw(st.integers(1, 3))
    x = floats(draw, draw(images(channels, draw(st.integers(1, 3)), empty=False)))
    if op == "InstanceNormalization":
        inputs = [x, floats(draw, (channels,)), floats(draw, (channels,))]
        return Case(op, inputs, {"epsilon": 0.1}, draw(st.sampled_from([7, 22])), **mode(draw, inputs), rtol=1e-4)
    opset = draw(st.sampled_from([18, 21]))
    size = (groups if opset == 18 else channels,)
    inputs = [x, floats(draw, size), floats(draw, size)]
    attributes = {"num_groups": groups, "epsilon": 0.1}
    return Case(op, inputs, attributes, opset, **mode(draw, inputs), rtol=1e-4)


@st.composite
def picks(draw: Draw) -> Case:
    op = draw(st.sampled_from(["TopK", "ArgMax", "ArgMin", "CumSum"]))
    x = floats(draw, draw(shapes(1, 4)))
    if draw(st.booleans()):
        x = ints(draw, x.shape, -3, 4, draw(st.sampled_from([np.int32, np.int64, np.float32])))
    axis = axis_of(draw, x.ndim)
    if op == "CumSum":
        attributes = {"exclusive": draw(st.integers(0, 1)), "reverse": draw(st.integers(0, 1))}
        inputs = [x, np.array(axis, draw(st.sampled_from([np.int32, np.int64])))]
        return Case(op, inputs, attributes, draw(st.sampled_from([11, 14])), **mode(draw, inputs))
    if op == "TopK":
        opset = draw(st.sampled_from([9, 10, 11, 24]))
        k = draw(st.integers(0, x.shape[axis]))
        if opset == 9:
            return Case(op, [x], {"k": max(k, 1), "axis": axis}, opset, 2, symbolic=draw(st.booleans()))
        attributes = {"axis": axis}
        if opset > 10:
            attributes |= {"largest": draw(st.integers(0, 1)), "sorted": 1}
        inputs = [x, vector(k)]
        return Case(op, inputs, attributes, opset, 2, **mode(draw, inputs))
    opset = draw(st.sampled_from([7, 11, 13]))
    attributes = {"axis": axis if opset > 7 else axis % x.ndim, "keepdims": draw(st.integers(0, 1))}
    if opset > 11:
        attributes["select_last_index"] = draw(st.integers(0, 1))
    return Case(op, [x], attributes, opset, symbolic=draw(st.booleans()))


@st.composite
def einsums(draw: Draw) -> Case:
    letters = "abcd"
    sizes = dict(zip(letters, [draw(st.sampled_from([2, 3, 1, 4])) for _ in letters], strict=True))
    lead = draw(shapes(1, 2, empty=False)) if draw(st.booleans()) else None
    terms, inputs = [], []
    for _ in range(draw(st.integers(1, 3))):
        term = "".join(draw(st.lists(st.sampled_from(letters), min_size=1, max_size=3)))
        shape = [sizes[c] for c in term]
        if lead is not None and draw(st.booleans()):
            at = draw(st.integers(0, len(term)))
            own = [s if draw(st.booleans()) else 1 for s in lead][draw(st.integers(0, len(lead) - 1)) :]
            shape[at:at] = own
            term = term[:at] + "..." + term[at:]
        terms.append(term)
        inputs.append(floats(draw, shape))
    equation = ",".join(terms)
    if draw(st.integers(0, 3)):
        used = sorted(set("".join(terms)) - {"."})
        kept = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
        dots = "..." if any("..." in t for t in terms) else ""
        at = draw(st.integers(0, len(kept)))
        equation += "->" + "".join(kept[:at]) + dots + "".join(kept[at:])
    return Case("Einsum", inputs, {"equation": equation}, 12, **mode(draw, inputs))


FAMILIES = (reductions, softmaxes, normalizations, picks, einsums)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_family(family: Any) -> None:
    @drawn(30)
    @given(family())
    def holds(case: Case) -> None:
        examine(case)

    holds()


@pytest.mark.slow
@drawn(60)
@given(st.one_of([family() for family in FAMILIES]))
def test_for_tflite(case: Case) -> None:
    examine(case, ["tflite"])
