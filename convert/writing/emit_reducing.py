"""Sums, means, extremes, sorting."""

from __future__ import annotations

from typing import Any

from xport.convert.writing.code import Code, Operand, Var, binary, call, method, plain
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit, refuse
from xport.convert.writing.sizes import Size, Sizes, combine

_METHODS = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "amax", "ReduceMin": "amin"}


def _axes(node: NodeView) -> list[int] | None:
    """The axes that go, None for none at all."""
    axes = node.ints(1, "axes")
    if not axes:
        if node.attr("noop_with_empty_axes", 0):
            return None
        return list(range(node.rank()))
    return sorted(node.axis(a) for a in axes)


@emit("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum")
@emit("ReduceLogSumExp", "ReduceSumSquare")
def reduce(node: NodeView) -> Any:
    """One number for all elements along some axes."""
    entry = node.entry(0)
    if isinstance(entry, Sizes) and node.kind == "ReduceProd" and not node.attr("keepdims", 1):
        total: Size | None = 1
        for item in entry.items:
            total = combine("Mul", total, item) if total is not None else None
        if total is not None:
            return Sizes((total,), scalar=True)
    axes = _axes(node)
    if axes is None:
        return entry
    return _reduced(node, node.x(), axes, bool(node.attr("keepdims", 1)))


def _reduced(node: NodeView, x: Operand, axes: list[int], keep: bool) -> Any:
    named: dict[str, Any] = {"dim": axes[0] if len(axes) == 1 else tuple(axes)}
    named |= {"keepdim": True} if keep else {}
    kind = node.kind
    if not axes:
        return node.entry(0) if kind in _METHODS else _reduced_scalar(node, x)
    if kind in _METHODS:
        exact = {"dtype": plain(f"torch.{node.dtype()}")} if kind == "ReduceSum" and _small_int(node) else {}
        return method(x, _METHODS[kind], **named, **exact)
    if kind == "ReduceProd":
        return _product(node, x, axes, keep)
    if kind == "ReduceLogSumExp":
        return call("torch.logsumexp", x, **named)
    if kind == "ReduceLogSum":
        return method(method(x, "sum", **named), "log")
    inner = method(x, "abs") if kind == "ReduceL1" else method(x, "square")
    total = method(inner, "sum", **named, **({"dtype": plain(f"torch.{node.dtype()}")} if _small_int(node) else {}))
    return method(total, "sqrt") if kind == "ReduceL2" else total


def _small_int(node: NodeView) -> bool:
    """PyTorch sums integers in int64."""
    return node.dtype() in ("int8", "int16", "int32", "uint8")


def _reduced_scalar(node: NodeView, x: Operand) -> Any:
    raise refuse("a reduction of a single number")


def _product(node: NodeView, x: Operand, axes: list[int], keep: bool) -> Code:
    code: Any = x
    for axis in sorted(axes, reverse=True):
        code = method(code, "prod", dim=axis, **({"keepdim": True} if keep else {}))
    return method(code, "to", plain(f"torch.{node.dtype()}")) if _small_int(node) else code


@emit("ArgMax", "ArgMin")
def arg(node: NodeView) -> Code:
    """The place of the largest or the smallest, the first of equal ones."""
    if node.attr("select_last_index", 0):
        raise refuse("the last of equal ones")
    keep = {"keepdim": True} if node.attr("keepdims", 1) else {}
    return method(node.x(), "argmax" if node.kind == "ArgMax" else "argmin", dim=node.attr("axis", 0), **keep)


@emit("TopK")
def top_k(node: NodeView) -> Any:
    """The largest or the smallest, equal ones in their order."""
    axis = node.attr("axis", -1)
    k: Any = node.sizes(1)[0] if node.version >= 10 else node.attr("k")
    largest = bool(node.attr("largest", 1))
    order = call("torch.sort", node.x(), dim=axis, descending=largest, stable=True)
    values, places = Var("values", node.shape(), node.dtype()), Var("indices", node.shape(), "int64")
    node.translator.state([values, places], order, node.node)
    return [method(values, "narrow", axis, 0, k), method(places, "narrow", axis, 0, k)]


@emit("CumSum")
def cumulative(node: NodeView) -> Any:
    """Sums of everything up to each element."""
    axis = int(node.static(1, "axis").reshape(-1)[0])
    backwards, exclusive = node.attr("reverse", 0), node.attr("exclusive", 0)
    x: Any = method(node.x(), "flip", axis) if backwards else node.x()
    exact = {"dtype": plain(f"torch.{node.dtype()}")} if _small_int(node) else {}
    total = method(x, "cumsum", dim=axis, **exact)
    if exclusive:
        total = binary("-", total, x)
    return method(total, "flip", axis) if backwards else total
