"""Gather and scatter against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from tests.operators.parity import check, node_model

RANDOM = np.random.default_rng(8)


def data(*sizes: int, dtype: type = np.float32) -> np.ndarray:
    return RANDOM.integers(-9, 9, sizes).astype(dtype)


@pytest.mark.parametrize("known", [(), (1,)], ids=["runtime", "known"])
@pytest.mark.parametrize("indices", [np.array(-1), np.array([2, -3, 0]), np.array([[0], [-1]]), np.zeros(0, np.int64)])
@pytest.mark.parametrize("axis", [0, -1])
def test_gather(indices: np.ndarray, axis: int, known: tuple[int, ...]) -> None:
    x = data(3, 3, 3)
    check(node_model("Gather", [x, indices], {"axis": axis}, constants=known), [x] if known else [x, indices])


def test_gather_elements_smaller_than_the_data() -> None:
    x, indices = data(3, 4, 5), RANDOM.integers(-4, 4, (2, 7, 3))
    check(node_model("GatherElements", [x, indices], {"axis": 1}), [x, indices])
    model = node_model("GatherElements", [x, indices], {"axis": 1}, symbolic=True)
    check(model, [x, indices], [data(4, 4, 4), RANDOM.integers(-4, 4, (4, 1, 4))])


@pytest.mark.parametrize(("batch", "sizes"), [(0, (4, 2)), (0, (2, 3, 1)), (1, (3, 2)), (1, (3, 4, 1)), (2, (3, 3, 1))])
@pytest.mark.parametrize("known", [(), (1,)], ids=["runtime", "known"])
def test_gather_nd(batch: int, sizes: tuple[int, ...], known: tuple[int, ...]) -> None:
    x, indices = data(3, 3, 3), RANDOM.integers(-3, 3, sizes)
    model = node_model("GatherND", [x, indices], {"batch_dims": batch}, constants=known)
    check(model, [x] if known else [x, indices])


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_scatter(reduction: str, dtype: type) -> None:
    x, updates = data(4, 3, dtype=dtype), data(6, 3, dtype=dtype)
    indices = RANDOM.integers(-4, 4, (6, 3))
    if reduction == "none":
        indices, updates = np.array([[0, -1, 2], [-2, 1, 0]]), updates[:2]
    refused = ("tflite",) if dtype is np.int64 and reduction != "none" else ()
    feeds = [x, indices, updates]
    check(node_model("ScatterElements", feeds, {"reduction": reduction}), feeds, may_refuse=refused)
    rows = np.array([[3], [-3]]) if reduction == "none" else RANDOM.integers(-4, 4, (6, 1))
    feeds = [x, rows, updates]
    check(node_model("ScatterND", feeds, {"reduction": reduction}), feeds, may_refuse=refused)
    points = np.array([[0, 1], [-1, -1]])
    feeds = [x, points, updates[:2, 0]]
    check(node_model("ScatterND", feeds, {"reduction": reduction}), feeds, may_refuse=refused)


def test_last_of_several_updates_wins() -> None:
    feeds = [np.zeros(3, np.float32), np.array([1, 1, 0, 1]), np.arange(4, dtype=np.float32)]
    check(node_model("ScatterElements", feeds), feeds)


@pytest.mark.parametrize("k", [0, 1, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, np.int32])
def test_top_k_takes_the_lowest_index_of_ties(k: int, dtype: type) -> None:
    x = RANDOM.integers(0, 3, (2, 4, 3)).astype(dtype)
    for attributes in ({"axis": 1}, {"axis": 1, "largest": 0}, {"axis": 1, "sorted": 1}):
        check(node_model("TopK", [x, np.array([k])], attributes, outputs=2), [x, np.array([k])])


def test_top_k_smallest_of_extreme_integers() -> None:
    x = np.array([np.iinfo(np.int64).min, 5, np.iinfo(np.int64).max, 5], np.int64)
    for largest in (0, 1):
        model = node_model("TopK", [x, np.array([4])], {"largest": largest}, outputs=2, constants=(1,))
        check(model, [x])


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int8])
def test_arg_extremes_of_ties(op: str, dtype: type) -> None:
    x = RANDOM.integers(0, 2, (3, 3, 3)).astype(dtype)
    for attributes in ({"axis": -1, "select_last_index": 1}, {"axis": 1, "keepdims": 0}):
        check(
            node_model(op, [x], attributes, symbolic=True),
            [x],
            [x[:2]],
            may_refuse=("tflite",) if dtype is np.int8 else (),
        )


@pytest.mark.parametrize("ordered", [0, 1])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_unique(ordered: int, axis: int | None) -> None:
    x = RANDOM.integers(0, 2, (5, 2)).astype(np.float32)
    attributes = {"sorted": ordered} | ({} if axis is None else {"axis": axis})
    check(node_model("Unique", [x], attributes, outputs=4), [x])


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_compress_with_a_short_condition(axis: int | None) -> None:
    feeds = [data(3, 4), np.array([False, True, True])]
    check(node_model("Compress", feeds, {} if axis is None else {"axis": axis}), feeds)


def test_nonzero_and_reverse_sequence() -> None:
    x = data(3, 4, 2)
    check(node_model("NonZero", [x]), [x])
    check(node_model("NonZero", [x > 0]), [x > 0])
    feeds = [x, np.array([1, 4, 3])]
    check(node_model("ReverseSequence", feeds, {"batch_axis": 0, "time_axis": 1}), feeds)
    feeds = [x.transpose(1, 0, 2).copy(), np.array([1, 4, 3])]
    check(node_model("ReverseSequence", feeds), feeds)


@pytest.mark.parametrize("depth", [np.array([3]), np.array(3)])
@pytest.mark.parametrize("known", [(), (1, 2)], ids=["runtime", "known"])
def test_one_hot(depth: np.ndarray, known: tuple[int, ...]) -> None:
    feeds = [np.array([[0, -1], [3, -4]]), depth, np.array([2.0, 5.0], np.float32)]
    for axis in (-1, 0, 1):
        check(node_model("OneHot", feeds, {"axis": axis}, constants=known), feeds[:1] if known else feeds)


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("limit", [0, 3, np.iinfo(np.int64).max])
def test_non_max_suppression(center: int, limit: int) -> None:
    """Ties in the scores, degenerate boxes, several batch elements and classes, two sizes after one conversion."""

    def feeds(batch: int, classes: int, boxes: int) -> list[np.ndarray]:
        corners = RANDOM.integers(-2, 6, (batch, boxes, 4)).astype(np.float32)
        scores = (RANDOM.integers(0, 6, (batch, classes, boxes)) / 5).astype(np.float32)
        return [corners, scores, np.array([limit]), np.array([0.25], np.float32), np.array([0.2], np.float32)]

    first = feeds(2, 3, 9)
    model = node_model("NonMaxSuppression", first, {"center_point_box": center}, constants=(2, 3, 4), symbolic=True)
    check(model, first[:2], feeds(1, 2, 20)[:2], feeds(3, 1, 1)[:2])
    check(node_model("NonMaxSuppression", first, {"center_point_box": center}), first)
