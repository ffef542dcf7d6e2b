"""Translations of ATen operators that ``torch.onnx`` lacks, gets wrong, or writes in a way that loses numbers."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import torch

INT64 = 7
"""ONNX's number of the element type."""


def table(program: torch.export.ExportedProgram) -> dict[Any, Any]:
    """For ``custom_translation_table`` of ``torch.onnx.export``.

    Args:
        program: The program; an operator whose indices nobody uses needs none.
    """
    from onnxscript import opset18

    aten, op = torch.ops.aten, opset18
    found: dict[Any, Any] = {
        torch.ops.prims.prod.default: _prod(op),
        aten.cummax.default: _running(op, largest=True),
        aten.cummin.default: _running(op, largest=False),
        aten.logcumsumexp.default: _log_sums(op),
        aten.scatter_reduce.two: _scatter_reduce(op),
        aten.searchsorted.Tensor: _searched(op),
        aten.bucketize.Tensor: _bucketed(op),
    }
    found[aten.kthvalue.default], found[aten.median.dim] = _ranked(op), _median(op)
    found[aten.median.default] = _median_of_all(op)
    found[aten.hypot.default] = lambda x, y: op.Sqrt(op.Add(op.Mul(x, x), op.Mul(y, y)))
    found.update(dict.fromkeys((aten.__rshift__.Scalar, aten.bitwise_right_shift.Tensor_Scalar), _shifted_right(op)))
    found.update(dict.fromkeys((aten.__lshift__.Scalar, aten.bitwise_left_shift.Tensor_Scalar), _shifted_left(op)))
    pools = (aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default)
    if _values_only(program, pools):
        found.update(dict.fromkeys(pools, _adaptive_max(op)))
    return found


def _values_only(program: torch.export.ExportedProgram, targets: tuple[Any, ...]) -> bool:
    """Whether nobody uses the second result of operators, and sizes of images are known."""
    nodes = [
        node for node in program.graph.nodes if node.target in targets or "adaptive_max_pool1d" in str(node.target)
    ]
    used = [user for node in nodes for user in node.users if user.users]
    shapes = [node.args[0].meta["val"].shape[1:] for node in nodes]
    return all(user.target is operator.getitem and user.args[1] == 0 for user in used) and all(
        isinstance(size, int) for shape in shapes for size in shape[1:]
    )


def _prod(op: Any) -> Any:
    """``prims::prod``, which the exporter makes of ``cumprod``."""

    def to_onnx(x: Any, dims: Any, output_dtype: Any = None) -> Any:
        return op.ReduceProd(x, op.Constant(value_ints=[int(d) for d in dims]), keepdims=0)

    return to_onnx


def _so_far(op: Any, x: Any, dim: int, otherwise: float | int) -> tuple[Any, Any, Any, list[int]]:
    """For each place along an axis, put last, a row of what is there up to it, and something else behind it.

    Returns:
        The rows, [..., size, size]; which of them are so far, [size, size]; the axis' places; and how to put it last.
    """
    rank, last = len(x.shape), op.Constant(value_ints=[-1])
    order = [i for i in range(rank) if i != dim % rank] + [dim % rank]
    size = op.Gather(op.Shape(x), op.Constant(value_int=dim % rank), axis=0)
    places = op.Range(op.Constant(value_int=0), size, op.Constant(value_int=1))
    so_far = op.LessOrEqual(op.Unsqueeze(places, op.Constant(value_ints=[0])), op.Unsqueeze(places, last))
    rows = op.Unsqueeze(op.Transpose(x, perm=order), op.Constant(value_ints=[-2]))
    return op.Where(so_far, rows, _number(op, x, otherwise)), so_far, places, order


def _number(op: Any, x: Any, value: float | int) -> Any:
    """A number of a tensor's type; what is infinite, as the type's last one where it has no infinity."""
    dtype = x.dtype.numpy()
    if dtype.kind in "iu" and math.isinf(value):
        bounds = np.iinfo(dtype)
        value = int(bounds.max if value > 0 else bounds.min)
    constant = op.Constant(value_int=value) if isinstance(value, int) else op.Constant(value_float=value)
    return op.CastLike(constant, x)


