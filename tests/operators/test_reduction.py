"""Reductions, running sums, einsum and matrix products against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.operators.parity import check, graph_model, node_model

RANDOM = np.random.default_rng(9)
REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]


def positive(*sizes: int) -> np.ndarray:
    return RANDOM.uniform(0.5, 2.0, sizes).astype(np.float32)


@pytest.mark.parametrize("axes", [[0], [-1, 1], [], [2, 0, 1]])
@pytest.mark.parametrize("known", [True, False], ids=["known", "runtime"])
def test_reductions(axes: list[int], known: bool) -> None:
    nodes: list[tuple[str, list[str], dict[str, Any]]] = [
        (f"Reduce{name}", ["x", "axes"], {"keepdims": keep}) for name in REDUCTIONS for keep in (0, 1)
    ]
    feeds = {"x": positive(3, 3, 3), "axes": np.array(axes, np.int64)}
    model = graph_model(nodes, feeds, opset=18, constants=["axes"] if known else [])
    check(model, [feeds["x"]] if known else list(feeds.values()))


def test_reductions_of_nothing_and_of_no_axes() -> None:
    names = ["Sum", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]
    empty = np.zeros((2, 0, 3), np.float32)
    nodes = [(f"Reduce{name}", ["x", "axes"], {}) for name in names]
    feeds = {"x": empty, "axes": np.array([1])}
    check(graph_model(nodes, feeds, opset=18, constants=["axes"]), [empty])
    check(graph_model(nodes, feeds, opset=18, constants=["axes"], symbolic=True), [empty], [positive(1, 2, 3)])
    noop = [(f"Reduce{name}", ["x"], {"noop_with_empty_axes": 1}) for name in REDUCTIONS]
    check(graph_model(noop, {"x": positive(2, 3)}, opset=18), [positive(2, 3)])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_reductions_of_integers(dtype: type) -> None:
    x = RANDOM.integers(-5, 5, (3, 4)).astype(dtype)
    nodes = [(f"Reduce{name}", ["x"], {"axes": [1]}) for name in ("Sum", "Mean", "Max", "Min", "Prod", "SumSquare")]
    check(graph_model(nodes, {"x": x}, opset=11), [x])


@pytest.mark.parametrize("known", [(), (1,)], ids=["runtime", "known"])
@pytest.mark.parametrize("axis", [0, -1])
def test_cumsum(axis: int, known: tuple[int, ...]) -> None:
    feeds = [positive(3, 3), np.array(axis)]
    for exclusive in (0, 1):
        for reverse in (0, 1):
            model = node_model("CumSum", feeds, {"exclusive": exclusive, "reverse": reverse}, constants=known)
            check(model, feeds[:1] if known else feeds)


@pytest.mark.parametrize(
    ("equation", "sizes"),
    [
        ("ij,jk->ik", [(3, 3), (3, 3)]),
        ("ii", [(3, 3)]),
        ("ii->i", [(3, 3)]),
        ("iji->j", [(3, 2, 3)]),
        ("i,j", [(2,), (3,)]),
        ("ij->", [(2, 3)]),
        ("b i j , b k j -> b k i", [(2, 3, 4), (2, 5, 4)]),
        ("ba", [(2, 3)]),
        ("...i,...i->...", [(2, 3, 4), (2, 3, 4)]),
        ("a...a->a...", [(3, 2, 3)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
        ("ij,ij->ij", [(1, 3), (2, 3)]),
        (",i->i", [(), (3,)]),
        ("bhwc,hkc->bhwk", [(2, 3, 4, 5), (3, 4, 5)]),
    ],
)
def test_einsum(equation: str, sizes: list[tuple[int, ...]]) -> None:
    feeds = [positive(*s) for s in sizes]
    check(node_model("Einsum", feeds, {"equation": equation}, opset=13), feeds)


def test_einsum_with_open_sizes() -> None:
    model = node_model("Einsum", [positive(2, 3, 4), positive(2, 5, 4)], {"equation": "bqd,bkd->bqk"}, symbolic=True)
    check(model, [positive(2, 3, 4), positive(2, 5, 4)], [positive(3, 1, 6), positive(3, 2, 6)])


@pytest.mark.parametrize(
    ("a", "b"), [((3,), (3,)), ((3,), (2, 3, 4)), ((2, 1, 3, 4), (4,)), ((0, 3), (3, 2)), ((2, 0), (0, 3))]
)
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_matmul(a: tuple[int, ...], b: tuple[int, ...], dtype: type) -> None:
    feeds = [RANDOM.integers(0, 9, s).astype(dtype) for s in (a, b)]
    check(node_model("MatMul", feeds), feeds)


@pytest.mark.parametrize("c", [None, (), (1,), (4,), (1, 4), (3, 1), (3, 4)])
def test_gemm(c: tuple[int, ...] | None) -> None:
    for attributes in ({}, {"transA": 1}, {"transB": 1, "alpha": 0.5}, {"transA": 1, "transB": 1, "beta": 2.0}):
        a = positive(5, 3) if attributes.get("transA") else positive(3, 5)
        b = positive(4, 5) if attributes.get("transB") else positive(5, 4)
        feeds = [a, b, *([] if c is None else [positive(*c)])]
        check(node_model("Gemm", feeds, attributes), feeds)
        check(node_model("Gemm", feeds, attributes, constants=range(1, len(feeds))), feeds[:1])


@pytest.mark.parametrize("sizes", [(1, 1), (3, 3), (2, 4, 4)])
def test_determinant(sizes: tuple[int, ...]) -> None:
    feeds = [RANDOM.standard_normal(sizes).astype(np.float32)]
    check(node_model("Det", feeds), feeds, rtol=1e-4)
