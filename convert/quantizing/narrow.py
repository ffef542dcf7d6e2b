"""Narrow floats as ONNX: a graph that computes in them, or one that stores its weights in them.

The interface stays in float32: casts stand behind the inputs and in front of the outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_interface import save_model
from xport.convert.quantizing.preparing import Prepared
from xport.convert.quantizing.static import Quantized
from xport.errors import ConversionError, UnsupportedError

_TYPES = {
    "float16": (ir.DataType.FLOAT16, np.dtype(np.float16), 65504.0),
    "bfloat16": (ir.DataType.BFLOAT16, np.dtype(ml_dtypes.bfloat16), 3.3895313892515355e38),
}
_NAMES_A_TYPE = {"Cast": "to", "RandomNormal": "dtype", "RandomUniform": "dtype", "EyeLike": "dtype"}
_GENERIC = "tensor(float16)"
"""What takes this takes any float, in some version of the standard: a fixed float32 is one for good reason."""


def compute_in(dtype: str, prepared: Prepared, target: Path) -> Quantized:
    """Write a graph that stores its weights and computes in a narrow float.

    Args:
        dtype: ``float16`` or ``bfloat16``.
        prepared: The float32 model.
        target: The file to write.

    Returns:
        What was done.

    Raises:
        UnsupportedError: If the graph has control flow.
        ConversionError: If it computes nothing in float32.
    """
    model = onnx_model.infer_shapes(onnx_model.load(prepared.path))
    common.InlinePass()(model)
    for node in model.graph:
        if any(a.type.name in ("GRAPH", "GRAPHS") for a in node.attributes.values()):
            raise UnsupportedError(
                f"xport narrows no graph with control flow ({node.op_type}, node {node.name!r}).",
                "Use --quantize dynamic, or convert in float32.",
            )
    work = _Narrowing(model.graph, dtype, prepared.kept)
    for node in list(model.graph):
        work.narrow(node)
    work.finish()
    if not work.count:
        raise ConversionError(
            "The model computes nothing in float32.", "Leave --dtype out, or keep fewer nodes in float."
        )
    common.RemoveUnusedNodesPass()(model)
    save_model(model, target)
    return Quantized(layers=work.count, asked=prepared.kept)


def store_in(dtype: str, prepared: Prepared, target: Path) -> Quantized:
    """Write a graph that stores its weights in a narrow float and computes in float32.

    ONNX Runtime's CPU has no kernels for bfloat16.

    Args:
        dtype: ``bfloat16``.
        prepared: The float32 model.
        target: The file to write.

    Returns:
        What was done.

    Raises:
        ConversionError: If there are no weights.
    """
    model = onnx_model.load(prepared.path)
    kind, numpy_type, _ = _TYPES[dtype]
    first = next(iter(model.graph), None)
    count = 0
    for name, value in list(model.graph.initializers.items()):
        array = None if value.const_value is None else value.const_value.numpy()
        kept = value.uses() and all(use.name in prepared.kept for use, _ in value.uses())
        if array is None or array.dtype != np.float32 or array.ndim < 2 or kept or value.is_graph_output():
            continue
        small = _initializer(model.graph, f"{name}_{dtype}", array.astype(numpy_type), kind)
        cast = _cast(small, ir.DataType.FLOAT, f"{name}_float32")
        if first is not None:
            model.graph.insert_before(first, cast)
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        del model.graph.initializers[name]
        count += 1
    if not count:
        raise ConversionError(f"The model has no weights in float32 to store in {dtype}.", "Leave --dtype out.")
    save_model(model, target)
    return Quantized(layers=count, asked=prepared.kept)


def _initializer(graph: ir.Graph, name: str, array: np.ndarray, kind: ir.DataType) -> ir.Value:
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(kind))
    value.const_value = ir.Tensor(array, dtype=kind, name=name)
    graph.register_initializer(value)
    return value


def _cast(value: ir.Value, kind: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], {"to": int(kind)}, name=f"{name}_cast")
    out = node.outputs[0]
    out.name, out.type, out.shape = name, ir.TensorType(kind), value.shape
    return node


class _Narrowing:
    """A graph that becomes narrow, node after node.

    Attributes:
        count: How many nodes compute in the narrow type.
    """

    def __init__(self, graph: ir.Graph, dtype: str, kept: Collection[str]) -> None:
        self.count = 0
        self._graph, self._kept = graph, set(kept)
        self._name = dtype
        self._kind, self._numpy, self._largest = _TYPES[dtype]
        self._narrow: dict[ir.Value, ir.Value] = {}  # by what it was in float32
        self._wide: dict[ir.Value, ir.Value] = {}  # by what is narrow now

    def narrow(self, node: ir.Node) -> None:
        """Let one node compute in the narrow type, as far as the standard lets it."""
        schema = None if node.name in self._kept else _schema(node, self._graph)
        slots: set[str] = set()
        for place, value in enumerate(list(node.inputs)):
            if value is None:
                continue
            slot = None if schema is None else _slot(schema.inputs, place)
            generic = slot is not None and _GENERIC in slot.types
            if generic and value.dtype == ir.DataType.FLOAT:
                node.replace_input_with(place, self._narrowed(value, node))
            elif not generic and value in self._wide:
                node.replace_input_with(place, self._widened(value, node))
            if generic and slot is not None and node.inputs[place].dtype == self._kind:  # type: ignore[union-attr]
                slots.add(slot.type_str)
        named = schema is not None and self._name_type(node)
        for place, out in enumerate(node.outputs):
            slot = None if schema is None else _slot(schema.outputs, place)
            if out.dtype == ir.DataType.FLOAT and (named or (slot is not None and slot.type_str in slots)):
                out.type = ir.TensorType(self._kind)
                self._wide[out] = out
        self.count += bool(slots)

    def _name_type(self, node: ir.Node) -> bool:
        """Change a type that an attribute names; tells whether it was float32."""
        attribute = node.attributes.get(_NAMES_A_TYPE.get(node.op_type, ""))
        if attribute is not None and attribute.value == int(ir.DataType.FLOAT):
            node.attributes[attribute.name] = ir.AttrInt64(attribute.name, int(self._kind))
            return True
        value = node.attributes.get("value") if node.op_type == "ConstantOfShape" else None
        if node.op_type == "ConstantOfShape" and (value is None or value.value.dtype == ir.DataType.FLOAT):
            array = np.zeros(1, np.float32) if value is None else value.value.numpy()
            node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(self._fit(array), dtype=self._kind))
            return True
        return False

    def _fit(self, array: np.ndarray) -> np.ndarray:
        """Numbers in the narrow type; masks of a huge number stay finite, since zero times infinity is no number."""
        limited = np.where(np.isfinite(array), np.clip(array, -self._largest, self._largest), array)
        return np.asarray(limited.astype(self._numpy))

    def _narrowed(self, value: ir.Value, before: ir.Node) -> ir.Value:
        if value not in self._narrow:
            name = f"{value.name}_{self._name}"
            constant = value.const_value if value.is_initializer() and not value.is_graph_input() else None
            if constant is not None:
                self._narrow[value] = _initializer(self._graph, name, self._fit(constant.numpy()), self._kind)
            else:
                node = _cast(value, self._kind, name)
                self._graph.insert_before(before, node)
                self._narrow[value] = node.outputs[0]
        return self._narrow[value]

    def _widened(self, value: ir.Value, before: ir.Node) -> ir.Value:
        if self._wide[value] is value:
            node = _cast(value, ir.DataType.FLOAT, f"{value.name}_float32")
            self._graph.insert_before(before, node)
            self._wide[value] = node.outputs[0]
        return self._wide[value]

    def finish(self) -> None:
        """Give the outputs back their type, and drop weights that are in float32 no more."""
        for place, out in enumerate(list(self._graph.outputs)):
            if out in self._wide:
                name = str(out.name)
                out.name = f"{name}_{self._name}"
                node = _cast(out, ir.DataType.FLOAT, name)
                self._graph.append(node)
                self._graph.outputs[place] = node.outputs[0]
        for name, value in list(self._graph.initializers.items()):
            if value in self._narrow and not value.uses() and not value.is_graph_output():
                del self._graph.initializers[name]


def _schema(node: ir.Node, graph: ir.Graph) -> onnx.defs.OpSchema | None:
    version = graph.opset_imports.get(node.domain, 1)
    try:
        return onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:  # ONNX Runtime's own operators: nothing says what they take
        return None


def _slot(
    parameters: Sequence[onnx.defs.OpSchema.FormalParameter], place: int
) -> onnx.defs.OpSchema.FormalParameter | None:
    if place < len(parameters):
        return parameters[place]
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    return parameters[-1] if parameters and parameters[-1].option == variadic else None