def _back(op: Any, x: Any, order: list[int]) -> Any:
    return op.Transpose(x, perm=[order.index(i) for i in range(len(order))])


def _running(op: Any, *, largest: bool) -> Any:
    """``aten::cummax`` and ``cummin``: the extreme so far, and where it was last."""

    def to_onnx(x: Any, dim: int) -> Any:
        last = op.Constant(value_ints=[-1])
        rows, so_far, places, order = _so_far(op, x, dim, -math.inf if largest else math.inf)
        reduce = op.ReduceMax if largest else op.ReduceMin
        values = reduce(rows, last, keepdims=1)
        here = op.And(op.Equal(rows, values), so_far)
        indices = op.ReduceMax(op.Where(here, places, op.Constant(value_int=-1)), last, keepdims=0)
        return _back(op, op.Squeeze(values, last), order), _back(op, indices, order)

    return to_onnx


def _log_sums(op: Any) -> Any:
    """``aten::logcumsumexp``: the exporter's loses what is far below the greatest of all, not only of those so far."""

    def to_onnx(x: Any, dim: int) -> Any:
        last = op.Constant(value_ints=[-1])
        rows, _, _, order = _so_far(op, x, dim, -math.inf)
        most = op.ReduceMax(rows, last, keepdims=1)
        most = op.Where(op.IsInf(most), _number(op, x, 0), most)
        sums = op.Log(op.ReduceSum(op.Exp(op.Sub(rows, most)), last, keepdims=0))
        return _back(op, op.Add(sums, op.Squeeze(most, last)), order)

    return to_onnx


_REDUCTIONS: dict[str, tuple[str, float | int]] = {
    "sum": ("add", 0),
    "mean": ("add", 0),
    "prod": ("mul", 1),
    "amax": ("max", -math.inf),
    "amin": ("min", math.inf),
}


def _scatter_reduce(op: Any) -> Any:
    """``aten::scatter_reduce``, where the exporter knows no mean and no ``include_self=False``."""

    def to_onnx(x: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool = True) -> Any:
        how, neutral = _REDUCTIONS[reduce]
        if list(src.shape) != list(index.shape):
            zeros = op.Constant(value_ints=[0] * len(index.shape))
            src = op.Slice(src, zeros, op.Shape(index))
        one, none = _number(op, x, 1), _number(op, x, 0)
        ones = op.Expand(one, op.Shape(index))
        base = x
        if not include_self:
            marks = op.ScatterElements(op.Expand(none, op.Shape(x)), index, ones, axis=dim)
            base = op.Where(op.Equal(marks, one), _number(op, x, neutral), x)
        result = op.ScatterElements(base, index, src, axis=dim, reduction=how)
        if reduce != "mean":
            return result
        begin = op.Expand(one if include_self else none, op.Shape(x))
        count = op.Max(op.ScatterElements(begin, index, ones, axis=dim, reduction="add"), one)
        if x.dtype.numpy().kind in "iu":  # rounded down
            result = op.Sub(result, op.Mod(result, count))
        return op.Div(result, count)

    return to_onnx


def _searched(op: Any) -> Any:
    """``aten::searchsorted``: how many of the sorted ones stand before."""

    def to_onnx(
        sorted_sequence: Any,
        self: Any,  # the name of the operator's parameter
        *,
        out_int32: bool = False,
        right: bool = False,
        side: str | None = None,
        sorter: Any = None,
    ) -> Any:
        if sorter is not None:
            raise NotImplementedError("searchsorted with a sorter")
        many = len(sorted_sequence.shape) > 1
        rows = op.Unsqueeze(sorted_sequence, op.Constant(value_ints=[-2])) if many else sorted_sequence
        return _count(op, rows, self, after=right or side == "right", small=out_int32)

    return to_onnx


