"""Functions that say which ONNX operator they implement; see `xport.convert.lowering.composites`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from xport.convert.importing.tensor import Size, Tensor, inverse
from xport.convert.importing.writer import OPSET, Writer
from xport.convert.lowering import composites
from xport.convert.primitives.tf_core import RECORD


def recorded(op: Any, inputs: Sequence[Tensor], writer: Writer) -> list[Tensor] | None:
    """Write the operator that a function implements.

    Args:
        op: The operation that calls it.
        inputs: What it is called with: the operator's inputs, then what the body uses besides.
        writer: What is written to.

    Returns:
        The results; None if the function has no record, or not one that fits: then its body counts.
    """
    if RECORD not in op.node_def.attr:
        return None
    record = composites.parse(op.node_def.attr[RECORD].s.decode(errors="replace"))
    if record is None or not composites.importable(record.node, record.opset, OPSET) or not _fits(record, op, inputs):
        return None
    given, rest = [], iter(inputs)
    for perm in record.inputs:
        tensor = None if perm is None else next(rest)
        given.append(writer.transpose(tensor, inverse(perm)) if tensor is not None and perm else tensor)
    attributes = {a.name: ir.from_proto(a) for a in record.node.attribute}
    results = iter(op.outputs)
    outputs = [None if perm is None else next(results) for perm in record.outputs]
    dtypes = [_dtype(op.outputs[0] if tensor is None else tensor) for tensor in outputs]
    operands = [None if tensor is None else writer.value(tensor) for tensor in given]
    values = writer.emit(record.node.op_type, operands, dtypes, attributes)
    return [
        _stored(writer, value, tensor, perm)
        for value, tensor, perm in zip(values, outputs, record.outputs, strict=True)
        if tensor is not None and perm is not None
    ]


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype.base_dtype.name)


def _fits(record: composites.Record, op: Any, inputs: Sequence[Tensor]) -> bool:
    """Whether the function has the inputs and outputs that its record speaks of."""
    wanted = [perm for perm in record.inputs if perm is not None]
    ranks = all(not perm or x.rank == len(perm) for perm, x in zip(wanted, inputs, strict=False))
    made = [perm for perm in record.outputs if perm is not None]
    known = all(not perm or t.shape.rank == len(perm) for perm, t in zip(made, op.outputs, strict=False))
    return len(wanted) <= len(inputs) and len(made) == len(op.outputs) and ranks and known


def _stored(writer: Writer, value: ir.Value, tensor: Any, perm: Sequence[int]) -> Tensor:
    """A result in TensorFlow's order of axes."""
    dtype = _dtype(tensor)
    if tensor.shape.rank is None:
        return Tensor(dtype, None, value)
    theirs: list[Size] = [writer.fresh() if d is None else int(d) for d in tensor.shape.as_list()]
    if not perm:
        return Tensor(dtype, tuple(theirs), value)
    return writer.transpose(Tensor(dtype, tuple(theirs[i] for i in inverse(perm)), value), perm)
