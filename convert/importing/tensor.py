"""A value of a graph that is being written: what it is, and how it is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.signature import dtype_name, numpy_dtype

Size = int | str
"""A size: a number, or a symbol; two sizes with one symbol are equal."""
Perm = tuple[int, ...]
"""Stored axis ``i`` holds the logical axis ``perm[i]``; empty if both orders are the same."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value.

    Attributes:
        dtype: The signature's name of its dtype.
        dims: Its logical sizes; None where even the rank is unknown.
        value: The ONNX value; None for a constant that nothing has needed yet.
        perm: How ``value`` stores the axes.
        const: The content in logical order, where it is known.
        wide: An int32 that is stored as int64, as ONNX wants sizes and indices.
        elements: The content of a vector or scalar of integers, as sizes; None if not known.
        label: What a constant is called.
        extra: What a format knows beyond that: quantization, the elements of a list.
    """

    dtype: str
    dims: tuple[Size, ...] | None
    value: ir.Value | None = None
    perm: Perm = ()
    const: np.ndarray | None = None
    wide: bool = False
    elements: tuple[Size, ...] | None = None
    label: str = ""
    extra: Any = None

    @property
    def rank(self) -> int | None:
        """The number of axes; None if unknown."""
        return None if self.dims is None else len(self.dims)

    @property
    def size(self) -> int | None:
        """The number of elements; None if unknown."""
        if self.dims is None or not all(isinstance(d, int) for d in self.dims):
            return None
        return int(np.prod([int(d) for d in self.dims], dtype=np.int64))

    def with_(self, **changes: Any) -> Tensor:
        """A copy with other attributes."""
        return replace(self, **changes)


def constant(array: Any, dtype: str | None = None, label: str = "") -> Tensor:
    """A tensor of known content."""
    content = np.asarray(array, dtype=None if dtype is None else numpy_dtype(dtype))
    elements = None
    if content.dtype.kind in "iu" and content.ndim <= 1 and content.size <= 64:
        elements = tuple(int(i) for i in content.reshape(-1))
    shape = tuple(int(d) for d in content.shape)
    return Tensor(dtype_name(content.dtype), shape, const=content, elements=elements, label=label)


def onnx_type(dtype: str) -> ir.DataType:
    """ONNX's type of a dtype name."""
    return ir.DataType.STRING if dtype == "string" else ir.DataType.from_numpy(numpy_dtype(dtype))


def inverse(perm: Sequence[int]) -> Perm:
    """The permutation that undoes one."""
    return tuple(int(i) for i in np.argsort(perm))


def simplified(perm: Sequence[int]) -> Perm:
    """The permutation, empty if it changes nothing."""
    return () if all(i == p for i, p in enumerate(perm)) else tuple(perm)


def channels_first(rank: int) -> Perm:
    """How ONNX stores an image whose channels are last."""
    return (0, rank - 1, *range(1, rank - 1))


def stored_axes(axes: Iterable[int], perm: Perm, rank: int) -> list[int]:
    """Where logical axes are stored; negative ones count from the end."""
    positive = [axis % rank if rank else axis for axis in axes]
    return [perm.index(axis) if perm else axis for axis in positive]


def without_axes(perm: Perm, axes: Iterable[int]) -> Perm:
    """The permutation that is left when logical axes are removed."""
    removed = set(axes)
    kept = [axis for axis in perm if axis not in removed]
    return simplified([sorted(kept).index(axis) for axis in kept])


def with_axes(perm: Perm, axes: Sequence[int], rank: int) -> Perm:
    """The permutation when logical axes are inserted, stored at the same places as they appear.

    Args:
        perm: The present one, not empty.
        axes: Where they appear in the result.
        rank: The rank of the result.
    """
    old = [axis for axis in range(rank) if axis not in axes]
    rest = iter(old[p] for p in perm)
    return simplified([axis if axis in axes else next(rest) for axis in range(rank)])
