"""Resize over its modes, ways of saying how large, and everything that bends its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.properties.examining import Case, drawn, examine
from tests.operators.properties.strategies import Draw, floats, images, mode, vector

COORDINATES = [
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@st.composite
def resizes(draw: Draw) -> Case:
    opset = draw(st.sampled_from([11, 13, 18, 19]))
    axes_count = draw(st.integers(1, 2))
    x = floats(draw, draw(images(draw(st.sampled_from([1, 3, 4])), axes_count, empty=False)))
    rank = x.ndim
    how = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    coordinates = draw(st.sampled_from(COORDINATES))
    if opset < 19 and coordinates == "half_pixel_symmetric":
        coordinates = "half_pixel"
    attributes: dict[str, Any] = {"mode": how, "coordinate_transformation_mode": coordinates}
    if how == "nearest":
        attributes["nearest_mode"] = draw(st.sampled_from(NEAREST))
    if how == "cubic":
        attributes["cubic_coeff_a"] = draw(st.sampled_from([-0.75, -0.5]))
        attributes["exclude_outside"] = draw(st.integers(0, 1))
    if how == "linear" and draw(st.booleans()):
        attributes["exclude_outside"] = draw(st.integers(0, 1))
    if opset >= 18 and how != "nearest" and draw(st.integers(0, 2)) == 0:
        attributes["antialias"] = 1
    axes = list(range(rank))
    if opset >= 18 and draw(st.booleans()):
        axes = draw(st.permutations(range(2, rank)))
        attributes["axes"] = list(axes)
    extrapolates = coordinates == "tf_crop_and_resize"
    if extrapolates:
        attributes["extrapolation_value"] = 1.5
    roi = None
    if extrapolates:
        begins = [draw(st.sampled_from([0.0, 0.25, -0.25])) if a > 1 else 0.0 for a in axes]
        roi = np.array([*begins, *[draw(st.sampled_from([1.0, 0.75, 1.25])) if a > 1 else 1.0 for a in axes]], "f4")
    elif opset < 13:
        roi = np.zeros(0, np.float32)
    inputs: list[np.ndarray | None]
    if draw(st.booleans()):
        factors = [draw(st.sampled_from([1, 2, 0.5, 1.5, 0.6, 3, 2.3])) if a > 1 else 1.0 for a in axes]
        inputs = [x, roi, np.array(factors, np.float32)]
    else:
        sizes = vector(*[draw(st.integers(1, 9)) if a > 1 else x.shape[a] for a in axes])
        inputs = [x, roi, None if opset > 11 else np.zeros(0, np.float32), sizes]
        if opset >= 18 and "axes" in attributes and draw(st.booleans()):
            attributes["keep_aspect_ratio_policy"] = draw(st.sampled_from(["not_larger", "not_smaller"]))
    return Case("Resize", inputs, attributes, opset, **mode(draw, inputs), rtol=1e-4)


@drawn(45)
@given(resizes())
def test_resize(case: Case) -> None:
    examine(case)


@pytest.mark.slow
@drawn(25)
@given(resizes())
def test_for_tflite(case: Case) -> None:
    examine(case, ["tflite"])
