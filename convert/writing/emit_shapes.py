"""Shapes: what asks for them and what changes them. Sizes are worked out here as far as they can be."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.writing.code import Code, Dim, Var, call, method, named
from xport.convert.writing.node import Directions, NodeView, Permuted
from xport.convert.writing.registry import emit, refuse
from xport.convert.writing.sizes import Size, Sizes, combine, same


@emit("Shape")
def shape(node: NodeView) -> Sizes:
    """The sizes of a tensor, or some of them."""
    rank = node.rank()
    start, end = node.attr("start", 0), node.attr("end", rank)
    return Sizes(tuple(node.size(0, i) for i in list(range(rank))[slice(start, end)]))


@emit("Size")
def count(node: NodeView) -> Sizes:
    """The number of elements."""
    total: Size = 1
    for i in range(node.rank()):
        total = combine("Mul", total, node.size(0, i)) or 0
    return Sizes((total,), scalar=True)


@emit("Transpose")
def transpose(node: NodeView) -> Any:
    """Axes in another order, which is remembered until something needs the tensor itself."""
    rank = node.rank()
    perm = node.attr("perm", list(range(rank))[::-1])
    entry = node.entry(0)
    if isinstance(entry, Permuted):
        return _permuted(entry.base, tuple(entry.axes[axis] for axis in perm))
    if isinstance(entry, Directions):
        return Directions(entry.base, entry.count, tuple(entry.axes[axis] for axis in perm))
    if isinstance(entry, Sizes):
        return entry
    x = node.x()
    if not isinstance(x, Var):
        return method(x, "permute", *perm)
    return _permuted(x, tuple(perm))


def _permuted(base: Var, axes: tuple[int, ...]) -> Var | Permuted:
    return base if axes == tuple(range(len(axes))) else Permuted(base, axes)


@emit("Reshape")
def reshape(node: NodeView) -> Any:
    """Another shape of the same elements."""
    wanted = node.sizes(1) if node.version >= 5 else node.attr("shape")
    entry = node.entry(0)
    if isinstance(entry, Sizes):
        return Sizes(entry.items, scalar=not wanted) if len(wanted) < 2 else node.emit(_reshaped(node, wanted))
    if isinstance(entry, Directions):
        found = _joined(entry, wanted, node)
        if found is not None:
            return found
    if not node.attr("allowzero", 0):
        wanted = [node.size(0, i) if isinstance(n, int) and n == 0 else n for i, n in enumerate(wanted)]
    return _reshaped(node, wanted)


def _joined(entry: Directions, wanted: list[Size], node: NodeView) -> Any:
    """Directions put into the features, as PyTorch has them from the start."""
    if len(wanted) != 3:
        return None
    if entry.axes == (0, 2, 1, 3):
        return Permuted(entry.base, (1, 0, 2))
    return entry.base if entry.axes == (2, 0, 1, 3) else None


def _reshaped(node: NodeView, wanted: list[Size]) -> Any:
    dims = node.shape()
    if dims is not None:
        own = [node.size(0, i) for i in range(len(dims))]
        if len(own) == len(wanted) and all(same(a, b) for a, b in zip(own, wanted, strict=True)):
            return node.entry(0)
        found = _flattened(node, own, wanted)
        if found is not None:
            return found
    return method(node.x(), "reshape", *wanted) if wanted else method(node.x(), "reshape", ())


def _flattened(node: NodeView, own: list[Size], wanted: list[Size]) -> Code | None:
    """``flatten`` where the first sizes stay and everything else becomes one."""
    kept = len(wanted) - 1
    if kept < 0 or kept >= len(own) - 1 or not all(same(a, b) for a, b in zip(own, wanted[:kept], strict=False)):
        return None
    rest: Size | None = 1
    for size in own[kept:]:
        rest = combine("Mul", rest, size) if rest is not None else None
    if wanted[-1] != -1 and (rest is None or not same(rest, wanted[-1])):
        return None
    return named(method(node.x(), "flatten", kept), "", "nn.Flatten()" if kept == 1 else None)


@emit("Flatten")
def flatten(node: NodeView) -> Any:
    """Two axes: what is before and what is from an axis on."""
    axis = node.axis(node.attr("axis", 1))
    rank = node.rank()
    if axis == 1:
        return node.entry(0) if rank == 2 else named(method(node.x(), "flatten", 1), "", "nn.Flatten()")
    if axis == 0:
        return method(node.x(), "reshape", 1, -1)
    if axis == rank:
        return method(node.x(), "reshape", -1, 1)
    front: Size = 1
    for i in range(axis):
        front = combine("Mul", front, node.size(0, i)) or 0
    return method(node.x(), "reshape", front, -1)


@emit("Squeeze")
def squeeze(node: NodeView) -> Any:
    """Without axes of size 1."""
    entry = node.entry(0)
    axes = node.ints(1, "axes")
    if isinstance(entry, Sizes):
        return Sizes(entry.items, scalar=True) if len(entry.items) == 1 else entry
    if axes is None:
        dims = node.shape()
        if dims is None or any(not isinstance(n, int) for n in dims):
            return method(node.x(), "squeeze")
        axes = [i for i, n in enumerate(dims) if n == 1]
    if isinstance(entry, Directions) and entry.count == 1 and [entry.axes[axis] for axis in axes] == [1]:
        order = [{0: 1, 2: 0, 3: 2}[axis] for axis in entry.axes if axis != 1]
        return _permuted(entry.base, tuple(order))
    if not axes:
        return node.entry(0)
    return method(node.x(), "squeeze", axes[0] if len(axes) == 1 else tuple(axes))


@emit("Unsqueeze")
def unsqueeze(node: NodeView) -> Any:
    """With new axes of size 1."""
    axes = node.ints(1, "axes") or []
    entry = node.entry(0)
    if isinstance(entry, Sizes) and entry.scalar and len(axes) == 1:
        return Sizes(entry.items)
    rank = (node.rank() if any(a < 0 for a in axes) or len(axes) > 1 else 0) + len(axes)
    code: Any = node.x()
    for axis in sorted(a + rank if a < 0 and len(axes) > 1 else a for a in axes):
        code = method(code, "unsqueeze", axis)
    return code


@emit("Expand")
def expand(node: NodeView) -> Any:
    """Repeated where the size is 1; a size of 1 in the wish leaves what there is."""
    wanted = node.sizes(1)
    entry = node.entry(0)
    if isinstance(entry, Sizes):
        if len(entry.items) == 1 and len(wanted) == 1 and isinstance(wanted[0], int):
            return Sizes(entry.items * wanted[0])
        if wanted in ([], [len(entry.items)]):
            return entry
    dims = node.shape()
    if dims is None:
        raise refuse("the rank of what is expanded is not known")
    if not any(isinstance(n, Dim | Code) for n in wanted):
        known = [n for n in wanted if isinstance(n, int)]
        if len(known) == len(dims) and all(n in (1, own) for n, own in zip(known, dims, strict=True)):
            return entry
    lead = len(wanted) - len(dims)
    if lead < 0:
        wanted, lead = [1] * -lead + list(wanted), 0
    shown: list[Size] = list(wanted[:lead])
    for i, n in enumerate(wanted[lead:]):
        own = dims[i]
        if own == 1:
            shown.append(n)
        elif (isinstance(n, int) and n == 1) or isinstance(own, int) or same(node.size(0, i), n):
            shown.append(-1)
        else:
            return _broadcast(node, wanted)
    return entry if all(n == -1 for n in shown) else method(node.x(), "expand", *shown)


def _broadcast(node: NodeView, wanted: list[Size]) -> Code:
    """Both sizes are only known at run time: whichever is 1 gives way."""
    dims = node.shape() or ()
    own: list[Size] = [1] * (len(wanted) - len(dims)) + [node.size(0, i) for i in range(len(dims))]
    return method(node.x(), "expand", call("torch.broadcast_shapes", tuple(own), tuple(wanted)))


@emit("Tile")
def tile(node: NodeView) -> Any:
    """Repeated along each axis."""
    repeats = node.sizes(1)
    if all(isinstance(n, int) and n == 1 for n in repeats):
        return node.entry(0)
    entry = node.entry(0)
    if isinstance(entry, Sizes) and len(repeats) == 1 and isinstance(repeats[0], int):
        return Sizes(entry.items * repeats[0])
    return method(node.x(), "repeat", *repeats)


@emit("DepthToSpace")
def depth_to_space(node: NodeView) -> Any:
    """Channels become squares."""
    block = node.attr("blocksize")
    if node.attr("mode", "DCR") == "CRD":
        return named(call("F.pixel_shuffle", node.x(), block), "", f"nn.PixelShuffle({block})")
    rows, columns = node.size(0, 2), node.size(0, 3)
    channels = combine("Div", node.size(0, 1), block * block) or -1
    code = method(node.x(), "reshape", node.size(0, 0), block, block, channels, rows, columns)
    code = method(code, "permute", 0, 3, 4, 1, 5, 2)
    sizes = [combine("Mul", n, block) or -1 for n in (rows, columns)]
    return method(code, "reshape", node.size(0, 0), channels, *sizes)


@emit("SpaceToDepth")
def space_to_depth(node: NodeView) -> Any:
    """Squares become channels, the place in the square outermost."""
    block = node.attr("blocksize")
    n, c = node.size(0, 0), node.size(0, 1)
    rows, columns = (combine("Div", node.size(0, i), block) or -1 for i in (2, 3))
    code = method(node.x(), "reshape", n, c, rows, block, columns, block)
    code = method(code, "permute", 0, 3, 5, 1, 2, 4)
    return method(code, "reshape", n, combine("Mul", c, block * block) or -1, rows, columns)


def known_ints(array: np.ndarray) -> list[int]:
    """An array's elements as Python integers."""
    return [int(n) for n in array.reshape(-1)]
