"""Makes the reduced ONNX form of a float model: what runs in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xport.convert.quantizing import dynamic, narrow, static
from xport.convert.quantizing.ort_quantizer import Tensors
from xport.convert.quantizing.preparing import prepare
from xport.convert.quantizing.request import DYNAMIC, INT8
from xport.convert.quantizing.static import Quantized


def make(
    kind: str,
    source: Path,
    target: Path,
    keep_float: Sequence[str],
    *,
    stores: bool = False,
    ranges: Sequence[Tensors] = (),
    held_out: Sequence[Tensors] = (),
    until_db: float | None = None,
) -> Quantized:
    """Write the reduced form of a float ONNX model.

    Args:
        kind: See `request.Reduction`.
        source: The float model.
        target: The file to write.
        keep_float: What stays in float.
        stores: Only store weights in a narrow float.
        ranges: For int8, batches that set the ranges.
        held_out: For int8, batches that judge.
        until_db: For int8, what the search has to reach.

    Returns:
        What was done.

    Raises:
        XportError: If it cannot be made.
    """
    room = target.parent / "prepared"
    room.mkdir()
    prepared = prepare(source, room / "model.onnx", keep_float)
    if kind == INT8:
        return static.quantize(prepared, target, ranges, held_out, until_db)
    if kind == DYNAMIC:
        return dynamic.quantize(prepared, target)
    return (narrow.store_in if stores else narrow.compute_in)(kind, prepared, target)
