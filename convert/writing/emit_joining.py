"""Tensors put together."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.writing.code import call
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit
from xport.convert.writing.sizes import Size, Sizes


@emit("Concat")
def concat(node: NodeView) -> Any:
    """One after the other along an axis; sizes stay sizes."""
    entries = [node.entry(i) for i in range(node.count)]
    if (
        any(isinstance(entry, Sizes) for entry in entries)
        and all(len(node.shape(i) or ()) == 1 for i in range(node.count))
        and all(isinstance(e, Sizes) or _few(node, i) for i, e in enumerate(entries))
    ):
        items: list[Size] = []
        for i in range(node.count):
            items += node.sizes(i)
        return Sizes(tuple(items))
    kept = [i for i in range(node.count) if not _empty(node, i)] or [0]
    if len(kept) == 1:
        return node.entry(kept[0])
    return call("torch.cat", [node.x(i) for i in kept], dim=node.attr("axis"))


def _few(node: NodeView, i: int) -> bool:
    """Whether an input is a few integers, whose elements can be asked for one by one."""
    entry, dims = node.entry(i), node.shape(i)
    if isinstance(entry, np.ndarray):
        return entry.dtype.kind == "i"
    return node.dtype(i) == "int64" and dims is not None and dims in ((1,), (2,))


def _empty(node: NodeView, i: int) -> bool:
    dims = node.shape(i)
    return dims is not None and len(dims) == 1 and dims == (0,)
