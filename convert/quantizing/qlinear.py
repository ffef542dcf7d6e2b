"""Operators that compute on integers, as the float operators between DequantizeLinear and QuantizeLinear they mean."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from xport.convert.onnx_patterns import known
from xport.errors import UnsupportedError

_PAIRS = {
    "QLinearAdd": ("Add", 2),
    "QLinearMul": ("Mul", 2),
    "QLinearSigmoid": ("Sigmoid", 1),
    "QLinearLeakyRelu": ("LeakyRelu", 1),
    "QLinearSoftmax": ("Softmax", 1),
    "QLinearAveragePool": ("AveragePool", 1),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", 1),
    "QLinearReduceMean": ("ReduceMean", 1),
}
"""ONNX Runtime's: the float operator, and how many triples of tensor, scale and zero point come first.

The scale and zero point of the result follow. Source: docs/ContribOperators.md of microsoft/onnxruntime.
"""

_OWN = ("channels_last", "opset")
"""Attributes that only the integer form has."""


def expand(model: ir.Model) -> None:
    """Replace every operator on integers by the float operator that it means, in place.

    Raises:
        UnsupportedError: Naming one that has no such form here.
    """
    for node in list(model.graph):
        if node.op_type == "QLinearConv":
            _layer(model, node, "Conv", bias=8)
        elif node.op_type == "QLinearMatMul":
            _layer(model, node, "MatMul", bias=None)
        elif node.op_type == "QGemm":
            _gemm(model, node)
        elif node.op_type == "QLinearConcat":
            _concat(node)
        elif node.op_type in _PAIRS:
            _pairs(node)
        elif node.op_type.startswith("QLinear"):
            raise UnsupportedError(f"xport knows no float form of {node.op_type} (node {node.name!r}).")


def _dequantized(before: ir.Node, triple: Sequence[ir.Value | None], axis: int | None = None) -> ir.Value:
    attributes = {} if axis is None else {"axis": axis}
    made = ir.node("DequantizeLinear", list(triple), attributes, name=f"{before.name}_{_name(triple[0])}_real")
    out = made.outputs[0]
    out.name, out.type = made.name, ir.TensorType(ir.DataType.FLOAT)
    out.shape = triple[0].shape if triple[0] is not None else None
    _put(before, made)
    return out


def _name(value: ir.Value | None) -> str:
    return str(value.name) if value is not None else ""


def _put(before: ir.Node, made: ir.Node) -> None:
    if before.graph is not None:
        before.graph.insert_before(before, made)


def _compute(node: ir.Node, kind: str, inputs: Sequence[ir.Value | None], grid: Sequence[ir.Value | None]) -> None:
    """Put a float operator and the quantization of its result where an integer operator stood."""
    attributes = [a for a in node.attributes.values() if a.name not in _OWN]
    if node.attributes.get_int("channels_last", 0):
        raise UnsupportedError(f"xport does not read {node.op_type} with channels last (node {node.name!r}).")
    made = ir.node(kind, list(inputs), {}, name=node.name)
    for attribute in attributes:
        made.attributes.add(attribute)
    old = node.outputs[0]
    out = made.outputs[0]
    out.name, out.type, out.shape = f"{old.name}_real", ir.TensorType(ir.DataType.FLOAT), old.shape
    _put(node, made)
    rounded = ir.node("QuantizeLinear", [out, *grid], {}, name=f"{node.name}_rounded")
    new = rounded.outputs[0]
    new.name, new.type, new.shape = f"{old.name}_rounded", old.type, old.shape
    _put(node, rounded)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    if node.graph is not None:
        node.graph.remove(node, safe=True)


def _layer(model: ir.Model, node: ir.Node, kind: str, bias: int | None) -> None:
    inputs = [*node.inputs, None, None]
    axis = 0 if kind == "Conv" else 1
    x, w = _dequantized(node, inputs[0:3]), _dequantized(node, inputs[3:6], axis)
    offset = inputs[bias] if bias is not None else None
    real = [] if offset is None else [_bias(model, node, offset, inputs[1], inputs[4])]
    _compute(node, kind, [x, w, *real], inputs[6:8])


def _gemm(model: ir.Model, node: ir.Node) -> None:
    inputs = [*node.inputs, *[None] * (9 - len(node.inputs))]
    if inputs[7] is None:
        raise UnsupportedError(f"xport reads no QGemm with a float result (node {node.name!r}).")
    transposed = bool(node.attributes.get_int("transB", 0))
    if node.attributes.get_float("alpha", 1.0) != 1.0:
        raise UnsupportedError(f"xport reads no QGemm with an alpha (node {node.name!r}).")
    x, w = _dequantized(node, inputs[0:3]), _dequantized(node, inputs[3:6], 0 if transposed else 1)
    real = [] if inputs[6] is None else [_bias(model, node, inputs[6], inputs[1], inputs[4])]
    _compute(node, "Gemm", [x, w, *real], inputs[7:9])


def _bias(
    model: ir.Model, node: ir.Node, offset: ir.Value, x_scale: ir.Value | None, w_scale: ir.Value | None
) -> ir.Value:
    """A bias of int32: its scale is the product of the input's and the weights'."""
    first, second = known(x_scale), known(w_scale)
    if first is None or second is None:
        raise UnsupportedError(f"A scale of node {node.name!r} is computed while it runs.")
    name = f"{node.name}_{offset.name}_scale"
    scale = ir.Value(name=name)
    scale.const_value = ir.tensor((first * second).astype("float32").reshape(second.shape), name=name)
    scale.shape, scale.type = ir.Shape(second.shape), ir.TensorType(ir.DataType.FLOAT)
    model.graph.register_initializer(scale)
    return _dequantized(node, [offset, scale], 0)


def _pairs(node: ir.Node) -> None:
    kind, count = _PAIRS[node.op_type]
    inputs = [*node.inputs, *[None] * (3 * count + 2 - len(node.inputs))]
    real = [_dequantized(node, inputs[3 * i : 3 * i + 3]) for i in range(count)]
    _compute(node, kind, real, inputs[3 * count : 3 * count + 2])


def _concat(node: ir.Node) -> None:
    rest = list(node.inputs[2:])
    real = [_dequantized(node, rest[i : i + 3]) for i in range(0, len(rest), 3)]
    _compute(node, "Concat", real, node.inputs[0:2])
