"""Operators on constants, computed while converting by ONNX's own reference implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

LARGEST_GROWTH = 1 << 16
"""Results with this many bytes more than their inputs stay computed: a file should not hold what a `Tile` makes."""

_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}
_NESTED = {"If", "Loop", "Scan"}


def evaluate(
    op: str, inputs: Sequence[np.ndarray | None], outputs: int, attributes: Mapping[str, Any], opset: int
) -> list[np.ndarray] | None:
    """Compute an operator.

    Args:
        op: ONNX's name of the operator.
        inputs: Arrays; None for one that is left out.
        outputs: How many outputs are wanted.
        attributes: Its attributes, as `onnx_ir.node` takes them.
        opset: The version of the operators.

    Returns:
        The outputs; None if the operator cannot or should not be computed now.
    """
    if op in _RANDOM or op in _NESTED or any(a is not None and a.dtype == object for a in inputs):
        return None
    given = [None if a is None else ir.Value(name=f"i{i}") for i, a in enumerate(inputs)]
    node = ir.node(op, given, dict(attributes), outputs=[ir.Value(name=f"o{i}") for i in range(outputs)])
    names = [f"i{i}" for i, a in enumerate(inputs) if a is not None]
    proto = ir.to_proto(node)
    graph = onnx.helper.make_graph(
        [proto],
        "constant",
        [onnx.ValueInfoProto(name=name) for name in names],
        [onnx.ValueInfoProto(name=f"o{i}") for i in range(outputs)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    feeds = {f"i{i}": a for i, a in enumerate(inputs) if a is not None}
    try:
        with np.errstate(all="ignore"):
            found = [np.asarray(a) for a in ReferenceEvaluator(model).run(None, feeds)]
    except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return None  # the reference lacks it: the runtime computes it then
    growth = sum(a.nbytes for a in found) - sum(a.nbytes for a in inputs if a is not None)
    return None if growth > LARGEST_GROWTH else found
