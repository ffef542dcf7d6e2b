"""Translations of operators that ``torch.onnx`` lacks."""

from __future__ import annotations

from typing import Any

import torch


def table(program: torch.export.ExportedProgram) -> dict[Any, Any]:
    """What an exported program needs beyond the exporter's own translations.

    Args:
        program: The program.

    Returns:
        For ``custom_translation_table`` of ``torch.onnx.export``.
    """
    # Stable sorts appear where the exporter decomposes operators, too.
    found: dict[Any, Any] = {torch.ops.aten.sort.stable: _stable_sort()}
    if any(str(node.target).startswith("xport.") for node in program.graph.nodes):
        from xport.models.nms import translation_table

        found.update(translation_table())
    return found


def _stable_sort() -> Any:
    """``aten::sort.stable``: of equal elements TopK, too, gives the one with the lower index first."""
    from onnxscript import opset18

    op: Any = opset18

    def to_onnx(x: Any, *, stable: Any = None, dim: int = -1, descending: bool = False) -> Any:
        if len(x.shape) == 0:
            return op.Identity(x), op.Constant(value_int=0)
        size = op.Reshape(op.Gather(op.Shape(x), op.Constant(value_int=dim), axis=0), op.Constant(value_ints=[1]))
        return op.TopK(x, size, axis=dim, largest=int(descending), sorted=1)

    return to_onnx
