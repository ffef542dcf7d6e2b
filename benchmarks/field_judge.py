"""Runs a converted artifact and compares it with ONNX Runtime; `field.py` starts it, since an artifact may crash it.

``python benchmarks/field_judge.py MODEL.onnx ARTIFACT CASES.npz`` prints one JSON object. An artifact is given every
benefit: inputs are matched by name, else by order; an image input that it wants channels-last is turned around; 64-bit
integers are narrowed where it takes 32; outputs are matched by name, else by shape and order. What had to be bent so is
told as a change of the interface. The answers of a PyTorch module (``.npz``, see `run_to_module.py`) are only compared;
its tensors have no names, but an order.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime

LIMIT = 1e-3
"""Beyond this share of the largest output an error is more than rounding: a wrong number."""

Tensors = dict[str, np.ndarray]
Detail = tuple[str, tuple[int, ...], np.dtype[Any]]


class Artifact(Protocol):
    """A loaded artifact."""

    inputs: list[Detail]
    """Name, shape with -1 for what is dynamic, dtype."""

    def run(self, tensors: list[np.ndarray]) -> Tensors:
        """Answer tensors given in the order of `inputs`."""

    def prepared(self, tensors: list[np.ndarray]) -> Callable[[], object]:
        """What runs the model on these tensors again and again, with nothing to set up any more."""


class LiteArtifact:
    """A TFLite file."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_path=str(path), num_threads=threads)
        keys = self.interpreter.get_signature_list()
        self.signature = next(iter(keys), None)
        taken = self.interpreter.get_input_details()
        given = self.interpreter.get_output_details()
        if self.signature is None:
            self.places = {d["name"]: d["index"] for d in taken}
            self.results = {d["name"]: d["index"] for d in given}
        else:
            runner = self.interpreter.get_signature_runner(self.signature)
            inputs, outputs = runner.get_input_details(), runner.get_output_details()
            self.places = {name: detail["index"] for name, detail in inputs.items()}
            self.results = {name: detail["index"] for name, detail in outputs.items()}
            del runner
        by_place = {d["index"]: d for d in taken}
        self.inputs = [
            (name, tuple(by_place[place]["shape_signature"].tolist()), np.dtype(by_place[place]["dtype"]))
            for name, place in self.places.items()
        ]

    def run(self, tensors: list[np.ndarray]) -> Tensors:
        """See `Artifact`."""
        self.prepared(tensors)()
        return {name: np.array(self.interpreter.get_tensor(place)) for name, place in self.results.items()}

    def prepared(self, tensors: list[np.ndarray]) -> Callable[[], object]:
        """See `Artifact`."""
        for (name, _, _), array in zip(self.inputs, tensors, strict=True):
            self.interpreter.resize_tensor_input(self.places[name], list(array.shape))
        self.interpreter.allocate_tensors()
        for (name, _, _), array in zip(self.inputs, tensors, strict=True):
            self.interpreter.set_tensor(self.places[name], array)
        invoke: Callable[[], object] = self.interpreter.invoke
        return invoke


class SavedArtifact:
    """A SavedModel folder."""

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        self.loaded = tf.saved_model.load(str(path))
        self.function = self.loaded.signatures["serving_default"]
        specs = self.function.structured_input_signature[1]
        self.inputs = [
            (name, tuple(-1 if d is None else d for d in spec.shape), spec.dtype.as_numpy_dtype)
            for name, spec in specs.items()
        ]

    def run(self, tensors: list[np.ndarray]) -> Tensors:
        """See `Artifact`."""
        answer: Tensors = self.prepared(tensors)()  # type: ignore[assignment]
        return answer

    def prepared(self, tensors: list[np.ndarray]) -> Callable[[], object]:
        """See `Artifact`."""
        import tensorflow as tf

        named = {name: tf.constant(array) for (name, _, _), array in zip(self.inputs, tensors, strict=True)}
        return lambda: {name: tensor.numpy() for name, tensor in self.function(**named).items()}


def matched(artifact: Artifact, given: Tensors, changes: set[str]) -> list[np.ndarray]:
    """The tensors in the artifact's order and layout; what had to be bent is added to ``changes``."""
    names = [name for name, _, _ in artifact.inputs]
    if set(names) != set(given):
        changes.add("input names")
        pool, order = dict(given), []
        for detail in artifact.inputs:  # a name that contains the model's own is meant so
            likely = min(pool, key=lambda key: (key not in detail[0], not fits(pool[key], detail)))
            order.append(pool.pop(likely))
    else:
        order = [given[name] for name in names]
    tensors = []
    for array, (_, shape, dtype) in zip(order, artifact.inputs, strict=True):
        if array.ndim >= 3 and not agree(array.shape, shape) and agree(np.moveaxis(array, 1, -1).shape, shape):
            changes.add("input layout")
            array = np.ascontiguousarray(np.moveaxis(array, 1, -1))
        if array.dtype != dtype:
            changes.add(f"input {array.dtype} taken as {np.dtype(dtype)}")
            array = array.astype(dtype)
        tensors.append(array)
    return tensors


