"""Shapes inside of branches and loops, and of what comes out of them.

onnx's own inference leaves most of both unknown. Here each nested graph is inferred as a graph of its own, whose inputs
are what it sees around it; a loop's states are taken for as large as they begin, until a run gives another size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import onnx
import onnx_ir as ir

from xport.convert.lowering import model as onnx_model
from xport.convert.lowering.interpreter import dims_of

_MOST_RUNS = 5
"""How often a loop is inferred at most until its states keep their shapes: each time one forgets a size or its rank."""

_FEW = 64
"""A constant of at most this many elements may tell shapes; larger ones are weights."""

Dims = tuple[int | str | None, ...]


def infer(model: ir.Model) -> ir.Model:
    """Infer the shapes of a model with branches and loops.

    Args:
        model: The model; shapes are added in place.

    Returns:
        The model.
    """
    model = onnx_model.infer_shapes(model)
    _settle(model, model.graph, lambda: onnx_model.infer_shapes(model))
    return model


def _settle(model: ir.Model, graph: ir.Graph, again: Callable[[], object]) -> None:
    """Infer the graphs inside of a graph, from the first on; what comes out of one may tell shapes of the next."""
    for node in list(graph):
        if node.op_type == "STFT" and _name(node.outputs, [(None, None, None, 2)]):  # onnx wants to know all sizes
            again()
        bodies = [a.value for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH and not a.is_ref()]
        if node.domain or not bodies:
            continue
        if node.op_type == "If":
            for body in bodies:
                _settle_body(model, body)
            results = [_merged(dims_of(a), dims_of(b)) for a, b in zip(*(b.outputs for b in bodies), strict=True)]
        elif node.op_type == "Loop":
            results = _loop(model, node, bodies[0])
        elif node.op_type == "Scan":
            results = _scan(model, node, bodies[0])
        else:
            continue
        if _name(node.outputs, results):
            again()


def _name(outputs: Sequence[ir.Value], results: Sequence[Dims | None]) -> bool:
    """Write down shapes where there is none; whether that was so anywhere."""
    new = [(out, dims) for out, dims in zip(outputs, results, strict=False) if out.shape is None and dims is not None]
    for out, dims in new:
        out.shape = ir.Shape(dims)
    return bool(new)


def _loop(model: ir.Model, node: ir.Node, body: ir.Graph) -> list[Dims | None]:
    states = _states(model, body, body.inputs[2:], node.inputs[2:], body.outputs[1:])
    rows = [dims_of(value) for value in body.outputs[1 + len(states) :]]
    return [*states, *(None if dims is None else (None, *dims) for dims in rows)]


def _scan(model: ir.Model, node: ir.Node, body: ir.Graph) -> list[Dims | None]:
    runs = node.attributes.get_int("num_scan_inputs", len(node.inputs))
    count = len(node.inputs) - runs
    axes = node.attributes.get_ints("scan_input_axes", [0] * runs)
    steps: int | str | None = None
    for value, element, axis in zip(node.inputs[count:], body.inputs[count:], axes, strict=True):
        dims = None if value is None else dims_of(value)
        if dims is not None:
            steps = dims[axis]
            place = axis % len(dims)
            element.shape = ir.Shape([size for i, size in enumerate(dims) if i != place])
    states = _states(model, body, body.inputs[:count], node.inputs[:count], body.outputs)
    values = body.outputs[count:]
    places = node.attributes.get_ints("scan_output_axes", [0] * len(values))
    results: list[Dims | None] = list(states)
    for value, axis in zip(values, places, strict=True):
        dims = dims_of(value)
        place = 0 if dims is None else axis % (len(dims) + 1)
        results.append(None if dims is None else (*dims[:place], steps, *dims[place:]))
    return results


def _states(
    model: ir.Model,
    body: ir.Graph,
    takes: Sequence[ir.Value],
    starts: Sequence[ir.Value | None],
    gives: Sequence[ir.Value],
) -> list[Dims | None]:
    """Shapes of a loop's states that hold in every run."""
    pairs = list(zip(takes[: len(starts)], starts, gives, strict=False))
    shapes = [None if start is None else dims_of(start) for _, start, _ in pairs]
    for (value, start, _), dims in zip(pairs, shapes, strict=True):
        value.shape = None if dims is None else ir.Shape(dims)
        if value.dtype is None and start is not None and start.dtype is not None:
            value.dtype = start.dtype
    for run in range(_MOST_RUNS):
        if run:
            for value in (value for node in onnx_model.walk(body) for value in node.outputs):
                value.shape = None
        _settle_body(model, body)
        found = [_merged(dims, dims_of(end)) for (_, _, end), dims in zip(pairs, shapes, strict=True)]
        if found == shapes:
            return shapes
        shapes = found if run < _MOST_RUNS - 2 else [None] * len(pairs)
        for (value, _, _), dims in zip(pairs, shapes, strict=True):
            value.shape = None if dims is None else ir.Shape(dims)
    return shapes


def _merged(one: Dims | None, other: Dims | None) -> Dims | None:
    """The sizes that are the same in both."""
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


def _settle_body(model: ir.Model, body: ir.Graph) -> None:
    _infer_body(model, body)
    _settle(model, body, lambda: _infer_body(model, body))


def _infer_body(model: ir.Model, body: ir.Graph) -> None:
    """Infer a nested graph as one of its own."""
    proto = ir.to_proto(body)
    held = {value.name for value in body.initializers.values()}
    del proto.initializer[:]
    for value in (*dict.fromkeys(_around(body)), *body.initializers.values()):
        content = value.const_value
        if content is not None and content.size <= _FEW:
            proto.initializer.append(onnx.numpy_helper.from_array(content.numpy(), value.name))
        elif value.name is not None and value.type is not None:
            proto.input.append(ir.to_proto(value))
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    functions = [ir.to_proto(function) for function in model.functions.values()]
    whole = onnx.helper.make_model(proto, opset_imports=imports, functions=functions)
    try:
        found = onnx.shape_inference.infer_shapes(whole, data_prop=True)
    except onnx.shape_inference.InferenceError:  # shapes stay unknown; an emitter that needs one says so by name
        return
    known = {info.name: info.type for info in (*found.graph.value_info, *found.graph.output)}
    for value in (value for node in body for value in node.outputs):
        kind = known.get(value.name or "")
        if value.name in held or kind is None or not kind.HasField("tensor_type"):
            continue
        value.dtype = value.dtype or ir.DataType(kind.tensor_type.elem_type)
        if kind.tensor_type.HasField("shape"):
            sizes = kind.tensor_type.shape.dim
            value.shape = ir.Shape([d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in sizes])


def _around(body: ir.Graph) -> Iterator[ir.Value]:
    """What a graph uses of what is around it."""
    nodes = list(onnx_model.walk(body))
    graphs = {graph for node in nodes if isinstance(graph := node.graph, ir.Graph)} | {body}
    defined = {value for node in nodes for value in node.outputs}
    for graph in graphs:
        defined.update(graph.inputs, graph.initializers.values())
    used = (*(value for node in nodes for value in node.inputs), *(v for graph in graphs for v in graph.outputs))
    yield from (value for value in used if value is not None and value not in defined)
