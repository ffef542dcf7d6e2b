"""int8 weights and activations as QDQ ONNX: ranges measured, layers chosen, the result written."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from xport.convert.quantizing import ort_quantizer
from xport.convert.quantizing.ort_quantizer import Tensors
from xport.convert.quantizing.preparing import Prepared
from xport.convert.quantizing.search import Found, search
from xport.errors import ConversionError
from xport.runtimes import require
from xport.validate.losses import sqnr

SEARCHED = 4
"""Batches on which a search measures every layer; the end result is judged on all held-out ones."""


@dataclass(frozen=True)
class Quantized:
    """What was quantized and what was not.

    Attributes:
        layers: How many nodes are quantized.
        kept: The nodes left in float by the search, as a person calls them, the most damaging first.
        asked: Those the user wanted in float.
        unfit: Those whose numbers fit no eight bits.
        before_db: What was left before the search; None without one.
        after_db: What is left after it, on the samples that it looked at.
        reached: Whether the search found enough.
    """

    layers: int
    kept: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    before_db: float | None = None
    after_db: float | None = None
    reached: bool = True


def quantize(
    prepared: Prepared,
    target: Path,
    ranges: Sequence[Tensors],
    held_out: Sequence[Tensors],
    until_db: float | None = None,
) -> Quantized:
    """Write the int8 form of a prepared model.

    Args:
        prepared: The model.
        target: The file to write.
        ranges: Batches that set the ranges.
        held_out: Other batches, for the search.
        until_db: Leave layers in float until so much is left; None to leave none.

    Returns:
        What was done.

    Raises:
        ConversionError: If the model does not run on the batches, or has nothing to quantize.
    """
    model = onnx.load(prepared.path)
    found = ort_quantizer.measure_ranges(prepared.path, ranges, target.parent)
    unfit = set(ort_quantizer.unfit(model, found))
    fixed = {*prepared.kept, *unfit}
    layers = [n.name for n in model.graph.node if n.op_type in ort_quantizer.QUANTIZED and n.name not in fixed]
    kept: tuple[str, ...] = ()
    outcome: Found | None = None
    if until_db is not None:
        trial = _Trial(prepared.path, model, found, fixed, [*held_out[:SEARCHED], *ranges[:SEARCHED]])
        layers_touching = [name for name in layers if trial.changes(name)]
        outcome = search(layers_touching, trial.alone, trial.without, until_db)
        kept = outcome.kept
    made = ort_quantizer.quantize(model, found, exclude=[*fixed, *kept])
    if not any(node.op_type == "QuantizeLinear" for node in made.graph.node):
        raise ConversionError(
            "The model has no operator that int8 is for, beyond those kept in float.",
            "Use --dtype float16, or keep fewer nodes in float.",
        )
    onnx.save(made, target)
    return Quantized(
        layers=len(layers) - len(kept),
        kept=tuple(prepared.labels.get(name, name) for name in kept),
        asked=prepared.kept,
        unfit=tuple(name for name in prepared.labels if name in unfit),
        before_db=None if outcome is None else outcome.before_db,
        after_db=None if outcome is None else outcome.after_db,
        reached=outcome is None or outcome.reached,
    )


class _Trial:
    """Settings of the quantizer, measured at the model's outputs."""

    def __init__(
        self, path: Path, model: onnx.ModelProto, ranges: object, fixed: Collection[str], batches: Sequence[Tensors]
    ) -> None:
        self._model, self._ranges, self._fixed, self._batches = model, ranges, fixed, batches
        self._wanted = _run(path.read_bytes(), batches)
        self._size = len(model.graph.node)

    def changes(self, layer: str) -> bool:
        """Whether a layer has something to quantize at all."""
        made = ort_quantizer.quantize(self._model, self._ranges, only=[layer])
        return len(made.graph.node) > self._size

    def alone(self, layer: str) -> float:
        """What is left with one layer quantized."""
        return self._measure(ort_quantizer.quantize(self._model, self._ranges, only=[layer]))

    def without(self, layers: Collection[str]) -> float:
        """What is left with some layers in float."""
        return self._measure(ort_quantizer.quantize(self._model, self._ranges, exclude=[*self._fixed, *layers]))

    def _measure(self, made: onnx.ModelProto) -> float:
        found = _run(made.SerializeToString(), self._batches)
        return min(_left([w[o] for w in self._wanted], [f[o] for f in found]) for o in self._wanted[0])


def _left(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """What is left of one output in decibels; of whole numbers, by how many differ."""
    if wanted[0].dtype.kind == "f":
        return sqnr(wanted, found)
    count, wrong = sum(w.size for w in wanted), sum(int(np.sum(w != f)) for w, f in zip(wanted, found, strict=True))
    return math.inf if wrong == 0 else 10 * math.log10(count / wrong)


def _run(model: bytes, batches: Sequence[Tensors]) -> list[dict[str, np.ndarray]]:
    ort = require("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, dict(batch)), strict=True)) for batch in batches]
