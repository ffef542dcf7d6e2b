"""ONNX models, opened and made ready for lowering."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from xport.convert.lowering import registry
from xport.errors import UnreadableModelError, UnsupportedError
from xport.onnx_file import locate

MOST_OPERATORS = 1_000_000
"""How many operators a model may have once its functions are expanded; large language models have some 10,000."""


STALE_SHAPES = "xport.stale_shapes"
"""In a loaded model's ``meta``: its file states shapes that its inputs contradict."""


def load(path: Path) -> ir.Model:
    """Open a model; weights in external files stay memory-mapped.

    Args:
        path: The ``.onnx`` file.

    Returns:
        The model. Where shapes that it states of values inside contradict its inputs, they are inferred anew, and
        ``model.meta[STALE_SHAPES]`` is set.

    Raises:
        UnreadableModelError: If it is no ONNX model, if its external data lies outside its folder or is missing, or
            if its functions call themselves or each other beyond all measure.
    """
    try:
        model = ir.load(path)
    except Exception as error:  # protobuf, onnx_ir and the OS each have their own
        raise UnreadableModelError(
            f"{path} is not a readable ONNX model: {error}.", "It may be truncated; copy or export it again."
        ) from error
    check_external_data(model, Path(path).resolve().parent)
    check_calls(model)
    if _forget_stale_shapes(model):
        model.meta[STALE_SHAPES] = True
    return model


def _forget_stale_shapes(model: ir.Model) -> bool:
    """Take stated shapes of values inside out of a model if one contradicts its inputs; nothing computes with them.

    A batch of one, stated everywhere, remains when somebody has made the inputs' batch dynamic. Shape inference would
    believe the number.

    Returns:
        Whether there was such a shape.
    """
    outer = set(model.graph.outputs)
    before = {v: (v.shape, v.type) for node in walk(model.graph) for v in node.outputs}
    inner = [v for v, (shape, _) in before.items() if shape is not None and v not in outer]
    if not inner:
        return False
    symbols = {str(d) for v in model.graph.inputs for d in v.shape or () if not isinstance(d, int)} - {"None", ""}
    for value in inner:
        value.shape = None
    infer_shapes(model)
    stale = any(_contradicts(before[v][0], v.shape, symbols) for v in inner)
    for value, (shape, kind) in before.items():
        if not stale or value in outer or value.shape is None:
            value.shape, value.type = shape, kind
    return stale


def _contradicts(stated: ir.Shape | None, inferred: ir.Shape | None, symbols: set[str]) -> bool:
    """Whether a number is stated where the inputs lead to another, or to a size that varies."""
    if stated is None or inferred is None:
        return False
    return len(stated) != len(inferred) or any(
        isinstance(a, int) and a != b and (isinstance(b, int) or str(b) in symbols)
        for a, b in zip(stated, inferred, strict=True)
    )


def check_calls(model: ir.Model) -> None:
    """Refuse functions that call themselves, or that expand to more than `MOST_OPERATORS`.

    Thirty functions that call one another twice are a billion operators, in a file of a few kilobytes.

    Args:
        model: The model.

    Raises:
        UnreadableModelError: If it is such a model; the standard forbids the first kind.
    """
    sizes: dict[Any, int] = {}

    def size(body: ir.Graph | ir.Function, callers: tuple[Any, ...]) -> int:
        total = 0
        for node in walk(body):
            total += called(node.op_identifier(), callers) if node.op_identifier() in model.functions else 1
            if total > MOST_OPERATORS:
                raise UnreadableModelError(f"The model's functions expand to more than {MOST_OPERATORS:,} operators.")
        return total

    def called(key: Any, callers: tuple[Any, ...]) -> int:
        if key in callers:
            raise UnreadableModelError(f"The model's function {key[0]}::{key[1]} calls itself.", "Export it again.")
        if key not in sizes:
            sizes[key] = size(model.functions[key], (*callers, key))
        return sizes[key]

    if model.functions:
        size(model.graph, ())


