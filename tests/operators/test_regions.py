from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.operators.parity import check, node_model
from tests.operators.test_spatial import array


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    rng = random.Random(corners)
    x = array(rng, 2, 3, 4, 5)
    grid = array(rng, 2, 3, 6, 2) * np.float32(1.1)
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    check(node_model("GridSample", [x, grid], attributes, opset=16), [x, grid], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_of_volumes(mode: str, padding: str) -> None:
    rng = random.Random(5)
    x, grid = array(rng, 2, 2, 3, 4, 5), array(rng, 2, 2, 3, 4, 3)
    check(
        node_model("GridSample", [x, grid], {"mode": mode, "padding_mode": padding}, opset=20),
        [x, grid],
        rtol=1e-3,
        atol=1e-4,
    )


def boxes(rng: random.Random, count: int, size: float) -> np.ndarray:
    corners = [sorted(rng.uniform(-2, size + 2) for _ in range(2)) for _ in range(2 * count)]
    return np.array(corners, np.float32).reshape(count, 2, 2).transpose(0, 2, 1).reshape(count, 4)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("opset", [10, 16])
@pytest.mark.parametrize("ratio", [1, 3])
def test_roi_align(mode: str, opset: int, ratio: int) -> None:
    rng = random.Random(ratio)
    x, rois = array(rng, 2, 3, 8, 9), boxes(rng, 4, 16)
    batch = np.array([0, 1, 1, 0], np.int64)
    attributes: dict[str, Any] = {"mode": mode, "output_height": 2, "output_width": 3, "sampling_ratio": ratio}
    attributes |= {"spatial_scale": 0.5}
    model = node_model("RoiAlign", [x, rois, batch], attributes, opset=opset)
    check(model, [x, rois, batch], rtol=1e-4, atol=1e-5)


def test_max_roi_pool() -> None:
    rng = random.Random(1)
    x = array(rng, 2, 3, 8, 9)
    rois = np.array([[0, 0, 0, 4, 5], [1, 2, 1, 8, 7], [0, 3, 3, 3, 3]], np.float32)
    check(node_model("MaxRoiPool", [x, rois], {"pooled_shape": [2, 3]}, opset=11), [x, rois])


@pytest.mark.parametrize("corners", [0, 1])
def test_affine_grid(corners: int) -> None:
    theta, size = array(random.Random(1), 2, 2, 3), np.array([2, 3, 4, 5], np.int64)
    model = node_model("AffineGrid", [theta, size], {"align_corners": corners}, opset=20, constants=[1])
    check(model, [theta], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("groups", "parts", "stride"), [(1, 1, 1), (2, 2, 2), (1, 4, 1)])
def test_deform_conv(groups: int, parts: int, stride: int) -> None:
    rng = random.Random(groups)
    x, w = array(rng, 2, 4, 6, 7), array(rng, 6, 4 // groups, 3, 2)
    out = [(6 + 1 - 3) // stride + 1, (7 + 1 - 2) // stride + 1]
    offset, mask = array(rng, 2, parts * 12, *out), array(rng, 2, parts * 6, *out)
    inputs = [x, w, offset, array(rng, 6), mask]
    attributes = {"group": groups, "offset_group": parts, "strides": [stride] * 2, "pads": [0, 1, 1, 0]}
    model = node_model("DeformConv", inputs, attributes, opset=19, constants=[1, 3])
    check(model, [x, offset, mask], rtol=1e-3, atol=1e-4)
