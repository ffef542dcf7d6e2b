"""What a TensorFlow graph changes while it runs: variables and tables that are assigned to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from xport.errors import UnsupportedError

_CHANGES = {
    *("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "Assign", "AssignAdd", "AssignSub"),
    *(f"{owner}Scatter{kind}" for owner in ("Resource", "") for kind in ("Update", "Add", "Sub", "Mul", "Div")),
    *(f"{owner}Scatter{kind}" for owner in ("Resource", "") for kind in ("Min", "Max", "NdUpdate", "NdAdd", "NdSub")),
    *("ResourceStridedSliceAssign", "StridedSliceAssign"),
    *("LookupTableInsertV2", "LookupTableRemoveV2"),
}
"""The operators that change what their first input names."""

_BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
"""Operators whose first input chooses the function that gets the others."""


def changed(outputs: Iterable[Any], function: Callable[[str], Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Find what changes when outputs are computed.

    Args:
        outputs: Tensors of the main graph.
        function: Gives the graph of a function by its name.
        names: What functions there are.

    Returns:
        By the name of the operation that names a variable or table, the operation that changes it.
    """
    found: dict[str, Any] = {}
    # (operations that run, by the name of a tensor the operation that made the resource, functions around them)
    todo: list[tuple[Iterable[Any], dict[str, Any], tuple[str, ...]]] = [(_ancestors(outputs), {}, ())]
    while todo:
        ops, given, around = todo.pop()
        for op in ops:
            if op.type in _CHANGES:
                handle = _owner(op.inputs[0], given)
                found.setdefault(handle.name, op)
            for name in _called(op, names):
                if name in around:
                    continue
                graph = function(name)
                passed = op.inputs[1:] if op.type in _BRANCHES else op.inputs
                inner = {t.name: _owner(x, given) for t, x in zip(graph.inputs, passed, strict=False)}
                todo.append((graph.get_operations(), inner, (*around, name)))
    return found


def refuse(op: Any, name: str) -> UnsupportedError:
    """The error for a model whose answers depend on what it changes.

    Args:
        op: The operation that changes it.
        name: The variable or table.
    """
    return UnsupportedError(
        f"The model keeps a state between calls: {op.type} ({op.name}) changes {name!r}, which the outputs depend on. "
        "ONNX, which every conversion goes through, has no state.",
        "Take the state as an input and give the new one as an output, or save a model without it (Keras layers: "
        "stateful=False; normalisation and dropout: training=False).",
    )


def _ancestors(outputs: Iterable[Any]) -> Iterator[Any]:
    """The operations that run for tensors, those that only have to run before included."""
    todo, done = [t.op for t in outputs], set()
    while todo:
        op = todo.pop()
        if op.name not in done:
            done.add(op.name)
            yield op
            todo += [*(t.op for t in op.inputs), *op.control_inputs]


def _owner(tensor: Any, given: Mapping[str, Any]) -> Any:
    """The operation that a resource, or a variable of TensorFlow 1, comes from."""
    while tensor.op.type in ("Identity", "Enter", "RefEnter", "Switch", "RefSwitch") and tensor.name not in given:
        tensor = tensor.op.inputs[0]
    return given.get(tensor.name, tensor.op)


def _called(op: Any, names: Mapping[str, Any]) -> Iterator[str]:
    from xport.convert.importing.tf_graph import called

    yield from (name for name in called(op) if name in names)
