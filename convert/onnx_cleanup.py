"""Exact clean-up of ONNX graphs: what computes nothing is removed, what is the same is computed once."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def clean(model: ir.Model) -> ir.Model:
    """Remove what a graph does not need; no number changes.

    Args:
        model: The model; changed in place.

    Returns:
        The same model.
    """
    for each in (
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.TopologicalSortPass(),
    ):
        each(model)
    return model
