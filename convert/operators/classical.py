"""Simple operators of ``ai.onnx.ml``, the domain of classical machine learning."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering.registry import Tensor, op, refuse

CLASSICAL = "ai.onnx.ml"


@op("ArrayFeatureExtractor", domain=CLASSICAL)
def array_feature_extractor(xp: Any, x: Tensor, places: Tensor) -> Any:
    """Columns of the last axis; a vector counts as one row."""
    rank = xp.rank(x)
    if rank is None or rank < 1:
        raise refuse("an input of unknown rank", "it must be at least a vector")
    taken = xp.gather(x, xp.reshape(places, [-1]), rank - 1)
    return xp.reshape(taken, [1, *xp.shape(taken)]) if rank == 1 else taken


@op("Binarizer", domain=CLASSICAL)
def binarizer(xp: Any, x: Tensor, *, threshold: float = 0.0) -> Any:
    """One above the threshold, zero elsewhere."""
    return xp.cast(xp.greater(x, xp.scalar(threshold, x)), xp.dtype(x))
