"""bfloat16 in graphs for ONNX Runtime on a CPU, which has hardly any kernels for it.

What computes gets float32 and rounds its result to bfloat16: so do kernels of bfloat16, TensorFlow's included.
Values are stored as before.
"""

from __future__ import annotations

import onnx_ir as ir

_KEPT = frozenset(
    ("Cast", "Constant", "Identity", "If", "Loop", "Reshape", "Scan", "Squeeze", "Transpose", "Unsqueeze")
)
"""What only moves values, and what holds graphs of its own."""
_NARROW, _WIDE = ir.DataType.BFLOAT16, ir.DataType.FLOAT


def compute_in_float32(model: ir.Model) -> ir.Model:
    """Let everything that computes with bfloat16 compute in float32.

    Args:
        model: The model, with the types of its values; changed in place.

    Returns:
        The same model.
    """
    for graph in model.graphs():
        for node in list(graph):
            if node.op_type not in _KEPT and any(_is_narrow(v) for v in (*node.inputs, *node.outputs)):
                _widen(node)
    return model


def _is_narrow(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == _NARROW


def _widen(node: ir.Node) -> None:
    for i, value in enumerate(node.inputs):
        if value is not None and _is_narrow(value):
            cast = ir.node("Cast", [value], {"to": int(_WIDE)}, name=f"{node.name}/wide_{i}")
            made = cast.outputs[0]
            made.name, made.type, made.shape = f"{node.name}/wide_{i}_out", ir.TensorType(_WIDE), value.shape
            node.prepend(cast)
            node.replace_input_with(i, made)
    for output in node.outputs:
        if not _is_narrow(output):
            continue
        users = list(output.uses())
        cast = ir.node("Cast", [output], {"to": int(_NARROW)}, name=f"{output.name}/narrow")
        made = cast.outputs[0]
        made.name, made.type, made.shape = f"{output.name}/narrow_out", ir.TensorType(_NARROW), output.shape
        output.type = ir.TensorType(_WIDE)
        node.append(cast)
        for use in users:
            use.node.replace_input_with(use.idx, made)
        _replace_output(output, made)


def _replace_output(old: ir.Value, new: ir.Value) -> None:
    """Let a graph give another value under the same name."""
    graph = old.graph
    if graph is None:
        return
    for i, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[i] = new
            old.name, new.name = new.name, old.name
