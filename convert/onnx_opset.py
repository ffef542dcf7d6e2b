"""An ONNX model in another version of ONNX's operators, up or down, by ONNX's own version converter.

The converter keeps the weights in memory twice and forgets what it does not know, so it sees a model without its large
weights, and what it forgot is put back: names and shapes of values, descriptions, where the model comes from.

It gives up at operators that it has no adapter for, although most of their versions differ in the types they take
alone. Those are hidden from it and stay as they are: what their older version does not take is refused here by name,
and what it would compute otherwise is refused by the gate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from xport.convert.lowering.model import infer_shapes
from xport.errors import ConversionError, UnsupportedError, UsageError

_HIDDEN = "xport.hidden"
"""The domain of what the converter has no adapter for."""
_NO_ADAPTER = re.compile(r"No Adapter (?:From|To) Version \S+ for (\w+)")

_LARGE = 4096
"""Bytes above which a weight is kept from the converter; what its adapters read (axes, scales, shapes) is smaller."""


def opset_of(model: ir.Model) -> int:
    """The version of ONNX's operators that a model is written in; 0 if it uses none of them."""
    return model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))


def to_opset(model: ir.Model, opset: int) -> ir.Model:
    """Bring a model to another version of ONNX's operators.

    Args:
        model: The model; it is changed too.
        opset: The version wanted.

    Returns:
        The model in that version, its numbers unproven.

    Raises:
        UsageError: If there is no such version.
        UnsupportedError: Naming the operators that do not exist in that version.
        ConversionError: If the version converter cannot, naming what it lacks.
    """
    newest, before = onnx.defs.onnx_opset_version(), opset_of(model)
    if not 1 <= opset <= newest:
        raise UsageError(f"There is no opset {opset} here; the newest is {newest}.", f"Use --opset {newest} or lower.")
    _check_exist(model, opset)
    if model.functions:
        common.InlinePass()(model)  # the converter leaves the bodies of functions as they are
    model = infer_shapes(model)  # adapters ask for ranks
    _load_small(model)
    weights = {name: v.const_value for name, v in model.graph.initializers.items() if _is_large(v)}
    inputs = list(model.graph.inputs)
    for name in weights:
        value = model.graph.initializers.pop(name)
        if value not in inputs:
            model.graph.inputs.append(value)
    converted = _convert(model, opset)
    by_name = {value.name: value for value in _values(converted.graph)}
    for value in list(converted.graph.inputs)[len(inputs) :]:
        converted.graph.inputs.remove(value)
    for name, tensor in weights.items():
        if name in by_name:
            by_name[name].const_value = tensor
            converted.graph.initializers.add(by_name[name])
    del model.graph.inputs[len(inputs) :]
    _restore(model, converted, by_name)
    _drop_defaults(converted, before, opset)
    _check(converted, opset)
    return converted


def _is_large(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is not None and tensor.nbytes > _LARGE and tensor.dtype != ir.DataType.STRING


def _load_small(model: ir.Model) -> None:
    """Take small weights out of files of their own: the converter's model does not say where those lie."""
    for graph in model.graphs():
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor) and not (graph is model.graph and _is_large(value)):
                value.const_value = ir.Tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=name)


def _convert(model: ir.Model, opset: int) -> ir.Model:
    before = opset_of(model)
    hidden: set[str] = set()
    while True:
        try:
            converted = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), opset))
            _hide(converted, hidden, undo=True)
            return converted
        except Exception as error:  # its own ConvertError, and RuntimeError from its assertions
            lacking = _NO_ADAPTER.search(str(error))
            if lacking is not None and lacking[1] not in hidden:
                hidden.add(lacking[1])
                _hide(model, {lacking[1]})
                continue
            line = next((part.strip() for part in str(error).splitlines() if part.strip()), type(error).__name__)
            raise ConversionError(
                f"ONNX's version converter cannot bring the model from opset {before} to {opset}: "
                f"{line.rpartition('Assertion `false` failed: ')[2][:300]}",
                "Choose an opset nearer to the model's own, or export the model again.",
            ) from error