def agree(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether sizes fit, whatever the batch is."""
    return len(shape) == len(wanted) and all(w in (-1, s) for s, w in zip(shape[1:], wanted[1:], strict=True))


def fits(array: np.ndarray, detail: Detail) -> bool:
    """Whether an array could be what an input wants."""
    kinds = {"i": "iu", "u": "iu"}.get(array.dtype.kind, array.dtype.kind)
    turned = np.moveaxis(array, 1, -1).shape if array.ndim >= 3 else array.shape
    return detail[2].kind in kinds and (agree(array.shape, detail[1]) or agree(turned, detail[1]))


def compared(expected: Tensors, got: Tensors, changes: set[str]) -> tuple[str, float]:
    """``right``, or what is wrong; and the largest error as a share of its output's largest value."""
    if set(expected) != set(got):
        changes.add("output names")
    if len(expected) != len(got):
        return f"{len(got)} outputs instead of {len(expected)}", float("inf")
    pool, worst = dict(got), 0.0
    for name, want in expected.items():
        key = name if name in pool else min(pool, key=lambda k: pool[k].shape != want.shape)
        have = pool.pop(key)
        if have.shape != want.shape and have.ndim >= 3 and np.moveaxis(have, -1, 1).shape == want.shape:
            changes.add("output layout")
            have = np.moveaxis(have, -1, 1)
        if have.shape != want.shape:
            return f"output {name} has shape {have.shape} instead of {want.shape}", float("inf")
        if have.dtype != want.dtype:
            changes.add(f"output {want.dtype} given as {have.dtype}")
        scale = float(np.abs(want[np.isfinite(want)]).max(initial=0.0)) or 1.0
        difference = np.abs(have.astype(np.float64) - want.astype(np.float64))
        same = np.equal(have, want) | (np.isnan(have) & np.isnan(want)) if want.dtype.kind == "f" else have == want
        error = float(np.where(same, 0.0, difference).max(initial=0.0)) / scale
        worst = max(worst, error if np.isfinite(error) else float("inf"))
    return ("right" if worst <= LIMIT else "wrong numbers"), worst


def judge(model: Path, path: Path, cases: dict[str, Tensors]) -> dict[str, Any]:
    """What becomes of each case."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    changes: set[str] = set()
    try:
        answer = answers_of(path, names, changes)
    except Exception as error:
        return {"cases": {case: f"does not load: {brief(error)}" for case in cases}, "worst": None, "changes": []}
    outcome: dict[str, str] = {}
    errors = []
    for case, inputs in cases.items():
        expected = dict(zip(names, session.run(names, inputs), strict=True))
        try:
            outcome[case], error = compared(expected, answer(case, inputs), changes)
            errors.append(error)
        except Exception as error:
            outcome[case] = f"does not run: {brief(error)}"
    return {"cases": outcome, "worst": max(errors, default=None), "changes": sorted(changes)}


def answers_of(path: Path, names: list[str], changes: set[str]) -> Callable[[str, Tensors], Tensors]:
    """What gives an artifact's answer to a case."""
    if path.suffix == ".npz":
        recorded = dict(np.load(path))
        return lambda case, _: recall(recorded, case, names)
    artifact: Artifact = SavedArtifact(path) if path.is_dir() else LiteArtifact(path)
    return lambda _, inputs: artifact.run(matched(artifact, inputs, changes))


def recall(recorded: Tensors, case: str, names: list[str]) -> Tensors:
    """What a module answered, by the names of the outputs in its order.

    Raises:
        RuntimeError: If it gave an error instead.
    """
    if f"{case}/error" in recorded:
        raise RuntimeError(str(recorded[f"{case}/error"]))
    found = [recorded[f"{case}/{index}"] for index in range(len(recorded)) if f"{case}/{index}" in recorded]
    return {names[i] if i < len(names) else str(i): array for i, array in enumerate(found)}


def brief(error: Exception) -> str:
    """The beginning of a message."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]


def main() -> None:
    """Judge: MODEL.onnx ARTIFACT CASES.npz, whose keys are CASE/INPUT."""
    model, path, file = map(Path, sys.argv[1:])
    cases: dict[str, Tensors] = {}
    for key, array in np.load(file).items():
        case, _, name = key.partition("/")
        cases.setdefault(case, {})[name] = array
    print(json.dumps(judge(model, path, cases)))


if __name__ == "__main__":
    main()
