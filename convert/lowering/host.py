"""Arithmetic on sizes, one element at a time, on the host.

Exporters compute shapes with operators: Shape, Gather, Mul, Concat, Reshape. Doing that with run-time tensors would
hide every static size from the target and litter the result. Here such values stay `HostVector`s, whose elements are
numbers or symbolic sizes; an operation this module does not know falls through to the ordinary handler.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering.target import Target
from xport.convert.lowering.values import Dim, HostVector, Value, product

_INTEGER_TYPES = {ir.DataType.INT32: "int32", ir.DataType.INT64: "int64"}


class _UnknownError(Exception):
    """A size cannot be computed on the host."""


Inputs = list[Value | None]
Attributes = dict[str, Any]


def evaluate(node: ir.Node, inputs: Inputs, attributes: Attributes, target: Target) -> list[Value] | None:
    """Evaluate a node on the host if its inputs are sizes.

    Args:
        node: The node.
        inputs: Its inputs; None for omitted ones.
        attributes: Its attributes as given.
        target: The target, which knows tensors' shapes.

    Returns:
        Its output, or None if the node is not host arithmetic and must be lowered.
    """
    if node.domain not in ("", "ai.onnx") or not inputs or inputs[0] is None:
        return None
    name = node.outputs[0].name or ""
    if node.op_type in ("Shape", "Size"):
        sizes = sizes_of(inputs[0], target)
        if sizes is None:
            return None
        if node.op_type == "Size":
            return [Value(name, vector=HostVector([product(sizes)], scalar=True))]
        return [Value(name, vector=HostVector(sizes[attributes.get("start", 0) : attributes.get("end")]))]
    if not any(v is not None and v.vector is not None for v in inputs):
        return None
    vectors = [None if v is None else _vector(v) for v in inputs]
    if any(v is None and w is not None for v, w in zip(vectors, inputs, strict=True)):
        return None
    if node.op_type == "Split":
        return _split(node, vectors, attributes)
    if node.op_type in _TARGET_RULES:
        result: Any = _TARGET_RULES[node.op_type](vectors, target)
    elif node.op_type in _RULES:
        result = _RULES[node.op_type](vectors, attributes)
    else:
        return None
    if result is None:
        return None
    return [Value(name, const=result) if isinstance(result, np.ndarray) else Value(name, vector=result)]


def sizes_of(value: Value, target: Target) -> list[Any] | None:
    """The logical sizes of a value; None where not even its rank is known."""
    if value.const is not None:
        return list(value.const.shape)
    if value.vector is not None:
        return [] if value.vector.scalar else [len(value.vector.items)]
    if value.tensor is not None:
        if target.rank(value.tensor) is None:
            return None
        stored = target.shape(value.tensor)
        if value.perm is None:
            return stored
        logical: list[Any] = [None] * len(stored)
        for position, axis in enumerate(value.perm):
            logical[axis] = stored[position]
        return logical
    if value.flattened is not None:
        sizes = sizes_of(value.flattened, target)
        return None if sizes is None else [sizes[0], product(sizes[1:])]
    return None


def _vector(value: Value) -> HostVector | None:
    if value.vector is not None:
        return value.vector
    array = value.const
    if array is None or array.ndim > 1 or array.dtype.kind not in "iub" or array.size > 64:
        return None
    return HostVector([int(i) for i in array.reshape(-1)], scalar=array.ndim == 0, dtype=array.dtype.name)


def _binary(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Attributes], HostVector | None]:
    def rule(inputs: list[HostVector], _: Attributes) -> HostVector | None:
        a, b = inputs
        n = max(len(a.items), len(b.items))
        if len(a.items) not in (1, n) or len(b.items) not in (1, n):
            return None
        left, right = (
            a.items * (n // len(a.items) if a.items else 0),
            b.items * (n // len(b.items) if b.items else 0),
        )
        try:
            items = [compute(x, y) for x, y in zip(left, right, strict=True)]
        except (ZeroDivisionError, _UnknownError):
            return None
        return HostVector(items, scalar=a.scalar and b.scalar, dtype=a.dtype)

    return rule


def _divide(inputs: list[Any], target: Target) -> HostVector | None:
    """ONNX divides integers like C: towards zero."""

    def compute(a: Any, b: Any) -> Any:
        if _number(a) and _number(b):
            return int(abs(a) // abs(b)) * (1 if (a >= 0) == (b >= 0) else -1)
        if not isinstance(a, Dim) or (never_negative(a) and never_negative(b)):
            return a // b
        if not _number(b) or b <= 0:
            raise _UnknownError
        return target.size_max(a, 0) // b - target.size_max(-a, 0) // b

    return _binary(compute)(inputs, {})


def never_negative(size: Any) -> bool:
    """Whether a size is surely not negative: a subtraction in its expression leaves that open."""
    if isinstance(size, Dim):
        return size.coefficient >= 0 and "-" not in size.name
    return _number(size) and size >= 0


def _number(size: Any) -> bool:
    return isinstance(size, (int, np.integer))


def _modulo(inputs: list[HostVector], attributes: Attributes) -> HostVector | None:
    """The remainder with the divisor's sign; with ``fmod`` the dividend's, which is the same for sizes."""
    if attributes.get("fmod") and not all(never_negative(i) for v in inputs for i in v.items):
        return None
    return _binary(lambda a, b: a % b if _number(a) and _number(b) else a - (a // b) * b)(inputs, {})


def _fold(choose: str) -> Callable[[Any, Target], HostVector | None]:
    """Max and Min of any number of vectors."""

    def rule(inputs: list[Any], target: Target) -> HostVector | None:
        result: HostVector | None = inputs[0]
        for other in inputs[1:]:
            result = None if result is None else _binary(getattr(target, choose))([result, other], {})
        return result

    return rule


def _split(node: ir.Node, inputs: list[Any], attributes: Attributes) -> list[Value] | None:
    """Parts of a vector; by given sizes, or equal ones of which the last may be smaller."""
    data, count = inputs[0], len(node.outputs)
    if data.scalar or (len(inputs) > 1 and not inputs[1].static):
        return None
    total = len(data.items)
    part = -(-total // count)
    sizes = inputs[1].items if len(inputs) > 1 else attributes.get("split")
    sizes = [part] * (count - 1) + [total - part * (count - 1)] if sizes is None else [int(i) for i in sizes]
    if sum(sizes) != total or len(sizes) != count or min(sizes) < 0:
        return None
    starts = [sum(sizes[:i]) for i in range(count)]
    return [
        Value(out.name or "", vector=HostVector(data.items[start : start + size], dtype=data.dtype))
        for out, start, size in zip(node.outputs, starts, sizes, strict=True)
    ]


def _gather(inputs: list[HostVector], attributes: Attributes) -> HostVector | None:
    data, indices = inputs
    if not indices.static or data.scalar:
        return None
    items = [data.items[int(i)] for i in indices.items]
    return HostVector(items, scalar=indices.scalar, dtype=data.dtype)


def _slice(inputs: list[HostVector | None], attributes: Attributes) -> HostVector | None:
    if len(inputs) < 3 or any(v is not None and not v.static for v in inputs[1:]):
        return None  # before opset 10 these were attributes
    data, starts, ends = inputs[:3]
    steps = inputs[4] if len(inputs) > 4 else None
    if data is None or starts is None or ends is None or len(starts.items) != 1:
        return None
    step = int(steps.items[0]) if steps else 1
    start, end = int(starts.items[0]), int(ends.items[0])
    n = len(data.items)
    if step < 0:
        stop = None if end < -n else end
        return HostVector(data.items[max(min(start, n - 1), -n) : stop : step], dtype=data.dtype)
    return HostVector(data.items[start:end:step], dtype=data.dtype)


def _concat(inputs: list[HostVector], _: Attributes) -> HostVector | None:
    if any(v.scalar for v in inputs):
        return None
    return HostVector([item for v in inputs for item in v.items], dtype=inputs[0].dtype)


def _unsqueeze(inputs: list[HostVector], attributes: Attributes) -> HostVector | None:
    axes = inputs[1].items if len(inputs) > 1 else attributes.get("axes", [])
    if len(axes) != 1:
        return None
    return HostVector(inputs[0].items, dtype=inputs[0].dtype) if inputs[0].scalar else None


def _squeeze(inputs: list[HostVector], _: Attributes) -> HostVector | None:
    data = inputs[0]
    return HostVector(data.items, scalar=True, dtype=data.dtype) if len(data.items) == 1 else None


def _reshape(inputs: list[HostVector], _: Attributes) -> HostVector | None:
    data, shape = inputs
    if not shape.static or len(shape.items) > 1:
        return None
    return HostVector(data.items, scalar=not shape.items, dtype=data.dtype)


def _cast(inputs: list[HostVector], attributes: Attributes) -> HostVector | None:
    dtype = _INTEGER_TYPES.get(ir.DataType(attributes["to"]))
    return HostVector(inputs[0].items, inputs[0].scalar, dtype) if dtype else None


def _reduce_prod(inputs: list[HostVector], attributes: Attributes) -> HostVector | None:
    keep = attributes.get("keepdims", 1)
    if attributes.get("noop_with_empty_axes") and len(inputs) < 2:
        return None
    return HostVector([product(inputs[0].items)], scalar=not keep, dtype=inputs[0].dtype)


def _equal(inputs: list[HostVector], _: Attributes) -> np.ndarray | None:
    a, b = inputs
    if len(a.items) != len(b.items) and 1 not in (len(a.items), len(b.items)):
        return None
    n = max(len(a.items), len(b.items))
    if not a.items or not b.items:
        return None
    answers = [_same(x, y) for x, y in zip(a.items * (n // len(a.items)), b.items * (n // len(b.items)), strict=True)]
    if any(answer is None for answer in answers):
        return None
    return np.array(answers).reshape(() if a.scalar and b.scalar else (n,))


def _same(a: Any, b: Any) -> bool | None:
    """Whether two sizes are equal; None if only run time can tell."""
    known = [x for x in (a, b) if isinstance(x, (int, np.integer))]
    if len(known) == 2:
        return bool(a == b)
    if known and known[0] < 0 and all(_number(x) or not isinstance(x, Dim) or never_negative(x) for x in (a, b)):
        return False
    return True if isinstance(a, Dim) and a == b else None


def _where(inputs: list[HostVector], attributes: Attributes) -> HostVector | None:
    condition, a, _ = inputs
    n = max(len(v.items) for v in inputs)
    if not condition.static or any(len(v.items) not in (1, n) for v in inputs):
        return None
    rows = zip(*(v.items * (n // len(v.items)) for v in inputs), strict=True)
    scalar = all(v.scalar for v in inputs)
    return HostVector([x if c else y for c, x, y in rows], scalar=scalar, dtype=a.dtype)


_RULES: dict[str, Callable[[Any, Attributes], Any]] = {
    "Add": _binary(operator.add),
    "Sub": _binary(operator.sub),
    "Mul": _binary(operator.mul),
    "Mod": _modulo,
    "Neg": lambda inputs, _: HostVector([-i for i in inputs[0].items], inputs[0].scalar, inputs[0].dtype),
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Cast": _cast,
    "ReduceProd": _reduce_prod,
    "Equal": _equal,
    "Where": _where,
    "Identity": lambda inputs, _: inputs[0],
}

_TARGET_RULES: dict[str, Callable[[Any, Target], Any]] = {
    "Div": _divide,
    "Max": _fold("size_max"),
    "Min": _fold("size_min"),
}
"""Rules that need the target's own arithmetic on sizes."""
