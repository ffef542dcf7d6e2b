"""An operator alone: the same inputs to both sides, so that only its own error is left."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from xport.convert.workers import Workers
from xport.errors import XportError
from xport.validate.bisection.agreement import Agreement, agree, alignments, restored
from xport.validate.bisection.matching import Matching
from xport.validate.bisection.search import Candidate
from xport.validate.bisection.tracing import HERE

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Alone:
    """The smallest parts of both sides that end in a pair of values, run on the reference's inputs.

    Attributes:
        model: The reference's part.
        other: The other side's.
        inputs: The reference's values at its border.
        other_inputs: The same values, as the other side names and stores them.
        expected: What the reference's part gives.
        actual: What the other's gives, in the reference's shape.
        raw: The same as the other side stores it.
        agreement: How they compare.
    """

    model: onnx.ModelProto
    other: onnx.ModelProto
    inputs: Tensors
    other_inputs: Tensors
    expected: np.ndarray
    actual: np.ndarray
    raw: np.ndarray
    agreement: Agreement


def isolate(matching: Matching, candidate: Candidate, workers: Workers) -> Alone:
    """Run both parts on the same numbers.

    Args:
        matching: The partners, with the reference's values.
        candidate: The pair.
        workers: Where to run.

    Returns:
        What came out.

    Raises:
        XportError: If a part does not run.
    """
    inputs = {name: matching.reference.values[name] for name in candidate.border}
    other_inputs = {name: _translated(matching, name) for name in candidate.other_border}
    target, partner = candidate.name, candidate.match.other
    model = matching.reference.trunk.part(inputs, [target])
    other = matching.other.trunk.part(other_inputs, [partner])
    content = model.SerializeToString()
    expected = _run(workers, content, inputs, target)
    raw = _run(workers, other.SerializeToString(), other_inputs, partner)
    wide: np.ndarray | None = None
    with contextlib.suppress(XportError):  # without float64, a fixed number of steps judges
        wide = workers.call("torch", f"{HERE}:run_wide", content, inputs, [target])[target]
    views = dict(alignments(expected.shape, raw))
    actual = views.get(candidate.match.perm)
    if actual is None:
        raise XportError(f"{partner} has another shape when it is computed alone.")
    return Alone(model, other, inputs, other_inputs, expected, actual, raw, agree(expected, actual, wide))


def _run(workers: Workers, model: bytes, inputs: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    found: Tensors = workers.call("onnxruntime", f"{HERE}:run_onnx", model, dict(inputs), [name])
    if name not in found:
        raise XportError(f"{name} is no tensor that numpy can hold.")
    return found[name]


def _translated(matching: Matching, name: str) -> np.ndarray:
    """The reference's numbers for a value of the other side, stored as that side does."""
    origin = matching.back[name]
    match, array, theirs = matching.pairs[origin], matching.reference.values[origin], matching.other.values[name]
    perm = match.perm if match.other == name else ()
    return restored(array, perm, theirs.shape).astype(theirs.dtype, copy=False)


def repaired(matching: Matching, candidate: Candidate, workers: Workers, inputs: Tensors) -> Tensors:
    """The other side's outputs when the reference's numbers stand in for the value that differs.

    Args:
        matching: The partners.
        candidate: The pair.
        workers: Where to run.
        inputs: The other side's inputs by name.

    Returns:
        Its outputs by name.

    Raises:
        XportError: If it does not run.
    """
    trunk, partner = matching.other.trunk, candidate.match.other
    array, theirs = matching.reference.values[candidate.name], matching.other.values[partner]
    value = restored(array, candidate.match.perm, theirs.shape).astype(theirs.dtype, copy=False)
    if partner in trunk.outputs:
        kept = {name: matching.other.values[name] for name in trunk.outputs if name != partner}
        return {**kept, partner: value}
    given = {**inputs, partner: value}
    content = trunk.part(given, trunk.outputs).SerializeToString()
    outputs: Tensors = workers.call("onnxruntime", f"{HERE}:run_onnx", content, given, trunk.outputs)
    return outputs
