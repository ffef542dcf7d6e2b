"""What is in a SavedModel, read without TensorFlow.

Sources: tensorflow/core/protobuf/{saved_model,meta_graph}.proto, tensorflow/core/framework/graph.proto.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from xport.convert.savedmodel_signature import meta_graph, read_signature
from xport.convert.source import Source
from xport.errors import UnreadableModelError
from xport.inspection.findings import Findings, is_weight
from xport.tf_protos import DTYPE_OF_DATA_TYPE

_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


def find(source: Source) -> Findings:
    """Look into a SavedModel.

    Args:
        source: The folder.

    Returns:
        What was found; operators are those that the default signature can reach, every function counted once.

    Raises:
        UnreadableModelError: If it is broken or has no signature to serve.
    """
    path = source.path
    if path is None:
        raise UnreadableModelError(f"{source.name} is not a folder.")
    meta = meta_graph(path)
    definitions = {k: v for k, v in meta.signature_def.items() if not k.startswith("__saved_model")}
    key = "serving_default" if "serving_default" in definitions else next(iter(sorted(definitions)), None)
    outputs = definitions[key].outputs.values() if key else ()
    nodes = list(_reachable(meta.graph_def, [info.name for info in outputs]))
    notes = () if key else ("There is no signature to serve, so the interface is not known.",)
    return Findings(
        signature=read_signature(path, key) if key else None,
        parameters=sum(_weights(node) for node in nodes),
        operators=dict(Counter(node.op for node in nodes)),
        details={
            "tensorflow": meta.meta_info_def.tensorflow_version,
            "tags": list(meta.meta_info_def.tags),
            "signatures": sorted(definitions),
            "functions": len(meta.graph_def.library.function),
        },
        notes=notes,
    )


def _reachable(graph: Any, outputs: Iterable[str]) -> Iterator[Any]:
    """The nodes that outputs need, and the bodies of the functions that these call."""
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}
    todo, seen = [_node_name(name) for name in outputs], set()
    calls: list[str] = []
    while todo:
        name = todo.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        yield nodes[name]
        todo += map(_node_name, nodes[name].input)
        calls += _called(nodes[name])
    entered: set[str] = set()
    while calls:
        name = calls.pop()
        if name in entered or name not in functions:
            continue
        entered.add(name)
        for node in functions[name].node_def:
            yield node
            calls += _called(node)


def _node_name(name: str) -> str:
    """The node of a tensor (``name:0``) or of a control input (``^name``)."""
    return name.removeprefix("^").partition(":")[0]


def _called(node: Any) -> Iterator[str]:
    yield node.op  # a function may be called like an operator
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        if attribute.HasField("list"):
            yield from (function.name for function in attribute.list.func)


def _weights(node: Any) -> int:
    """The numbers that a variable or a constant holds."""
    if node.op == "Const":
        tensor = node.attr["value"].tensor
        dtype, shape = tensor.dtype, tensor.tensor_shape
    elif node.op in _VARIABLES:
        dtype, shape = node.attr["dtype"].type, node.attr["shape"].shape
    else:
        return 0
    sizes = [dim.size for dim in shape.dim]
    return math.prod(sizes) if is_weight(DTYPE_OF_DATA_TYPE.get(dtype, ""), sizes) else 0
