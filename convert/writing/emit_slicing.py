"""Parts of tensors: slices, splits, padding, triangles."""

from __future__ import annotations

from typing import Any

from xport.convert.writing.code import Code, Var, binary, call, index, method, plain
from xport.convert.writing.node import NodeView, Parts
from xport.convert.writing.registry import emit, refuse
from xport.convert.writing.sizes import Size, Sizes, same

_FAR = 2**31 - 1
"""Exporters write ends like this for "to the end"."""


@emit("Slice")
def slice_(node: NodeView) -> Any:
    """From, to, and in steps, along some axes."""
    if node.version >= 10:
        starts, ends = node.sizes(1), node.sizes(2)
        axes = node.ints(3, "axes") or list(range(len(starts)))
        steps = [int(n) for n in node.static(4, "steps").reshape(-1)] if node.has(4) else [1] * len(starts)
    else:
        starts, ends = node.attr("starts"), node.attr("ends")
        axes, steps = node.attr("axes", list(range(len(starts)))), [1] * len(starts)
    entry = node.entry(0)
    if isinstance(entry, Sizes) and len(axes) == 1 and isinstance(starts[0], int) and isinstance(ends[0], int):
        return Sizes(entry.items[starts[0] : ends[0] if abs(ends[0]) < _FAR else None : steps[0]])
    rank = node.rank()
    parts: list[Any] = [slice(None)] * rank
    backwards: list[tuple[int, Size, Size, int]] = []
    for axis, start, end, step in zip((node.axis(a) for a in axes), starts, ends, steps, strict=True):
        if step < 0:
            backwards.append((axis, start, end, step))
        else:
            parts[axis] = _part(node, axis, start, end, step)
    while parts and parts[-1] == slice(None):
        parts.pop()
    code: Any = node.x() if not parts else index(node.x(), parts)
    for axis, start, end, step in backwards:
        code = _reversed(node, code, axis, start, end, step)
    return node.entry(0) if not parts and not backwards else code


def _part(node: NodeView, axis: int, start: Size, end: Size, step: int) -> slice:
    known = (node.shape() or ())[axis]
    first = None if isinstance(start, int) and (start == 0 or start <= -_FAR) else start
    whole = not isinstance(end, int) and same(end, node.size(0, axis))
    if isinstance(end, int):
        whole = end >= _FAR or (isinstance(known, int) and end >= known)
    last = None if whole else end
    return slice(first, last, None if step == 1 else step)


def _reversed(node: NodeView, code: Any, axis: int, start: Size, end: Size, step: int) -> Code:
    """Steps backwards, which PyTorch's slices do not take: the axis is turned around first."""
    whole = isinstance(start, int) and isinstance(end, int) and (start == -1 or start >= _FAR) and end <= -_FAR
    size = (node.shape() or ())[axis]
    whole = whole or (isinstance(size, int) and isinstance(start, int) and start >= size - 1 and end == -size - 1)
    if not whole:
        raise refuse("steps backwards through a part of an axis")
    code = method(code, "flip", axis)
    return code if step == -1 else index(code, [slice(None)] * axis + [slice(None, None, -step)])


