"""Elements by their places."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.writing.code import Code, binary, call, index, literal, method, plain
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit, refuse
from xport.convert.writing.sizes import Sizes
from xport.convert.writing.translator import dtype_code

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def gathered(node: NodeView) -> Any:
    """Slices of a tensor along an axis, by their numbers, which may count from the end."""
    entry, places = node.entry(0), node.const(1)
    axis = node.axis(node.attr("axis", 0))
    if isinstance(entry, Sizes) and places is not None:
        chosen = [entry.items[int(i)] for i in places.reshape(-1)]
        return Sizes(tuple(chosen), scalar=places.ndim == 0)
    before = [slice(None)] * axis
    if places is not None and places.ndim == 0:
        return index(node.x(), [*before, int(places)])
    if places is not None and places.size and places.ndim == 1 and _run(places):
        return index(node.x(), [*before, slice(int(places[0]), int(places[-1]) + 1)])
    return index(node.x(), [*before, node.x(1)])


def _run(places: np.ndarray) -> bool:
    return bool(places[0] >= 0 and (np.diff(places) == 1).all())


@emit("GatherElements")
def gather_elements(node: NodeView) -> Code:
    """An element for each place along an axis."""
    return call("torch.gather", node.x(), node.axis(node.attr("axis", 0)), _from_front(node, 1, node.attr("axis", 0)))


def _from_front(node: NodeView, i: int, axis: int) -> Any:
    """Places counted from the front: PyTorch's ``gather`` takes no others."""
    places = node.const(i)
    if places is not None and (places >= 0).all():
        return node.x(i)
    found = node.x(i)
    return call("torch.where", binary("<", found, 0), binary("+", found, node.size(0, node.axis(axis))), found)


@emit("GatherND")
def gather_nd(node: NodeView) -> Any:
    """Slices by several places at once."""
    depth = (node.shape(1) or (None,))[-1]
    if not isinstance(depth, int):
        raise refuse("a number of places that is not known")
    rank, batch = node.rank(1) - 1, []
    for axis in range(node.attr("batch_dims", 0)):
        own = call("torch.arange", node.size(0, axis), device=node.device())
        batch.append(method(own, "reshape", *(-1 if i == axis else 1 for i in range(rank))) if rank > 1 else own)
    return index(node.x(), [*batch, *(_last(node.x(1), i) for i in range(depth))])


def _last(x: Any, i: int) -> Code:
    return Code((*index(x, [plain("..."), i]).parts,))


@emit("ScatterElements", "Scatter")
def scatter_elements(node: NodeView) -> Code:
    """Elements put to their places along an axis."""
    axis = node.axis(node.attr("axis", 0))
    places, how = _from_front(node, 1, axis), node.attr("reduction", "none")
    if how == "none":
        return call("torch.scatter", node.x(), axis, places, node.x(2))
    return call("torch.scatter_reduce", node.x(), axis, places, node.x(2), reduce=literal(_REDUCTIONS[how]))


@emit("ScatterND")
def scatter_nd(node: NodeView) -> Any:
    """Slices put to their places."""
    how = node.attr("reduction", "none")
    depth = (node.shape(1) or (None,))[-1]
    if how not in ("none", "add") or not isinstance(depth, int):
        raise refuse(f"reduction {how}, or a number of places that is not known")
    places = tuple(_last(node.x(1), i) for i in range(depth))
    named = {"accumulate": True} if how == "add" else {}
    return call("torch.index_put", node.x(), places, node.x(2), **named)


@emit("OneHot")
def one_hot(node: NodeView) -> Any:
    """One value at a place, which may count from the end, another one elsewhere; places outside have none."""
    depth, values = node.sizes(1)[0], node.const(2)
    if values is None:
        raise refuse("values that are computed at run time")
    axis, dtype = node.attr("axis", -1), dtype_code(str(values.dtype))
    places = method(node.x(), "unsqueeze", -1)
    classes = node.emit(call("torch.arange", depth, device=node.device()), dims=(None,), dtype="int64", name="classes")
    hot = binary("|", binary("==", places, classes), binary("==", binary("+", places, depth), classes))
    off, on = values.reshape(-1).tolist()
    result: Any = method(hot, "to", dtype)
    if (off, on) != (0, 1):
        result = binary("+", binary("*", result, on - off), off)
    rank = node.rank() + 1
    return result if axis in (-1, rank - 1) else method(result, "movedim", -1, axis)


@emit("NonZero")
def non_zero(node: NodeView) -> Code:
    """Where something is, one column an element."""
    return method(call("torch.nonzero", node.x()), "t")
