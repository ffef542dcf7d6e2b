"""TensorFlow's segments, counts, searches and tables, read into ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.convert.tf_reading import check

RAW = tf.raw_ops
ALL = ("float16", "float32", "float64", "int8", "uint8", "int32", "int64")


def numbers(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal(shape) * 3
    return np.abs(drawn).astype(dtype) if dtype.startswith("uint") else drawn.astype(dtype)


def picks(high: int, *shape: int, low: int = 0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int32)


@pytest.mark.parametrize("kind", ["Sum", "Prod", "Max", "Min"])
@pytest.mark.parametrize("dtype", ALL)
def test_unsorted_segments(kind: str, dtype: str) -> None:
    def run(data: Any, ids: Any) -> Any:
        return getattr(RAW, f"UnsortedSegment{kind}")(data=data, segment_ids=ids, num_segments=6)

    feeds = [[numbers(dtype, n, 3, seed=n), picks(5, n, low=-2, seed=n)] for n in (9, 4)]
    check(run, *feeds)


def test_unsorted_segments_of_several_axes_and_a_number_known_at_run_time() -> None:
    def run(data: Any, ids: Any, count: Any) -> Any:
        return tf.math.unsorted_segment_sum(data, ids, count)

    dynamic = {0: [0, 1], 1: [0, 1], 2: []}
    feeds = [[numbers("float32", n, 4, 2), picks(3, n, 4), np.array(k, np.int32)] for n, k in ((3, 5), (5, 3))]
    check(run, *feeds, dynamic=dynamic)


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min", "mean"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_sorted_segments_with_gaps(kind: str, dtype: str) -> None:
    feeds = [[numbers(dtype, len(ids), 3), np.array(ids, np.int32)] for ids in ([0, 0, 2, 2, 2, 5], [1, 3, 3], [])]
    check(getattr(tf.math, f"segment_{kind}"), *feeds)


@pytest.mark.parametrize("kind", ["sum", "mean", "sqrt_n"])
@pytest.mark.parametrize("count", [None, 7])
def test_sparse_segments(kind: str, count: int | None) -> None:
    def run(data: Any, rows: Any, ids: Any) -> Any:
        return getattr(tf.sparse, f"segment_{kind}")(data, rows, ids, num_segments=count)

    feeds = [[numbers("float32", 6, 2), picks(6, len(ids)), np.array(ids, np.int32)] for ids in ([0, 0, 3, 3, 4], [2])]
    check(run, *feeds)


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_a_sparse_embedding(combiner: str) -> None:
    def run(weights: Any, ids: Any) -> Any:
        rows = tf.stack([tf.range(4, dtype=tf.int64) // 2, tf.range(4, dtype=tf.int64) % 2], 1)
        return tf.nn.embedding_lookup_sparse(weights, tf.SparseTensor(rows, ids, [2, 2]), None, combiner=combiner)

    check(run, [numbers("float32", 6, 3), np.array([1, 3, 2, 2], np.int64)], dynamic={})


COUNTS: list[Callable[[Any, Any], Any]] = [
    lambda x, w: RAW.DenseBincount(input=x, size=6, weights=tf.constant([], tf.float32), binary_output=False),
    lambda x, w: RAW.DenseBincount(input=x, size=6, weights=tf.constant([], tf.int64), binary_output=True),
    lambda x, w: RAW.DenseBincount(input=x, size=5000, weights=w, binary_output=False),
    lambda x, w: RAW.DenseBincount(input=x, size=6, weights=w, binary_output=False),
    lambda x, w: RAW.Bincount(arr=x, size=6, weights=w),
    lambda x, w: tf.math.bincount(x, minlength=4, maxlength=7),
    lambda x, w: tf.math.bincount(x, weights=w, minlength=4),
]


@pytest.mark.parametrize("count", COUNTS)
def test_counts_of_a_vector(count: Callable[[Any, Any], Any]) -> None:
    check(count, *[[picks(9, n), numbers("float32", n)] for n in (20, 5)])


@pytest.mark.parametrize("count", COUNTS[:4])
def test_counts_of_each_row(count: Callable[[Any, Any], Any]) -> None:
    check(count, *[[picks(9, n, 12), numbers("float32", n, 12)] for n in (3, 5)])


@pytest.mark.parametrize("binary", [True, False])
def test_counts_of_a_size_that_is_given_twice(binary: bool) -> None:
    """As Keras' CategoryEncoding asks for them: in operators that every target has."""

    def run(x: Any) -> Any:
        return tf.math.bincount(x, minlength=7, maxlength=7, axis=-1, binary_output=binary)

    model = check(run, *[[picks(9, n, 12)] for n in (3, 5)])
    assert "ScatterND" not in {node.op_type for node in model.graph}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("count", [3, 500])
def test_buckets(dtype: str, count: int) -> None:
    edges = np.linspace(-3, 3, count).round(2).tolist()
    x = np.concatenate([np.resize(edges, 40), numbers("float64", 42), [-1e9, 1e9]]).astype(dtype).reshape(-1, 2)
    x = np.concatenate([x, [[np.nan, np.inf], [-np.inf, -0.0]]]).astype(dtype) if dtype.startswith("f") else x
    check(lambda x: RAW.Bucketize(input=x, boundaries=edges), [x], [x[:5]])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_search_in_rows_of_run_time(side: str) -> None:
    rows = [[np.sort(picks(9, n, 7), 1), picks(10, n, 5, low=-1)] for n in (2, 4)]
    check(lambda a, b: tf.searchsorted(a, b, side), *rows)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_search_in_a_long_known_row(side: str) -> None:
    known = np.sort(numbers("float32", 777))
    x = np.concatenate([known[:30], numbers("float32", 30, seed=1)])
    check(lambda b: tf.searchsorted(known, b, side), [x], [x[:7]])


def test_partition_and_stitch() -> None:
    def run(x: Any, parts: Any) -> Any:
        places = tf.dynamic_partition(tf.range(tf.shape(x)[0]), parts, 3)
        return tf.dynamic_stitch(places, tf.dynamic_partition(x, parts, 3))

    check(run, *[[numbers("float32", n, 2), picks(3, n)] for n in (8, 3)])


def test_stitching_scalars_and_rows() -> None:
    def run(x: Any) -> Any:
        return tf.dynamic_stitch([[3, 1], 0, [[2, 4]]], [x[:2], x[2], x[None, 3:5]])

    check(run, [numbers("float32", 5, 2)])


def test_sparse_to_dense() -> None:
    def run(values: Any) -> Any:
        given = {"sparse_indices": [[0, 1], [2, 3]], "output_shape": [3, 4], "default_value": 7.0}
        return RAW.SparseToDense(**given, sparse_values=values, validate_indices=True)

    check(run, [numbers("float32", 2)], dynamic={})