def _hide(model: ir.Model, kinds: set[str], *, undo: bool = False) -> None:
    """Put operators into a domain that the converter leaves alone, or take them out of it."""
    for node in model.graph.all_nodes():
        if node.op_type in kinds and node.domain == (_HIDDEN if undo else ""):
            node.domain = "" if undo else _HIDDEN
    if undo:
        model.opset_imports.pop(_HIDDEN, None)
    else:
        model.opset_imports[_HIDDEN] = 1


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _restore(old: ir.Model, new: ir.Model, values: dict[str | None, ir.Value]) -> None:
    """Put back what the converter forgot."""
    new.producer_name, new.producer_version = old.producer_name, old.producer_version
    new.domain, new.model_version, new.doc_string = old.domain, old.model_version, old.doc_string
    new.metadata_props.update(old.metadata_props)
    new.graph.name, new.graph.doc_string = old.graph.name, old.graph.doc_string
    new.graph.metadata_props.update(old.graph.metadata_props)
    for value in _values(old.graph):
        same = values.get(value.name)
        if same is not None:
            same.type, same.shape, same.doc_string = value.type, value.shape, value.doc_string
            same.metadata_props.update(value.metadata_props)
    nodes = {node.outputs[0].name: node for node in new.graph if node.outputs}
    for node in old.graph:
        twin = nodes.get(node.outputs[0].name) if node.outputs else None
        if twin is not None:
            twin.name, twin.doc_string = node.name, node.doc_string
            twin.metadata_props.update(node.metadata_props)


def _exists(node: ir.Node, opset: int) -> bool:
    try:
        onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    return True


def _check_exist(model: ir.Model, opset: int) -> None:
    """Refuse all operators at once that an older version does not have."""
    nodes = (node for node in model.graph.all_nodes() if node.domain in ("", "ai.onnx"))
    missing = {node.op_type: node.name for node in nodes if not _exists(node, opset)}
    if missing:
        listed = ", ".join(f"{op} ({name})" if name else op for op, name in sorted(missing.items()))
        verb = "does" if len(missing) == 1 else "do"
        raise UnsupportedError(f"{listed} {verb} not exist in opset {opset}.", "Choose a newer opset.")


def _drop_defaults(model: ir.Model, before: int, opset: int) -> None:
    """Take away attributes that an older version does not know, where they say what it does anyway.

    An attribute comes to an operator with a default that keeps what the operator did before ("noop_with_empty_axes" of
    the reductions, "start" of Shape); exporters write such defaults down.
    """
    for node in model.graph.all_nodes():
        if node.domain not in ("", "ai.onnx") or not _exists(node, opset) or not _exists(node, before):
            continue
        known = onnx.defs.get_schema(node.op_type, opset, "").attributes
        newer = onnx.defs.get_schema(node.op_type, before, "").attributes
        for name in [name for name in node.attributes if name in newer and name not in known]:
            default = newer[name].default_value
            if default.type and ir.serde.deserialize_attribute(default).value == node.attributes[name].value:
                del node.attributes[name]


def _check(model: ir.Model, opset: int) -> None:
    """Refuse a graph that breaks the rules of its version: the converter leaves some operators as they were."""
    found = opset_of(model)
    if found != opset:
        raise ConversionError(f"ONNX's version converter left the model at opset {found}, expected {opset}.")
    _check_exist(model, opset)
    for node in model.graph.all_nodes():
        if node.domain in ("", "ai.onnx"):
            _check_node(node, opset)


def _check_node(node: ir.Node, opset: int) -> None:
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    unknown = [name for name in node.attributes if name not in schema.attributes]
    given = sum(value is not None for value in node.inputs)
    if unknown or not schema.min_input <= len(node.inputs) <= schema.max_input:
        what = f"the attributes {', '.join(unknown)}" if unknown else f"{given} inputs"
        raise ConversionError(
            f"The operator {node.op_type} ({node.name}) has {what}, which it does not take in opset {opset}.",
            "Choose an opset nearer to the model's own.",
        )
