"""Finding numbers in sorted ones, and keys in tables."""

from __future__ import annotations

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import reducing, shaping
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.writer import Writer

FEW = 64
"""Up to so many known edges are compared with at once; more of them are searched by halves."""


def edges_below(w: Writer, edges: Tensor, x: Tensor, *, equal: bool) -> Tensor:
    """How many sorted edges each number has below itself, as int64.

    Args:
        w: The writer.
        edges: Sorted along the last axis; their other axes, if any, are those of ``x``.
        x: Numbers of the same dtype; NaN lies above every edge if ``equal``, else below every edge.
        equal: Whether edges that equal the number count too.
    """
    rank = shaping.rank_of(x)
    if edges.const is not None and edges.const.size > FEW and edges.const.size == edges.const.shape[-1]:
        return _halving(w, edges.const.reshape(-1), x, equal)
    column = shaping.unsqueeze(w, x, [rank])
    if shaping.rank_of(edges) > 1:
        edges = shaping.unsqueeze(w, edges, [rank - 1])
    hits = _reached(w, edges, column, equal)
    return reducing.reduce(w, "ReduceSum", e.cast(w, hits, "int64"), [rank], keepdims=False)


def _reached(w: Writer, edge: Tensor, x: Tensor, equal: bool) -> Tensor:
    if equal:
        return e.apply(w, "Not", [e.apply(w, "Less", [x, edge], "bool")])
    return e.apply(w, "Less", [edge, x], "bool")


def _halving(w: Writer, edges: np.ndarray, x: Tensor, equal: bool) -> Tensor:
    """Binary search, unrolled: the place grows by powers of two as long as the edge before it is reached."""
    count = len(edges)
    places = e.cast(w, e.apply(w, "Equal", [x, x], "bool"), "int64")
    found = e.apply(w, "Mul", [places, constant(0, "int64")])
    for power in reversed(range(int(count).bit_length())):
        probe = e.apply(w, "Add", [found, constant(1 << power, "int64")])
        inside = e.apply(w, "LessOrEqual", [probe, constant(count, "int64")], "bool")
        last = e.apply(w, "Min", [e.apply(w, "Sub", [probe, constant(1, "int64")]), constant(count - 1, "int64")])
        reached = _reached(w, shaping.gather(w, constant(edges), last, 0), x, equal)
        found = e.select(w, e.apply(w, "And", [inside, reached]), probe, found)
    return found


def look_up(w: Writer, keys: np.ndarray, values: np.ndarray, x: Tensor, default: Tensor) -> Tensor:
    """The value of each key in a table.

    Args:
        w: The writer.
        keys: The table's keys, integers or text; unique.
        values: Their values.
        x: What is looked up.
        default: The value of what is no key.
    """
    if not len(keys):
        return e.select(w, e.apply(w, "Not", [e.apply(w, "Equal", [x, x], "bool")]), default, default)
    if x.dtype == "string":
        return _look_up_text(w, keys, values, x, default)
    order = np.argsort(keys, kind="stable")
    table, content = constant(keys[order]), constant(values[order])
    below = edges_below(w, table, x, equal=False)
    place = e.apply(w, "Min", [below, constant(len(keys) - 1, "int64")])
    known = e.apply(w, "Equal", [shaping.gather(w, table, place, 0), x], "bool")
    return e.select(w, known, shaping.gather(w, content, place, 0), default)


def _look_up_text(w: Writer, keys: np.ndarray, values: np.ndarray, x: Tensor, default: Tensor) -> Tensor:
    rank = shaping.rank_of(x)
    hits = e.cast(w, e.apply(w, "Equal", [shaping.unsqueeze(w, x, [rank]), constant(keys)], "bool"), "int32")
    known = e.cast(w, reducing.reduce(w, "ReduceMax", hits, [rank], keepdims=False), "bool")
    place = reducing.arg(w, "ArgMax", hits, rank, "int64")
    return e.select(w, known, shaping.gather(w, constant(values), place, 0), default)