def _bucketed(op: Any) -> Any:
    """``aten::bucketize``."""

    def to_onnx(x: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
        return _count(op, boundaries, x, after=right, small=out_int32)

    return to_onnx


def _count(op: Any, rows: Any, x: Any, *, after: bool, small: bool) -> Any:
    last = op.Constant(value_ints=[-1])
    values = op.Unsqueeze(x, last)
    rows = op.CastLike(rows, x)
    before = op.LessOrEqual(rows, values) if after else op.Less(rows, values)
    count = op.ReduceSum(op.Cast(before, to=INT64), last, keepdims=0)
    return op.Cast(count, to=6) if small else count


def _ranked(op: Any) -> Any:
    """``aten::kthvalue``: the last of the k smallest, and where it is."""

    def to_onnx(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
        smallest = op.TopK(x, op.Constant(value_ints=[int(k)]), axis=dim, largest=0, sorted=1)
        return tuple(_nth(op, each, int(k) - 1, dim, keepdim=keepdim) for each in smallest)

    return to_onnx


def _median(op: Any) -> Any:
    """``aten::median`` along an axis: of an even number the lower one of those in the middle."""

    def to_onnx(x: Any, dim: int, keepdim: bool = False) -> Any:
        size = op.Gather(op.Shape(x), op.Constant(value_ints=[dim % len(x.shape)]), axis=0)
        half = op.Div(op.Add(size, op.Constant(value_ints=[1])), op.Constant(value_ints=[2]))
        return tuple(_nth(op, v, -1, dim, keepdim=keepdim) for v in op.TopK(x, half, axis=dim, largest=0, sorted=1))

    return to_onnx


def _median_of_all(op: Any) -> Any:
    def to_onnx(x: Any) -> Any:
        flat = op.Reshape(x, op.Constant(value_ints=[-1]))
        half = op.Div(op.Add(op.Shape(flat), op.Constant(value_ints=[1])), op.Constant(value_ints=[2]))
        values, _ = op.TopK(flat, half, axis=0, largest=0, sorted=1)
        return _nth(op, values, -1, 0, keepdim=False)

    return to_onnx


def _nth(op: Any, x: Any, place: int, dim: int, *, keepdim: bool) -> Any:
    index = op.Constant(value_ints=[place]) if keepdim else op.Constant(value_int=place)
    return op.Gather(x, index, axis=dim)


def _shifted_left(op: Any) -> Any:
    """Shifting to the left, which multiplies; ONNX shifts only what has no sign."""

    def to_onnx(x: Any, other: int) -> Any:
        bits = 8 * x.dtype.numpy().itemsize
        power = 2 ** int(other) % 2**bits
        return op.Mul(x, _number(op, x, power - 2**bits if power >= 2 ** (bits - 1) else power))

    return to_onnx


def _shifted_right(op: Any) -> Any:
    """Shifting to the right, which divides and rounds down."""

    def to_onnx(x: Any, other: int) -> Any:
        divisor = _number(op, x, 2 ** min(int(other), 8 * x.dtype.numpy().itemsize - 2))
        return op.Div(op.Sub(x, op.Mod(x, divisor)), divisor)

    return to_onnx


def _adaptive_max(op: Any) -> Any:
    """``aten::adaptive_max_pool2d`` and ``3d``: https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html.

    Windows begin at ``floor(i * size / count)`` and end before ``ceil((i + 1) * size / count)``.
    """

    def to_onnx(x: Any, output_size: Any) -> Any:
        sizes = [int(size) for size in x.shape[-len(output_size) :]]
        for axis, size, count in zip(range(-len(sizes), 0), sizes, output_size, strict=True):
            x = _windows(op, x, axis, size, int(count)) if count != 1 else _most(op, x, axis)
        return x, op.Constant(value_int=0)  # nobody uses the indices

    return to_onnx


def _most(op: Any, x: Any, axis: int) -> Any:
    return op.ReduceMax(x, op.Constant(value_ints=[axis]), keepdims=1)


def _windows(op: Any, x: Any, axis: int, size: int, count: int) -> Any:
    parts = []
    for i in range(count):
        bounds = (i * size // count, -(-(i + 1) * size // count), axis)
        parts.append(_most(op, op.Slice(x, *(op.Constant(value_ints=[number]) for number in bounds)), axis))
    return op.Concat(*parts, axis=axis)