def check_external_data(model: ir.Model, folder: Path) -> None:
    """Refuse external data outside the model's own folder: absolute paths, ``..`` and links that lead out.

    Raises:
        UnreadableModelError: Naming the tensor and the location.
    """
    for tensor in _external_tensors(model):
        location = os.fspath(tensor.location)
        target = locate(folder, location)
        fix = "External data must lie in the model's folder; move it there, or save the model in one file."
        if os.path.isabs(location) or not target.is_relative_to(folder):
            raise UnreadableModelError(f"Tensor {tensor.name!r} keeps its data outside: {location!r}.", fix)
        if not target.is_file():
            raise UnreadableModelError(f"Tensor {tensor.name!r} keeps its data in {location!r}, which is missing.", fix)
        end = (tensor.offset or 0) + (tensor.length or 0)
        if target.stat().st_size < end:
            raise UnreadableModelError(
                f"{location!r} ends before the data of tensor {tensor.name!r}.", "Copy the file again."
            )


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
    bodies: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for body in bodies:
        for attribute in (attribute for node in walk(body) for attribute in node.attributes.values()):
            values = () if attribute.is_ref() else attribute.value
            for value in values if isinstance(values, list | tuple) else (values,):
                if isinstance(value, ir.ExternalTensor):
                    yield value


def infer_shapes(model: ir.Model) -> ir.Model:
    """Infer shapes with symbolic dimensions; what cannot be inferred stays unknown."""
    # It says in the log, with a traceback, that it could not; whoever needs the shapes says so better.
    logging.getLogger(ShapeInferencePass.__module__).setLevel(logging.ERROR)
    return ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model).model


def fed_inputs(graph: ir.Graph) -> list[ir.Value]:
    """The inputs that a caller gives: models of IR 3 and before list their weights among the inputs, too."""
    return [value for value in graph.inputs if value.name not in graph.initializers]


def walk(graph: ir.Graph | ir.Function) -> Iterator[ir.Node]:
    """Every node of a graph and of the graphs in its nodes' attributes, outer ones first."""
    yield from ir.traversal.RecursiveGraphIterator(graph)


def function_body(node: ir.Node, model: ir.Model, version: int) -> ir.Function | None:
    """The body of an operator that is a function: the model's own, or the one its schema defines.

    Args:
        node: The node.
        model: The model it stands in.
        version: The opset version imported for the node's domain.

    Returns:
        The body, or None if the operator is no function.
    """
    key = (node.domain, node.op_type, node.overload)
    if key in model.functions:
        return model.functions[key]
    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return None
    proto = _schema_body(schema, node, version)
    return None if proto is None else ir.serde.deserialize_function(proto)


def _schema_body(schema: Any, node: ir.Node, version: int) -> onnx.FunctionProto | None:
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= version]
        data = schema.get_function_with_opset_version(max(versions)) if versions else None
        return onnx.FunctionProto.FromString(data) if data else None
    if not schema.has_context_dependent_function:
        return None
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= version]
    types = [onnx.TypeProto() if v is None else _type_proto(v) for v in node.inputs]
    if not versions:
        return None
    data = schema.get_context_dependent_function_with_opset_version(
        max(versions), ir.to_proto(node).SerializeToString(), [t.SerializeToString() for t in types]
    )
    return onnx.FunctionProto.FromString(data) if data else None


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    info = ir.to_proto(value)
    return info.type


def check_operators(model: ir.Model, target: str) -> None:
    """Name every operator that a target lacks, all at once, before work begins.

    Args:
        model: The model.
        target: ``tensorflow`` or ``torch``.

    Raises:
        UnsupportedError: Listing each missing operator with the nodes that use it.
    """
    missing: dict[str, list[str]] = {}
    _collect_missing(model, model.graph, dict(model.opset_imports), target, missing, set())
    if missing:
        rows = [
            f"  {name}: {len(nodes)} node(s), {', '.join(nodes[:3])}{', …' if len(nodes) > 3 else ''}"
            for name, nodes in sorted(missing.items())
        ]
        raise UnsupportedError(
            f"Operators that xport cannot lower to {target}:\n" + "\n".join(rows),
            "Replace them in the source model; see docs/operators.md for what is supported.",
        )


def _collect_missing(
    model: ir.Model,
    graph: ir.Graph | ir.Function,
    opsets: dict[str, int],
    target: str,
    missing: dict[str, list[str]],
    active: set[tuple[str, str]],
) -> None:
    for node in walk(graph):
        version = opsets.get(node.domain, 1)
        if registry.find(node.domain, node.op_type, version, target) is not None:
            continue
        body = function_body(node, model, version)
        key = (node.domain, node.op_type)
        if body is not None and key not in active:
            _collect_missing(model, body, {**opsets, **body.opset_imports}, target, missing, active | {key})
            continue
        label = f"{node.domain + '.' if node.domain else ''}{node.op_type} (opset {version})"
        missing.setdefault(label, []).append(node.name or "unnamed node")
