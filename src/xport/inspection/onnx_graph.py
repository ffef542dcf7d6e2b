"""What is in an ONNX file. Source: onnx/onnx.proto."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import onnx
from google.protobuf.message import DecodeError

from xport import onnx_file
from xport.convert.onnx_signature import read_signature
from xport.convert.source import Source
from xport.errors import UnreadableModelError
from xport.formats import Format
from xport.inspection.findings import Findings, is_weight
from xport.signature import dtype_name
from xport.validate.runners.interface import reconcile


def find(source: Source) -> Findings:
    """Look into an ONNX file; tensors outside it are not read.

    Args:
        source: The file.

    Returns:
        What was found; operators of other domains are written ``domain::Operator``.

    Raises:
        UnreadableModelError: If it is broken, or its external data lies outside its folder.
    """
    path = source.path
    if path is None:
        raise UnreadableModelError(f"{source.name} is not a file.")
    onnx_file.check_external_data(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise UnreadableModelError(f"{path} is a broken ONNX file: {error}") from error
    graphs = list(_graphs(model.graph))
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for function in model.functions for node in _function_nodes(function)]
    if not all(isinstance(text, str) for text in _names(model, nodes)):
        raise UnreadableModelError(f"{path} is a broken ONNX file: an operator, domain or producer is no UTF-8 text.")
    return Findings(
        signature=reconcile(read_signature(path), path, Format.ONNX),
        parameters=sum(_weights(tensor) for tensor in _tensors(graphs, nodes)),
        operators=dict(Counter(_operator(node) for node in nodes)),
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        details={
            "ir_version": model.ir_version,
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            "functions": [f"{function.domain}::{function.name}" for function in model.functions],
            "subgraphs": len(graphs) - 1,
        },
        files=tuple(path.parent / location for location in onnx_file.external_files(path)),
    )


def _names(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> Iterator[str | bytes]:
    """Every text that is told; protobuf gives one that is no UTF-8 as bytes."""
    yield from (model.producer_name, model.producer_version)
    for node in nodes:
        yield from (node.op_type, node.domain)
    for function in model.functions:
        yield from (function.name, function.domain)
    yield from (entry.domain for entry in model.opset_import)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all graphs inside its nodes."""
    yield graph
    for node in graph.node:
        yield from _inner(node)


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from _graphs(attribute.g)
        for graph in attribute.graphs:
            yield from _graphs(graph)


def _function_nodes(function: onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    for node in function.node:
        yield node
        for graph in _inner(node):
            yield from graph.node


def _tensors(graphs: Iterable[onnx.GraphProto], nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """Initializers, and the tensors of Constant nodes."""
    for graph in graphs:
        yield from graph.initializer
    for node in nodes:
        if node.op_type == "Constant":
            yield from (a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR)


def _weights(tensor: onnx.TensorProto) -> int:
    if tensor.data_type == onnx.TensorProto.STRING:
        return 0
    dtype = dtype_name(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    return math.prod(tensor.dims) if is_weight(dtype, tensor.dims) else 0


def _operator(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