@emit("Split")
def split(node: NodeView) -> Any:
    """Parts along an axis."""
    axis = node.axis(node.attr("axis", 0))
    parts = len(node.node.outputs)
    entry = node.entry(0)
    sizes = node.sizes(1) if node.has(1) else node.attr("split")
    if isinstance(entry, Sizes) and sizes is not None and all(isinstance(n, int) for n in sizes):
        ends = [sum(sizes[: i + 1]) for i in range(parts)]
        return [Sizes(entry.items[end - n : end]) for n, end in zip(sizes, ends, strict=True)]
    whole = node.size(0, axis)
    if sizes is None:
        if not isinstance(whole, int) or whole % parts:
            code = call("torch.chunk", node.x(), parts, dim=axis)
            if isinstance(whole, int) and -(-whole // -(-whole // parts)) != parts:
                raise refuse("parts that are not as even as PyTorch's")
            return _several(node, code)
        return _several(node, method(node.x(), "chunk", parts, dim=axis))
    if len({str(n) for n in sizes}) == 1 and isinstance(whole, int) and whole == sum(sizes):
        return _several(node, method(node.x(), "chunk", parts, dim=axis))
    return _several(node, method(node.x(), "split", list(sizes), dim=axis))


def _several(node: NodeView, code: Code) -> Any:
    """A tuple's parts; a tuple of one has its only part taken out."""
    return code if len(node.node.outputs) > 1 else index(code, [0])


@emit("SplitToSequence")
def split_to_sequence(node: NodeView) -> Any:
    """Parts along an axis, as a sequence whose length must be known."""
    axis = node.axis(node.attr("axis", 0))
    if not node.has(1) or not node.attr("keepdims", 1):
        raise refuse("parts of one element without their axis")
    sizes, whole = [int(n) for n in node.static(1, "sizes").reshape(-1)], node.size(0, axis)
    if node.shape(1) == ():
        if not isinstance(whole, int):
            raise refuse("a number of parts that is not known")
        sizes = [min(sizes[0], whole - start) for start in range(0, whole, sizes[0])]
    dims = node.shape() or ()
    outs = [Var("x", (*dims[:axis], n, *dims[axis + 1 :]), node.dtype()) for n in sizes]
    even = len(set(sizes)) == 1
    code = method(node.x(), "chunk", len(sizes), dim=axis) if even else method(node.x(), "split", sizes, dim=axis)
    node.translator.state(outs, code, node.node)
    return Parts(tuple(outs))


@emit("SequenceAt")
def sequence_at(node: NodeView) -> Any:
    """One tensor of a sequence."""
    entry = node.entry(0)
    if not isinstance(entry, Parts):
        raise refuse("sequences that are made at run time")
    return entry.items[int(node.static(1, "the place"))]


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@emit("Pad")
def pad(node: NodeView) -> Any:
    """More elements, or fewer, at both ends of axes."""
    mode = node.attr("mode", "constant")
    amounts: list[Size] = node.attr("pads") if node.version < 11 else node.sizes(1)
    rank = node.rank()
    if node.has(3):
        axes = [node.axis(int(a)) for a in node.static(3, "axes").reshape(-1)]
        full: list[Size] = [0] * (2 * rank)
        for i, axis in enumerate(axes):
            full[axis], full[rank + axis] = amounts[i], amounts[len(axes) + i]
        amounts = full
    pairs = [(amounts[axis], amounts[rank + axis]) for axis in range(rank)]
    first = next((i for i, (a, b) in enumerate(pairs) if not (a == 0 and b == 0)), None)
    if first is None:
        return node.entry(0)
    value = node.operand(2) if node.version >= 11 and node.has(2) else node.attr("value", 0.0)
    if not isinstance(value, int | float):
        value = method(node.x(2), "item")
    if mode != "constant":
        return _around(node, mode, pairs, first)
    flat = tuple(n for pair in reversed(pairs[first:]) for n in pair)
    return call("F.pad", node.x(), flat, **({} if value == 0 else {"value": value}))


def _around(node: NodeView, mode: str, pairs: list[tuple[Size, Size]], first: int) -> Any:
    """Modes that repeat the tensor: PyTorch has them for up to three axes, with one or two before them."""
    kept = min(first, 2)
    if mode not in _MODES or len(pairs) - kept > 3 or not node.is_float():
        raise refuse(f"padding by {mode} of {'integers' if not node.is_float() else 'more than three axes'}")
    flat = tuple(n for pair in reversed(pairs[kept:]) for n in pair)
    x = node.x() if kept else method(node.x(), "unsqueeze", 0)
    made = call("F.pad", x, flat, mode=plain(f'"{_MODES[mode]}"'))
    return made if kept else method(made, "squeeze", 0)


@emit("Trilu")
def triangle(node: NodeView) -> Code:
    """The upper or the lower triangle."""
    name = "triu" if node.attr("upper", 1) else "tril"
    k = node.sizes(1)[0] if node.has(1) else 0
    return method(node.x(), name, *([] if k == 0 else [k]))


@emit("Compress")
def compress(node: NodeView) -> Code:
    """The elements that are chosen."""
    axis = node.attr("axis")
    if axis is None:
        flat = method(node.x(), "flatten")
        return index(flat, [call("torch.nonzero", node.x(1), as_tuple=plain("True"))])
    chosen = method(call("torch.nonzero", node.x(1)), "flatten")
    return method(node.x(), "index_select", node.axis(axis), chosen)


@emit("ReverseSequence")
def reverse_sequence(node: NodeView) -> Any:
    """Each sample's beginning turned around, by its length."""
    time, batch = node.attr("time_axis", 0), node.attr("batch_axis", 1)
    steps = call("torch.arange", node.size(0, time), device=node.device())
    lengths = method(node.x(1), "unsqueeze", 1)
    steps_var = node.emit(steps, dims=(None,), dtype="int64", name="steps")
    inside = binary("<", steps_var, lengths)
    order = call("torch.where", inside, binary("-", binary("-", lengths, 1), steps_var), steps_var)
    if (time, batch) == (0, 1):
        order = method(order, "t")
    shaped: Any = order
    for axis in range(2, node.rank()):
        shaped = method(shaped, "unsqueeze", axis)
    return call("torch.take_along_dim", node.x(), shaped, dim=time)
