"""Pools."""

from __future__ import annotations

from typing import Any

from xport.convert.writing.code import Code, binary, call, method, named, plain
from xport.convert.writing.emit_layers import pads_of, short
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit, refuse


def _module(name: str, kernel: list[int], options: dict[str, Any]) -> str:
    shown = [repr(short(kernel)), *(f"{key}={value!r}" for key, value in options.items())]
    return f"nn.{name}({', '.join(shown)})"


@emit("MaxPool", "AveragePool")
def pool(node: NodeView) -> Any:
    """The largest or the mean of each window."""
    if node.wants(1):
        raise refuse("the places of the largest")
    largest = node.kind == "MaxPool"
    kernel = node.attr("kernel_shape")
    rank = len(kernel)
    if rank not in (1, 2, 3):
        raise refuse(f"a pool over {rank} axes")
    strides, dilations = node.attr("strides", [1] * rank), node.attr("dilations", [1] * rank)
    ceil, included = bool(node.attr("ceil_mode", 0)), bool(node.attr("count_include_pad", 0))
    if not largest and set(dilations) != {1}:
        raise refuse("a mean with dilations")
    before, after = pads_of(node, kernel, strides, dilations)
    options: dict[str, Any] = {"stride": short(strides)}
    function = f"F.{'max' if largest else 'avg'}_pool{rank}d"
    if before is not None and before == after and all(2 * p <= k for p, k in zip(before, kernel, strict=True)):
        options |= {"padding": short(before)} if any(before) else {}
        options |= {"dilation": short(dilations)} if largest and set(dilations) != {1} else {}
        options |= {"ceil_mode": True} if ceil else {}
        options |= {"count_include_pad": False} if not largest and any(before) and not included else {}
        module = _module(f"{'Max' if largest else 'Avg'}Pool{rank}d", kernel, options)
        return named(call(function, node.x(), short(kernel), **options), "", module)
    return _uneven(node, function, kernel, strides, dilations, (before, after))


def _uneven(
    node: NodeView,
    function: str,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    pads: tuple[list[int] | None, list[int] | None],
) -> Any:
    """Padding that is not the same on both sides is done before; a mean then divides by what is no padding."""
    largest = node.kind == "MaxPool"
    options: dict[str, Any] = {"stride": short(strides)}
    options |= {"dilation": short(dilations)} if set(dilations) != {1} else {}
    options |= {"ceil_mode": True} if node.attr("ceil_mode", 0) else {}
    x = node.x()

    def pad(what: Any, value: Any) -> Any:
        if pads[0] is None or pads[1] is None:
            lower = node.attr("auto_pad") == "SAME_LOWER"
            extra = {} if value is None else {"value": value}
            return call(node.helper("pad_same"), what, tuple(kernel), tuple(strides), tuple(dilations), lower, **extra)
        amounts = tuple(n for pair in zip(reversed(pads[0]), reversed(pads[1]), strict=True) for n in pair)
        return call("F.pad", what, amounts, **({} if value is None else {"value": value}))

    if largest:
        if not node.is_float():
            raise refuse("uneven padding of integers")
        return call(function, pad(x, plain("-torch.inf")), short(kernel), **options)
    total = call(function, pad(x, None), short(kernel), **options)
    if node.attr("count_include_pad", 0):
        return total
    ones = call(function, pad(call("torch.ones_like", x), None), short(kernel), **options)
    return binary("/", total, ones)


@emit("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: NodeView) -> Code:
    """One number a channel."""
    rank = node.rank() - 2
    kind = "avg" if node.kind == "GlobalAveragePool" else "max"
    if rank in (1, 2, 3):
        module = f"nn.Adaptive{kind.capitalize()}Pool{rank}d(1)"
        return named(call(f"F.adaptive_{kind}_pool{rank}d", node.x(), 1), "", module)
    axes = tuple(range(2, rank + 2))
    return method(node.x(), "mean" if kind == "avg" else "amax", dim=axes, keepdim=True)


@emit("LpPool")
def lp_pool(node: NodeView) -> Code:
    """The norm of each window."""
    kernel = node.attr("kernel_shape")
    rank = len(kernel)
    plain_pads = not any(node.attr("pads", [0])) and node.attr("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    if rank not in (1, 2, 3) or not plain_pads or set(node.attr("dilations", [1])) != {1} or node.attr("p", 2) % 2:
        raise refuse("padding, dilations or an odd p")
    options = {"stride": short(node.attr("strides", [1] * rank))}
    options |= {"ceil_mode": True} if node.attr("ceil_mode", 0) else {}
    return call(f"F.lp_pool{rank}d", node.x(), float(node.attr("p", 2)), short(kernel), **options)
