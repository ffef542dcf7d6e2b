"""Pools over their whole attribute grids."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.operators.properties.examining import Case, drawn, examine
from tests.operators.properties.strategies import Draw, floats, images, ints, per_axis, window


@st.composite
def pools(draw: Draw) -> Case:
    op = draw(st.sampled_from(["MaxPool", "AveragePool", "LpPool"]))
    n = draw(st.integers(1, 3))
    kernel = per_axis(draw, [3, 1, 2], n)
    attributes = window(draw, kernel, most=-1) | {"kernel_shape": kernel}
    opset = draw(st.sampled_from([7, 10, 12, 19, 22]))
    if op == "LpPool":
        opset = draw(st.sampled_from([7, 11, 18, 22]))
        attributes["p"] = draw(st.integers(1, 3))
    if draw(st.booleans()) and opset >= (18 if op == "LpPool" else 10):
        attributes["ceil_mode"] = 1
    if opset < {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op]:
        attributes.pop("dilations", None)
    if op == "AveragePool" and draw(st.booleans()):
        attributes["count_include_pad"] = 1
    shape = draw(images(draw(st.sampled_from([1, 3, 4])), n))
    outputs = 1
    x = floats(draw, shape)
    if op == "MaxPool":
        outputs = draw(st.sampled_from([1, 1, 2])) if opset >= 8 else 1
        if outputs == 2 and n > 1:
            attributes["storage_order"] = draw(st.integers(0, 1))
        if opset >= 12 and draw(st.integers(0, 4)) == 0:
            x = ints(draw, shape, -128, 128).astype(draw(st.sampled_from(["int8", "uint8"])))
    symbolic = draw(st.booleans())
    if symbolic:  # windows that fit nowhere are refused where sizes are known
        pads, gaps = attributes.get("pads", [0] * 2 * n), attributes.get("dilations", [1] * n)
        reach = [(k - 1) * d - pads[i] - pads[n + i] for i, (k, d) in enumerate(zip(kernel, gaps, strict=True))]
        assume("SAME" in attributes.get("auto_pad", "") or all(r < s for r, s in zip(reach, shape[2:], strict=True)))
    return Case(op, [x], attributes, opset, outputs, symbolic=symbolic, rtol=1e-4 if op == "LpPool" else 1e-5)


@drawn(40)
@given(pools())
def test_pool(case: Case) -> None:
    examine(case)


@pytest.mark.slow
@drawn(25)
@given(pools())
def test_for_tflite(case: Case) -> None:
    examine(case, ["tflite"])
