"""A model in double precision: the same graph with every float32 made float64.

It is the reference of the rounding floor: what the model would compute without float32's rounding.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

_DTYPE_ATTRIBUTES = {"Cast": "to", "EyeLike": "dtype", "RandomNormal": "dtype", "RandomUniform": "dtype"}
_FLOAT, _DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE


def widen(model: ir.Model) -> ir.Model:
    """Make every float32 in a model float64, in place.

    Args:
        model: The model; inputs and outputs change their type with it.

    Returns:
        The same model.
    """
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None and value.const_value.dtype == _FLOAT:
                value.const_value = _double(value.const_value)
        _retype([*graph.inputs, *graph.initializers.values()])
        _widen_nodes(graph)
    for function in model.functions.values():
        _widen_nodes(function)
    return model


def _widen_nodes(graph: ir.Graph | ir.Function) -> None:
    for node in graph:
        _retype(node.outputs)
        for name, attribute in list(node.attributes.items()):
            if attribute.is_ref():
                continue
            if attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype == _FLOAT:
                node.attributes[name] = ir.AttrTensor(name, _double(attribute.value))
            elif _DTYPE_ATTRIBUTES.get(node.op_type) == name and attribute.value == _FLOAT:
                node.attributes[name] = ir.AttrInt64(name, int(_DOUBLE))
            elif node.op_type == "Constant" and name in ("value_float", "value_floats"):
                del node.attributes[name]
                values = np.asarray(attribute.value, dtype=np.float32).astype(np.float64)
                node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(values))


def _retype(values: Iterable[ir.Value]) -> None:
    for value in values:
        if value.dtype == _FLOAT:
            value.dtype = _DOUBLE


def _double(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy().astype(np.float64), name=tensor.name)
