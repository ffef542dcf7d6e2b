from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.operators.parity import check, node_model
from tests.operators.test_spatial import array

COORDINATES = ("half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
ROI = np.array([], np.float32)


def attributes_of(rng: random.Random, mode: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": rng.choice(COORDINATES)}
    if mode == "nearest":
        attributes["nearest_mode"] = rng.choice(NEAREST)
    if mode == "cubic":
        attributes["cubic_coeff_a"] = rng.choice([-0.75, -0.5])
        attributes["exclude_outside"] = rng.randrange(2)
    return attributes


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("seed", range(6))
def test_resize_to_sizes(mode: str, seed: int) -> None:
    if (mode, seed) == ("nearest", 5):
        seed = 55  # five to three pixels half-way: ONNX Runtime rounds the scale first, the specification does not
    rng = random.Random(seed)
    attributes = attributes_of(rng, mode)
    x = array(rng, 2, 3, rng.choice([3, 4, 6]), rng.choice([3, 5, 7]))
    sizes = np.array([2, 3, rng.choice([2, 5, 8, 12]), rng.choice([2, 3, 7, 14])], np.int64)
    if rng.random() < 0.4 and mode != "nearest":
        attributes["antialias"] = 1
        attributes.pop("cubic_coeff_a", None)
        attributes["coordinate_transformation_mode"] = "half_pixel"
    model = node_model("Resize", [x, None, None, sizes], attributes, opset=19, constants=[3])
    check(model, [x], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("seed", range(4))
def test_resize_by_scales(mode: str, seed: int) -> None:
    rng = random.Random(50 + seed)
    attributes = attributes_of(rng, mode)
    x = array(rng, 2, 3, rng.choice([3, 4, 6]), rng.choice([3, 5, 7]))
    choices = (
        [2.0, 3.0, 4.0] if attributes["coordinate_transformation_mode"] == "align_corners" else [0.6, 1.0, 1.7, 2.0]
    )
    scales = np.array([1, 1, rng.choice(choices), rng.choice(choices)], np.float32)
    model = node_model("Resize", [x, ROI, scales], attributes, opset=13, constants=[1, 2])
    check(model, [x], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {"mode": "linear"},
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"},
    ],
)
@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_resize_by_scales_at_sizes_unseen_in_conversion(attributes: dict[str, Any], scale: float) -> None:
    rng = random.Random(5)
    first, second = array(rng, 1, 3, 3, 3), array(rng, 2, 3, 5, 8)
    scales = np.array([1, 1, scale, scale], np.float32)
    model = node_model("Resize", [first, ROI, scales], attributes, opset=13, constants=[1, 2], symbolic=True)
    check(model, [first], [second], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [0.6, 1.5, 2.0])
def test_older_resize(mode: str, scale: float) -> None:
    x = array(random.Random(7), 1, 2, 5, 7)
    scales = np.array([1, 1, scale, scale], np.float32)
    check(node_model("Resize", [x, scales], {"mode": mode}, opset=10, constants=[1]), [x], rtol=1e-4, atol=1e-5)
    if scale >= 1:
        check(node_model("Upsample", [x, scales], {"mode": mode}, opset=9, constants=[1]), [x], rtol=1e-4, atol=1e-5)
        check(
            node_model("Upsample", [x], {"mode": mode, "scales": scales.tolist()}, opset=8), [x], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_nearest_resize_of_integers(dtype: Any) -> None:
    x = np.arange(30).astype(dtype).reshape(1, 2, 3, 5)
    scales = np.array([1, 1, 2, 2], np.float32)
    check(
        node_model("Resize", [x, ROI, scales], {"mode": "nearest"}, opset=13, constants=[1, 2]),
        [x],
        may_refuse=("tflite",),
    )


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str) -> None:
    first, second = array(random.Random(1), 1, 8, 2, 2), array(random.Random(2), 3, 8, 3, 5)
    model = node_model("DepthToSpace", [first], {"blocksize": 2, "mode": mode}, opset=13, symbolic=True)
    check(model, [first], [second])
    check(node_model("DepthToSpace", [first], {"blocksize": 2, "mode": mode}, opset=13), [first])


def test_space_to_depth() -> None:
    first, second = array(random.Random(1), 1, 3, 4, 4), array(random.Random(2), 2, 3, 6, 2)
    check(node_model("SpaceToDepth", [first], {"blocksize": 2}, opset=13, symbolic=True), [first], [second])


@pytest.mark.parametrize("wanted", [[5, 2, 7], [4, 3, 1], [3, 8, 4]])
def test_center_crop_pad(wanted: list[int]) -> None:
    x = array(random.Random(1), 4, 3, 4)
    shape = np.array(wanted, np.int64)
    check(node_model("CenterCropPad", [x, shape], opset=18, constants=[1]), [x])
    check(node_model("CenterCropPad", [x, shape], opset=18), [x, shape])


@pytest.mark.parametrize("constants", [[], [1, 2]])
def test_col2im(constants: list[int]) -> None:
    x = array(random.Random(1), 2, 12, 9)
    shapes = [np.array([5, 4], np.int64), np.array([2, 3], np.int64)]
    attributes = {"pads": [0, 1, 1, 0], "strides": [2, 1], "dilations": [1, 1]}
    model = node_model("Col2Im", [x, *shapes], attributes, opset=18, constants=constants)
    check(model, [x, *([] if constants else shapes)], rtol=1e-4, atol=1e-5)
