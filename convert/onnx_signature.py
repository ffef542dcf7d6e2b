"""The interface of an ONNX file."""

from __future__ import annotations

import gc
from pathlib import Path

import onnx_ir as ir

from xport.convert.lowering import model as onnx_model
from xport.convert.lowering.interpreter import dims_of, dtype_name
from xport.errors import UnreadableModelError
from xport.signature import Dim, Signature, TensorSpec


def read_signature(path: Path) -> Signature:
    """Names, dtypes and shapes of an ONNX file's inputs and outputs.

    Sizes without a number or a symbol get a symbol of their own, ``<name>_dim<axis>``.

    Args:
        path: The ``.onnx`` file.

    Returns:
        Its signature; initializers that are also listed as inputs are not inputs.

    Raises:
        UnreadableModelError: If the file is no ONNX model or an interface value is no tensor.
    """
    signature = signature_of(onnx_model.load(path))
    gc.collect()  # a model refers to itself, and its weights would stay in memory beside the conversion
    return signature


def signature_of(model: ir.Model) -> Signature:
    """The interface of an opened model; see `read_signature`."""
    missing = any(v.shape is None or v.dtype is None for v in model.graph.outputs)
    if missing:
        onnx_model.infer_shapes(model)
    return Signature(tuple(map(_spec, onnx_model.fed_inputs(model.graph))), tuple(map(_spec, model.graph.outputs)))


def _spec(value: ir.Value) -> TensorSpec:
    name = value.name or ""
    if value.dtype is None or isinstance(value.type, (ir.SequenceType, ir.OptionalType)):
        raise UnreadableModelError(f"{name!r} is not a tensor ({value.type}); xport moves models of tensors.")
    dims = dims_of(value)
    shape: tuple[Dim, ...] | None = None
    if dims is not None:
        shape = tuple(f"{name}_dim{i}" if d is None or d == "" or _unknown(d) else d for i, d in enumerate(dims))
    return TensorSpec(name, dtype_name(value.dtype), shape)


def _unknown(dim: Dim) -> bool:
    """Some exporters write -1 for a size that varies; ONNX Runtime reads it so, too."""
    return isinstance(dim, int) and dim < 0
