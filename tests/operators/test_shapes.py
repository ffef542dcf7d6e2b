"""Shape operators, slices, pads and gathers against ONNX Runtime, with adversarial sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.operators.parity import check, graph_model, node_model
from xport.errors import UnsupportedError

RANDOM = np.random.default_rng(7)
INT64 = np.iinfo(np.int64)


def floats(*sizes: int) -> np.ndarray:
    return RANDOM.standard_normal(sizes).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


SLICES = [
    (ints(1), ints(3), ints(0), ints(1)),
    (ints(-1), ints(INT64.min), ints(1), ints(-1)),
    (ints(INT64.max), ints(-100), ints(1), ints(-2)),
    (ints(-100, 2), ints(INT64.max, 1), ints(-1, 0), ints(3, 1)),
    (ints(3), ints(1), ints(2), ints(-1)),
    (ints(0, 0, 0), ints(5, -1, 2), ints(0, 1, 2), ints(2, 2, 2)),
]


@pytest.mark.parametrize("constants", [(), (1, 2, 3, 4)], ids=["runtime", "known"])
@pytest.mark.parametrize("case", range(len(SLICES)))
def test_slice_clamps_like_the_specification(case: int, constants: tuple[int, ...]) -> None:
    check(
        node_model("Slice", [floats(3, 4, 3), *SLICES[case]], constants=constants),
        [floats(3, 4, 3), *(() if constants else SLICES[case])],
    )


@pytest.mark.parametrize(
    ("starts", "ends", "axes"),
    [
        ([1], [INT64.max], [0]),
        ([1], [6], [0]),
        ([7], [9], [0]),
        ([1, 1], [INT64.max, INT64.max], [0, 1]),
        ([1, 0], [6, 2], [0, 1]),
        ([0, 1], [2, 5], [0, 1]),
        ([3], [-2], [0]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_slices_may_end_behind_a_size_that_only_run_time_knows(
    starts: list[int], ends: list[int], axes: list[int], dtype: type
) -> None:
    shape, other = [(4, 3, 2)[: len(axes)], (9, 6, 5)[: len(axes)]]
    x, y = (np.arange(np.prod(s), dtype=dtype).reshape(s) for s in (shape, other))
    bounds = [np.array(v, np.int64) for v in (starts, ends, axes)]
    model = node_model("Slice", [x, *bounds], constants=(1, 2, 3), symbolic=True)
    filled = [y] if len(range(*slice(starts[0], ends[0]).indices(4))) == 0 else [x, y]
    check(model, *[[f] for f in filled])
    if dtype is np.int64:  # sizes that conversion knows
        check(node_model("Slice", [y, *bounds], constants=(1, 2, 3)), [y])


@pytest.mark.parametrize("constants", [(), (1, 2, 3)], ids=["runtime", "known"])
@pytest.mark.parametrize(
    ("mode", "pads"),
    [
        ("constant", ints(1, 0, -1, 2, -2, 1)),
        ("constant", ints(-2, 0, 0, 3, 0, 0)),
        ("reflect", ints(2, 1, 0, 1, 2, -1)),
        ("edge", ints(4, -1, 0, 0, 5, 0)),
        ("wrap", ints(5, 0, -1, 1, 7, 0)),
    ],
)
def test_pad(mode: str, pads: np.ndarray, constants: tuple[int, ...]) -> None:
    x = floats(3, 3, 3)
    rest: list[np.ndarray] = [pads] if mode != "constant" else [pads, np.array(2.5, np.float32)]
    known = tuple(c for c in constants if c <= len(rest))
    model = node_model("Pad", [x, *rest], {"mode": mode}, constants=known)
    targets = ("savedmodel", "tflite", "torch") if known or mode == "constant" else ("savedmodel", "torch")
    check(model, [x, *(() if known else rest)], targets=targets)


def test_pad_of_named_axes_and_integers() -> None:
    for dtype in (np.int32, np.int64, np.uint8, np.bool_):
        x = RANDOM.integers(0, 2, (1, 3, 3, 3)).astype(dtype)
        model = node_model("Pad", [x, ints(1, 0, 0, 2), None, ints(-1, 1)], constants=(1, 3))
        check(model, [x])


@pytest.mark.parametrize("shape", [(0, -1, 1), (0, 0, 3), (-1,), (3, 3, 1, -1)])
def test_reshape_at_two_batches(shape: tuple[int, ...]) -> None:
    model = node_model("Reshape", [floats(2, 3, 3), ints(*shape)], constants=(1,), symbolic=True)
    check(model, [floats(2, 3, 3)], [floats(3, 3, 3)])
    check(node_model("Reshape", [floats(2, 3, 3), ints(*shape)]), [floats(2, 3, 3), ints(*shape)])


def test_reshape_allowzero() -> None:
    x = np.zeros((0, 3, 4), np.float32)
    check(node_model("Reshape", [x, ints(3, 4, 0)], {"allowzero": 1}, constants=(1,)), [x])
    check(node_model("Reshape", [x, ints(3, 4, 0)], {"allowzero": 1}), [x, ints(3, 4, 0)])


def test_axes_at_run_time() -> None:
    x = floats(1, 3, 1, 4)
    check(node_model("Squeeze", [x, ints(-2, 0)]), [x, ints(-2, 0)])
    check(node_model("Unsqueeze", [x[0, :, 0], ints(3, -4)]), [x[0, :, 0], ints(3, -4)])
    check(node_model("Squeeze", [x]), [x])


def test_expand_tile_split_at_run_time() -> None:
    x = floats(1, 3, 1)
    check(node_model("Expand", [x, ints(2, 1, 4)]), [x, ints(2, 1, 4)])
    check(node_model("Expand", [x, ints(5, 1, 1, 1)]), [x, ints(5, 1, 1, 1)])
    check(node_model("Tile", [x, ints(2, 0, 3)]), [x, ints(2, 0, 3)])
    y = floats(2, 6)
    check(node_model("Split", [y, ints(1, 0, 5)], {"axis": 1}, outputs=3), [y, ints(1, 0, 5)])
    model = node_model("Split", [y], {"axis": -1, "num_outputs": 4}, outputs=4, symbolic=True)
    check(model, [floats(2, 7)], [floats(3, 10)])


def test_split_before_opset_13() -> None:
    y = floats(2, 6)
    check(node_model("Split", [y], {"axis": 1, "split": [2, 4]}, outputs=2, opset=11), [y])
    check(node_model("Split", [y], {"axis": 1}, outputs=3, opset=7), [y])


def test_older_forms() -> None:
    x = floats(1, 3, 3)
    check(node_model("Slice", [x], {"starts": [0, -2], "ends": [5, 9], "axes": [0, 2]}, opset=9), [x])
    check(node_model("Pad", [x], {"pads": [0, 1, -1, 0, 0, 2], "value": 1.5}, opset=10), [x])
    check(node_model("TopK", [x], {"k": 2, "axis": 1}, opset=9, outputs=2), [x])
    check(node_model("Unsqueeze", [x], {"axes": [0, 4]}, opset=11), [x])
    check(node_model("Squeeze", [x], {"axes": [0]}, opset=11), [x])


@pytest.mark.parametrize("limits", [(0, 5, 1), (5, -3, -2), (3, 3, 1), (0, 7, 3), (4, 0, 1)])
def test_range_of_integers(limits: tuple[int, int, int]) -> None:
    feeds = [np.array(v, np.int64) for v in limits]
    check(node_model("Range", feeds), feeds)


@pytest.mark.parametrize("limits", [(0.0, 1.0, 0.1), (1.5, -2.0, -0.7), (0.3, 0.2, 0.1), (0.0, 0.9, 0.3)])
def test_range_of_floats(limits: tuple[float, float, float]) -> None:
    feeds = [np.array(v, np.float32) for v in limits]
    check(node_model("Range", feeds), feeds)


@pytest.mark.parametrize("k", [-2, 0, 1, 9])
def test_trilu_and_eye(k: int) -> None:
    x = floats(2, 3, 4)
    nodes: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Trilu", ["x", "k"], {"upper": 0}),
        ("Trilu", ["x", "k"], {}),
        ("EyeLike", ["m"], {"k": k}),
        ("EyeLike", ["m"], {"k": k, "dtype": 7}),
    ]
    feeds = {"x": x, "m": x[0], "k": np.array(k, np.int64)}
    check(graph_model(nodes, feeds), list(feeds.values()))
    check(graph_model(nodes, feeds, constants=["k"], symbolic=True), [x, x[0]], [floats(1, 5, 2), floats(5, 2)])


def test_sizes_stay_symbolic_through_host_arithmetic() -> None:
    """Max, Min, Mod, Div, Neg, Split and Range of sizes, at sizes not seen in conversion."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Split", ["s"], ["n", "c"], num_outputs=2),
        helper.make_node("Div", ["n", "four"], ["q"]),
        helper.make_node("Mod", ["n", "four"], ["r"]),
        helper.make_node("Sub", ["n", "seven"], ["d"]),
        helper.make_node("Div", ["d", "four"], ["t"]),
        helper.make_node("Neg", ["t"], ["u"]),
        helper.make_node("Max", ["q", "r", "u"], ["m"]),
        helper.make_node("Min", ["n", "four"], ["l"]),
        helper.make_node("Concat", ["n", "c", "q", "r", "t", "u", "m", "l"], ["y"], axis=0),
    ]
    x = helper.make_tensor_value_info("x", 1, ["N", 3])
    y = helper.make_tensor_value_info("y", 7, [8])
    known = [helper.make_tensor(name, 7, [1], [v]) for name, v in (("four", 4), ("seven", 7))]
    graph = helper.make_graph(nodes, "g", [x], [y], known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    check(model, *[[floats(n, 3)] for n in (1, 2, 5, 6, 9)])


def test_transpose_of_seven_axes_of_which_some_stay_neighbours() -> None:
    x = floats(2, 3, 1, 2, 3, 2, 2)
    for order in ((0, 2, 3, 4, 5, 6, 1), (5, 6, 3, 4, 0, 1, 2)):
        check(node_model("Transpose", [x], {"perm": order}, symbolic=True), [x], [floats(1, 2, 2, 1, 2, 3, 2)])


def test_transpose_of_seven_axes_of_which_none_do_is_refused_for_tflite() -> None:
    x = floats(2, 3, 1, 2, 3, 2, 2)
    model = node_model("Transpose", [x], {"perm": (6, 5, 4, 3, 2, 1, 0)})
    check(model, [x], targets=("savedmodel", "torch"))
    with pytest.raises(UnsupportedError, match="a transpose of rank 7"):
        check(model, [x], targets=("tflite",))


def test_expand_of_float16_of_many_axes() -> None:
    x = np.array([np.inf, -0.0, np.nan, 6e-8, 65504, 1.5], np.float16).reshape(1, 2, 1, 3, 1)
    check(node_model("Expand", [x, ints(2, 2, 4, 3, 2)], constants=(1,)), [x], rtol=0, atol=0)


MOVES: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("Gather", ("x", "places"), {"axis": 1}),
    ("GatherElements", ("x", "x_places"), {"axis": 0}),
    ("GatherND", ("x", "points"), {}),
    ("Tile", ("x", "twice"), {}),
    ("Pad", ("x", "pads"), {"mode": "reflect"}),
    ("Pad", ("x", "pads"), {}),
    ("Transpose", ("x",), {"perm": (2, 0, 1)}),
    ("Concat", ("x", "x"), {"axis": -1}),
    ("Slice", ("x", "places", "ends", "axes"), {}),
    ("Expand", ("x", "wide"), {}),
    ("Where", ("choice", "x", "x"), {}),
    ("ReverseSequence", ("x", "lengths"), {"time_axis": 1, "batch_axis": 0}),
]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8, np.bool_])
@pytest.mark.parametrize("symbolic", [False, True], ids=["fixed", "symbolic"])
def test_moves_keep_every_bit(dtype: type[np.generic], symbolic: bool) -> None:
    odd = np.array([np.inf, -0.0, np.nan, 6e-8, 65504, 1.5] * 4)
    floating = issubclass(dtype, np.floating)
    inputs = {
        "x": (odd if floating else RANDOM.integers(0, 9, 24)).astype(dtype).reshape(2, 3, 4),
        "choice": RANDOM.integers(0, 2, (2, 3, 4)).astype(np.bool_),
        "places": ints(2, 0),
        "x_places": RANDOM.integers(0, 2, (2, 3, 4)),
        "points": np.array([[1, 2], [0, -1]]),
        "twice": ints(2, 1, 3),
        "pads": ints(0, 1, 2, 1, 0, 1),
        "ends": ints(3, 1),
        "axes": ints(1, 2),
        "wide": ints(5, 1, 1, 3, 1),
        "lengths": ints(2, 3),
    }
    missing = ("Pad", "Where") if dtype is np.bool_ else () if floating else ("Pad",)  # in ONNX Runtime
    moves = [m for m in MOVES if m[0] not in missing]
    model = graph_model(moves, inputs, constants=list(inputs)[2:], symbolic=symbolic)
    check(model, [inputs["x"], inputs["choice"]], rtol=0, atol=0)
