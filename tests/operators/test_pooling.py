from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.operators.parity import check, node_model
from tests.operators.test_spatial import AUTO, array, window


def pool(rng: random.Random, n: int, *, dilate: bool) -> tuple[dict[str, Any], list[int]]:
    kernel = [rng.choice([1, 2, 3]) for _ in range(n)]
    auto = rng.choice(AUTO)
    attributes = window(rng, n, kernel, auto) | {"kernel_shape": kernel}
    if auto == "NOTSET":
        attributes["ceil_mode"] = rng.randrange(2)
        if dilate and rng.random() < 0.4:
            attributes["dilations"] = [rng.choice([1, 2]) for _ in range(n)]
    return attributes, [rng.choice([5, 6, 7, 9]) for _ in range(n)]


@pytest.mark.parametrize("seed", range(9))
def test_max_pool(seed: int) -> None:
    rng = random.Random(seed)
    attributes, sizes = pool(rng, 1 + seed % 3, dilate=True)
    x = array(rng, 2, 3, *sizes)
    check(node_model("MaxPool", [x], attributes, opset=13), [x])


@pytest.mark.parametrize("seed", range(4))
def test_max_pool_tells_where_the_maximum_was(seed: int) -> None:
    rng = random.Random(50 + seed)
    attributes, sizes = pool(rng, 1 + seed % 3, dilate=False)
    x = np.random.default_rng(seed).integers(-4, 4, size=(2, 3, *sizes)).astype(np.float32)
    attributes["storage_order"] = 0 if len(sizes) == 1 else rng.randrange(2)
    check(node_model("MaxPool", [x], attributes, opset=13, outputs=2), [x])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_max_pool_of_small_integers(dtype: Any) -> None:
    x = np.arange(-40, 56).astype(dtype).reshape(1, 2, 6, 8)
    check(node_model("MaxPool", [x], {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1]}, opset=13), [x])


@pytest.mark.parametrize("seed", range(9))
def test_average_pool(seed: int) -> None:
    rng = random.Random(200 + seed)
    attributes, sizes = pool(rng, 1 + seed % 3, dilate=True)
    attributes["count_include_pad"] = rng.randrange(2)
    x = array(rng, 2, 3, *sizes)
    check(node_model("AveragePool", [x], attributes, opset=19), [x], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("ceil", [0, 1])
def test_pools_at_sizes_unseen_in_conversion(op: str, ceil: int) -> None:
    rng = random.Random(3)
    attributes = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": ceil}
    first, second = array(rng, 1, 3, 5, 4), array(rng, 2, 3, 8, 9)
    check(node_model(op, [first], attributes, opset=13, symbolic=True), [first], [second])


@pytest.mark.parametrize("seed", range(3))
def test_lp_pool(seed: int) -> None:
    rng = random.Random(300 + seed)
    attributes, sizes = pool(rng, 1 + seed % 3, dilate=False)
    attributes |= {"p": 1 + seed % 3, "ceil_mode": 0}
    x = array(rng, 2, 3, *sizes)
    check(node_model("LpPool", [x], attributes, opset=18), [x], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_global_pools(op: str) -> None:
    first, second = array(random.Random(1), 1, 3, 3, 3), array(random.Random(2), 2, 3, 4, 7)
    check(node_model(op, [first], opset=13, symbolic=True), [first], [second])


def test_max_unpool_with_windows_that_overlap() -> None:
    x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    places = np.array([[[[4, 4], [4, 8]]]], np.int64)
    model = node_model("MaxUnpool", [x, places], {"kernel_shape": [2, 2], "strides": [1, 1]}, opset=11)
    check(model, [x, places])
