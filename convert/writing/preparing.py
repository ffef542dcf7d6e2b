"""An ONNX model made ready to be written: functions expanded, small compositions joined, constants computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from xport.convert import onnx_cleanup
from xport.convert.lowering import model as onnx_model
from xport.convert.lowering.interpreter import Interpreter
from xport.convert.primitives.torch_target import TorchTarget
from xport.convert.writing import inner_shapes, registry
from xport.convert.writing.translator import KIND
from xport.errors import UnsupportedError

_VIEWS = {"Transpose", "Reshape", "Identity", "Cast", "CastLike", "Squeeze", "Unsqueeze", "Concat", "Slice", "Split"}
_VIEWS |= {"Constant", "Flatten"}
"""Operators that may be done on a trained weight while converting: it stays a weight."""


def load(path: Path) -> ir.Model:
    """Open a model and make it ready.

    Raises:
        UnsupportedError: Naming every operator that cannot be written as source, with its nodes.
    """
    model = onnx_model.load(path)
    model = inner_shapes.infer(model)
    _expand(model)
    _settle_casts(model)
    _lift_constants(model)
    check_operators(model)
    return onnx_cleanup.clean(model, share=False)


def _expand(model: ir.Model) -> None:
    """Put the bodies of functions in the place of their nodes, where no emitter knows the operator itself."""
    for _ in range(8):
        found = False
        for number, node in enumerate(list(onnx_model.walk(model.graph))):
            version = model.opset_imports.get(node.domain, 1)
            if registry.find(node.domain, node.op_type, version) is not None:
                continue
            body = _body(model, node, version)
            if body is None:
                continue
            found = True
            if node.op_identifier() not in model.functions:
                node.overload = f"xport{number}"
                body = ir.Function(
                    node.domain,
                    node.op_type,
                    node.overload,
                    graph=body.graph,
                    attributes=list(body.attributes.values()),
                )
                model.functions[node.op_identifier()] = body
        if not found:
            return
        scopes = {
            v: dict(n.metadata_props)
            for n in onnx_model.walk(model.graph)
            for v in n.outputs
            if n.op_identifier() in model.functions
        }
        common.InlinePass()(model)
        for value, props in scopes.items():
            maker = value.producer()
            if maker is not None:
                maker.metadata_props.update(props)
        inner_shapes.infer(model)


def _body(model: ir.Model, node: ir.Node, version: int) -> ir.Function | None:
    """What an operator is made of, if that can be put in its place."""
    try:
        body = onnx_model.function_body(node, model, version)
    except ir.serde.SerdeError:  # bodies that onnx_ir cannot read; the operator is then refused by name
        return None
    takes_graphs = any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values())
    if body is None or takes_graphs:
        return None
    for domain, wanted in model.opset_imports.items():
        own = body.opset_imports.get(domain, wanted)
        if own != wanted:
            if not all(_reads_alike(inner, own, wanted) for inner in body if inner.domain == domain):
                return None
            body.opset_imports[domain] = wanted
    return body


def _reads_alike(node: ir.Node, own: int, wanted: int) -> bool:
    """Whether an operator takes the same inputs and attributes in two opset versions."""
    try:
        first, second = (onnx.defs.get_schema(node.op_type, version, node.domain) for version in (own, wanted))
    except onnx.defs.SchemaError:
        return False
    same_inputs = [x.name for x in first.inputs] == [x.name for x in second.inputs]
    return same_inputs and set(first.attributes) <= set(second.attributes)


def _lift_constants(model: ir.Model) -> None:
    """Constants are initializers, which rules know by their content; they are no weights."""
    nodes = [(node, node.graph) for node in onnx_model.walk(model.graph) if node.op_type == "Constant"]
    names = [(graph, value.name) for node, graph in nodes for value in node.outputs]
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    for graph, name in names:
        if isinstance(graph, ir.Graph) and name is not None and name in graph.initializers:
            graph.initializers[name].metadata_props[KIND] = "CONSTANT_TENSOR"


def _settle_casts(model: ir.Model) -> None:
    """A cast to the type of another tensor is a cast to a type, which does not need that tensor."""
    for node in onnx_model.walk(model.graph):
        like = node.inputs[1] if node.op_type == "CastLike" else None
        if like is not None and like.dtype is not None:
            node.op_type = "Cast"
            node.resize_inputs(1)
            node.attributes["to"] = ir.AttrInt64("to", like.dtype.value)


def check_operators(model: ir.Model) -> None:
    """Name every operator that has no emitter, all at once, before work begins.

    Raises:
        UnsupportedError: Listing each missing operator with the nodes that use it.
    """
    missing: dict[str, list[str]] = {}
    for node in onnx_model.walk(model.graph):
        version = model.opset_imports.get(node.domain, 1)
        if node.op_type in ("Constant",) or registry.find(node.domain, node.op_type, version) is not None:
            continue
        label = f"{node.domain + '.' if node.domain else ''}{node.op_type} (opset {version})"
        missing.setdefault(label, []).append(node.name or "unnamed node")
    if missing:
        rows = [
            f"  {name}: {len(nodes)} node(s), {', '.join(nodes[:3])}{', …' if len(nodes) > 3 else ''}"
            for name, nodes in sorted(missing.items())
        ]
        raise UnsupportedError(
            "Operators that xport cannot write as PyTorch source:\n" + "\n".join(rows),
            "Convert to torchscript or exported, which know more operators, or replace them in the source model.",
        )


def constants(model: ir.Model) -> dict[ir.Value, np.ndarray]:
    """The content of every value that does not depend on inputs.

    What is computed from trained weights by more than a change of form stays in the source, as it stood in the
    original: it has to follow the weights when they are trained.
    """
    interpreter = Interpreter(model, TorchTarget())
    weights = [value for graph in model.graphs() for value in graph.initializers.values()]
    trained = {value for value in weights if value.metadata_props.get(KIND) == "PARAMETER"}

    def may_fold(node: ir.Node) -> bool:
        touched = node.op_type not in ("Shape", "Size") and any(value in trained for value in node.inputs)
        if touched and node.op_type in _VIEWS:
            for value in node.outputs:
                value.metadata_props[KIND] = "PARAMETER"
                trained.add(value)
        return not touched or node.op_type in _VIEWS

    interpreter.fold_constants(may_fold, nested=True)
    found: dict[ir.Value, np.ndarray] = {}
    for value, known in interpreter.constants.items():
        array = known.static()
        if array is not None:
            found[value] = array
    return found
