"""Translations of operators that ``torch.onnx`` lacks."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch

from xport.convert import torch_missing, torch_packed


def table(program: torch.export.ExportedProgram) -> dict[Any, Any]:
    """What an exported program needs beyond the exporter's own translations.

    Args:
        program: The program.

    Returns:
        For ``custom_translation_table`` of ``torch.onnx.export``.
    """
    # Stable sorts appear where the exporter decomposes operators, too.
    aten = torch.ops.aten
    found: dict[Any, Any] = {aten.sort.stable: _stable_sort(), aten._cdist_forward.default: _cdist()}
    found.update(torch_missing.table(program))
    if any(str(node.target).startswith("xport.recurrent") for node in program.graph.nodes):
        found.update(torch_packed.translations())
    if _only_bags(program):
        found.update(dict.fromkeys(_bag_operators(), _embedding_bag()))
    if any(str(node.target).startswith("xport.nms") for node in program.graph.nodes):
        from xport.models.nms import translation_table

        found.update(translation_table())
    return found


def _stable_sort() -> Any:
    """``aten::sort.stable``: of equal elements TopK, too, gives the one with the lower index first."""
    from onnxscript import opset18

    op: Any = opset18

    def to_onnx(x: Any, *, stable: Any = None, dim: int = -1, descending: bool = False) -> Any:
        if len(x.shape) == 0:
            return op.Identity(x), op.Constant(value_int=0)
        size = op.Reshape(op.Gather(op.Shape(x), op.Constant(value_int=dim), axis=0), op.Constant(value_ints=[1]))
        return op.TopK(x, size, axis=dim, largest=int(descending), sorted=1)

    return to_onnx


def _cdist() -> Any:
    """``aten::_cdist_forward``: the p-norm of all differences, without the detour over products that loses digits."""
    from onnxscript import opset18

    op: Any = opset18

    def to_onnx(x1: Any, x2: Any, p: float, compute_mode: int | None) -> Any:
        last = op.Constant(value_ints=[-1])
        size = op.Sub(op.Unsqueeze(x1, op.Constant(value_ints=[-2])), op.Unsqueeze(x2, op.Constant(value_ints=[-3])))
        if p == 2:
            return op.ReduceL2(size, last, keepdims=0)
        if p == 1:
            return op.ReduceL1(size, last, keepdims=0)
        size = op.Abs(size)
        if p == math.inf:
            return op.ReduceMax(size, last, keepdims=0)
        if p == 0:
            return op.ReduceSum(op.Sign(size), last, keepdims=0)
        exponent = op.CastLike(op.Constant(value_float=p), x1)
        root = op.CastLike(op.Constant(value_float=1 / p), x1)
        return op.Pow(op.ReduceSum(op.Pow(size, exponent), last, keepdims=0), root)

    return to_onnx


def _bag_operators() -> tuple[Any, ...]:
    aten = torch.ops.aten
    bags = (aten.embedding_bag.default, aten.embedding_bag.padding_idx, aten._embedding_bag.default)
    return (*bags, aten._embedding_bag_forward_only.default)


def _only_bags(program: torch.export.ExportedProgram) -> bool:
    """Whether the program has embedding bags, and uses their first result only: the others serve gradients."""
    nodes = [node for node in program.graph.nodes if node.target in _bag_operators()]
    used = [user for node in nodes for user in node.users if user.users]
    return bool(nodes) and all(user.target is operator.getitem and user.args[1] == 0 for user in used)


def _embedding_bag() -> Any:
    """``aten::embedding_bag`` by scattering; the exporter's own is a loop over sequences of run-time length.

    Each index learns the number of its bag from how many bags have begun. Empty bags give zeros, and what is at
    ``padding_idx`` is left out (https://pytorch.org/docs/stable/generated/torch.nn.EmbeddingBag.html).
    """
    from onnxscript import opset18

    op: Any = opset18

    def numbers(values: list[int]) -> Any:
        return op.Constant(value_ints=values)

    def small(value: int) -> Any:  # int32, because TensorFlow Lite adds no other integers while scattering
        return op.Cast(numbers([value]), to=6)

    def to_onnx(
        weight: Any,
        indices: Any,
        offsets: Any,
        scale_grad_by_freq: bool = False,
        mode: int = 0,
        sparse: bool = False,
        per_sample_weights: Any = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Any:
        if include_last_offset:
            offsets = op.Slice(offsets, numbers([0]), numbers([-1]), numbers([0]))
        bags, size = op.Shape(offsets), op.Shape(indices)
        begun = op.Expand(small(0), op.Add(size, numbers([1])))  # one more: the last bags may be empty
        begun = op.ScatterND(begun, op.Unsqueeze(offsets, numbers([1])), op.Expand(small(1), bags), reduction="add")
        bag = op.Cast(op.Sub(op.CumSum(begun, op.Constant(value_int=0)), small(1)), to=7)
        where = op.Unsqueeze(op.Slice(bag, numbers([0]), size, numbers([0])), numbers([1]))
        rows = op.Gather(weight, indices, axis=0)
        if per_sample_weights is not None:
            rows = op.Mul(rows, op.Unsqueeze(per_sample_weights, numbers([1])))
        counted = op.Expand(op.CastLike(op.Constant(value_floats=[1.0]), weight), size)
        rest = op.CastLike(op.Constant(value_float=-math.inf if mode == 2 else 0.0), weight)
        if padding_idx is not None and padding_idx >= 0:
            kept = op.Not(op.Equal(indices, op.Constant(value_int=padding_idx)))
            rows = op.Where(op.Unsqueeze(kept, numbers([1])), rows, rest)
            counted = op.CastLike(kept, weight)
        empty = op.Expand(rest, op.Concat(bags, op.Slice(op.Shape(weight), numbers([1]), numbers([2])), axis=0))
        result = op.ScatterND(empty, where, rows, reduction="max" if mode == 2 else "add")
        zeros = op.Expand(op.CastLike(op.Constant(value_floats=[0.0]), weight), bags)
        count = op.Unsqueeze(op.ScatterND(zeros, where, counted, reduction="add"), numbers([1]))
        one = op.CastLike(op.Constant(value_float=1.0), weight)
        if mode == 1:
            result = op.Div(result, op.Max(count, one))
        if mode == 2:
            result = op.Where(op.Less(count, one), op.CastLike(op.Constant(value_float=0.0), weight), result)
        counts = op.Cast(op.Squeeze(count, numbers([1])), to=7)
        return result, bag, counts, counts

    return to_onnx
