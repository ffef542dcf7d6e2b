"""Operators that pick elements by position: Gather, Slice, Split and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import Sizes, Static, Tensor, op


@op("Gather", since=1)
def gather(xp: Any, data: Tensor, indices: Tensor, *, axis: int = 0) -> Any:
    """Rows of ``data`` along an axis; negative indices count from the end."""
    return xp.gather(data, indices, axis % xp.rank(data))


@op("Slice", since=10, layout=layout.slices)
def slice_(
    xp: Any, x: Tensor, starts: Sizes, ends: Sizes, axes: Static | None = None, steps: Static | None = None
) -> Any:
    """Numpy's slicing along some axes."""
    rank = xp.rank(x)
    where = list(range(len(starts))) if axes is None else [int(a) % rank for a in axes.reshape(-1)]
    strides = [1] * len(where) if steps is None else [int(s) for s in steps.reshape(-1)]
    return xp.slice(x, list(zip(where, starts, ends, strides, strict=True)))


@op("Split", since=13, layout=layout.along_axis)
def split(
    xp: Any,
    x: Tensor,
    sizes: Static | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    context: Context,
) -> Any:
    """Cut a tensor into parts along an axis."""
    return tuple(xp.split(x, _parts(xp, x, None if sizes is None else sizes.tolist(), axis, context), axis))


@op("Split", since=2, until=12, layout=layout.along_axis)
def split_2(xp: Any, x: Tensor, *, split: list[int] | None = None, axis: int = 0, context: Context) -> Any:
    """The older form, with the sizes as an attribute."""
    return tuple(xp.split(x, _parts(xp, x, split, axis, context), axis))


def _parts(xp: Any, x: Any, given: list[int] | None, axis: int, context: Context) -> list[int]:
    if given is not None:
        return [int(s) for s in np.asarray(given).reshape(-1)]
    size, n = xp.shape(x)[axis], context.n_outputs
    part = -(-size // n)
    return [min(part, size - i * part) for i in range(n)]
