"""Both sides made ready: the artifacts answer, and their ONNX forms are traced on the same inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xport.convert.api import convert
from xport.convert.source import ZOO_PREFIX, Source
from xport.convert.workers import Workers
from xport.errors import UnsupportedError, UsageError, XportError, XportWarning
from xport.formats import Format
from xport.signature import Signature
from xport.validate.bisection.matching import Side
from xport.validate.bisection.tracing import HERE
from xport.validate.bisection.trunk import Trunk
from xport.validate.bounds import find_bounds, random_output
from xport.validate.inputs import batch_symbol
from xport.validate.matrix.answers import Answers, answer
from xport.validate.matrix.lane import Lane
from xport.validate.matrix.matching import Matching as Names
from xport.validate.matrix.matching import check_mapped, match
from xport.validate.matrix.sets import InputSet, ladders, user_sets
from xport.validate.matrix.subjects import Subject
from xport.validate.parity import judge
from xport.validate.verdicts import OutputVerdict

Tensors = dict[str, np.ndarray]
Tell = Callable[[str], None]

_BATCH = 2
_LARGEST_TRACE = 4_000_000_000
_TORCH_FAMILY = (Format.PYTORCH, Format.TORCHSCRIPT, Format.EXPORTED)


@dataclass(frozen=True)
class Answered:
    """What both artifacts answer through their own runtimes.

    Attributes:
        signature: The reference's.
        names: The other's names by the reference's.
        inputs: The set of inputs on which they are furthest apart, under the reference's names.
        expected: The reference's outputs on it.
        actual: The other's, under the reference's names.
        wide: The reference's in float64; None if that cannot be had.
        no_wide: Why not.
        verdicts: One an output, over all sets.
    """

    signature: Signature
    names: Names
    inputs: InputSet
    expected: Tensors
    actual: Tensors
    wide: Tensors | None
    no_wide: str
    verdicts: tuple[OutputVerdict, ...]


def ask(
    subjects: Sequence[Subject],
    *,
    mapped: Mapping[str, str],
    input_data: Any,
    seed: int,
    timeout: float | None,
    verbose: bool,
    tell: Tell,
) -> Answered:
    """Have both artifacts answer through their own runtimes.

    Args:
        subjects: The reference and the other.
        mapped: The other's names by the reference's, as the user gave them.
        input_data: The user's own inputs; None for seeded ones.
        seed: For the inputs that are drawn.
        timeout: Seconds a request.
        verbose: Let the frameworks' messages through.
        tell: Told in a few words what begins.

    Returns:
        The answers, and the set of inputs to look into.

    Raises:
        UsageError: If the signatures do not match, an artifact is random by itself, or inputs do not fit.
        XportError: If an artifact does not run.
    """
    lanes = [Lane(s, "cpu", threads=None, timeout=timeout, verbose=verbose) for s in subjects]
    try:
        tell(f"opening {subjects[0].name} and {subjects[1].name}")
        signature, theirs = lanes[0].signature, lanes[1].signature
        check_mapped(mapped, signature, {subjects[1].name: theirs})
        names = match(subjects[0], signature, subjects[1], theirs, mapped)
        if names.problem:
            raise UsageError(
                f"{subjects[1].name} has another interface than {subjects[0].name}: {names.problem}",
                "Bisection needs the same inputs on both sides.",
            )
        _refuse_strings(subjects[0], signature)
        choices = _choices(subjects[0], signature, input_data, seed, verbose)
        with Workers(verbose=verbose) as workers:
            answers = answer(lanes[0], signature, choices, workers, yours=input_data is not None, tell=tell)
        tell(f"running {subjects[1].name}")
        outputs = [names.receive(lanes[1].run(names.send(each.case.inputs))) for each in answers.sets]
        again = names.receive(lanes[1].run(names.send(answers.sets[0].case.inputs)))
        _refuse_random(subjects[1], outputs[0], again)
    finally:
        for lane in lanes:
            lane.close()
    return _worst(answers, names, outputs)


def _refuse_strings(subject: Subject, signature: Signature) -> None:
    for spec in (*signature.inputs, *signature.outputs):
        if spec.dtype == "string":
            raise UnsupportedError(
                f"{subject.name} takes or gives strings ({spec}), which have no rounding to bisect by.",
                "Compare it with xport validate, which wants strings to be equal.",
            )


def _refuse_random(subject: Subject, first: Tensors, second: Tensors) -> None:
    name = random_output(first, second)
    if name is not None:
        raise UsageError(
            f"{subject.name} is random by itself: output {name!r} differs between two runs on the same inputs.",
            "Turn off what draws random numbers (dropout, sampling) before saving it; model.eval() does for dropout.",
        )


def _choices(subject: Subject, signature: Signature, input_data: Any, seed: int, verbose: bool) -> list[list[InputSet]]:
    if input_data is not None:
        return [user_sets(input_data, signature, ())]
    with Workers(verbose=verbose) as workers:
        bounds = find_bounds(subject.source, signature, lambda *asked: workers.call("torch", *asked))
    batches = [_BATCH if batch_symbol(signature) is not None else None]
    found = ladders(signature, batches, seed=seed, bounds=bounds)
    return [[each for each in sets if not each.is_edge] for sets in found]


def _worst(answers: Answers, names: Names, outputs: Sequence[Tensors]) -> Answered:
    labels = [each.case.name for each in answers.sets]
    verdicts = judge(answers.outputs, outputs, answers.wide or None, names=labels, no_reference=answers.no_wide)
    failed = [verdict for verdict in verdicts if not verdict.passed] or verdicts
    place = labels.index(failed[0].case) if failed and failed[0].case in labels else 0
    wide = answers.wide[place] if answers.wide else None
    return Answered(
        answers.signature,
        names,
        answers.sets[place],
        answers.outputs[place],
        outputs[place],
        wide,
        answers.no_wide,
        tuple(verdicts),
    )


def form(source: Source, folder: Path, *, verbose: bool) -> Path:
    """The ONNX form of an artifact, unproven: `runtime_differences` compares it with the artifact itself.

    Args:
        source: The artifact.
        folder: Where to write.
        verbose: Let the frameworks' messages through.

    Returns:
        An ONNX file; the artifact's own if it is one.

    Raises:
        UnsupportedError: If an operator has no ONNX form.
        ConversionError: If no route leads to ONNX.
    """
    if source.format is Format.ONNX and source.path is not None:
        return source.path
    target = folder / "form.onnx"
    given: Any = source.module if source.live else source.path or f"{ZOO_PREFIX}{source.zoo}"
    options: dict[str, Any] = {"arch": source.arch, "trust_pickle": source.trust_pickle}
    if source.format in _TORCH_FAMILY:
        options |= {"inputs": source.inputs, "output_names": source.output_names}
        options["example_inputs"] = source.example_inputs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XportWarning)  # what a form lacks as an artifact does not matter here
        convert(given, Format.ONNX, target, verify=False, verbose=verbose, **options)
    return target


def trace(trunk: Trunk, inputs: Mapping[str, np.ndarray], workers: Workers, *, wide: bool) -> tuple[Side, str]:
    """Compute every value of a form.

    Args:
        trunk: The form.
        inputs: Arrays by the form's input names.
        workers: Where to run.
        wide: Compute it in float64 too.

    Returns:
        The side, and why there is no float64 result (empty if there is one, or none was wanted).

    Raises:
        XportError: If ONNX Runtime does not run the form.
    """
    wanted = [name for name in trunk.values if name not in trunk.inputs]
    content = trunk.model.SerializeToString()
    given = {name: np.asarray(inputs[name]) for name in trunk.inputs}
    values: Tensors = workers.call("onnxruntime", f"{HERE}:run_onnx", content, given, wanted)
    if sum(array.nbytes for array in values.values()) > _LARGEST_TRACE:
        raise UnsupportedError(
            f"The values in between take more than {_LARGEST_TRACE / 1e9:.0f} GB on these inputs.",
            "Give smaller ones with --inputs file.npz.",
        )
    values = {**given, **values}
    deep, why = {name: array.astype(np.float64) for name, array in given.items() if array.dtype.kind == "f"}, ""
    if not wide:
        return Side(trunk, values, {}), ""
    try:
        floats = [name for name in wanted if name in values and values[name].dtype.kind == "f"]
        deep |= workers.call("torch", f"{HERE}:run_wide", content, given, floats)
    except XportError as error:
        workers.replace("torch")
        deep, why = {}, next(iter(error.message.splitlines()), "")[:200]
    return Side(trunk, values, deep), why


def judged_by_form(answered: Answered, reference: Side) -> Answered:
    """The verdicts on the outputs by the float64 run of the reference's form, which is known to answer like it.

    Args:
        answered: What both answered, judged without a float64 result of the artifact itself.
        reference: The reference's form.

    Returns:
        The same with that float64 result; unchanged if the form has none.
    """
    if any(name not in reference.wide for name, array in answered.expected.items() if array.dtype.kind in "fc"):
        return answered
    wide = {name: reference.wide.get(name, array) for name, array in answered.expected.items()}
    label = [answered.inputs.case.name]
    verdicts = judge([answered.expected], [answered.actual], [wide], names=label)
    return replace(answered, wide=wide, no_wide="", verdicts=tuple(verdicts))


def runtime_difference(subject: Subject, own: Tensors, side: Side, names: Mapping[str, str], answered: Answered) -> str:
    """Whether an artifact answers otherwise than its ONNX form.

    The difference is judged as if the reference erred by as much: a faulty form has no float64 result of its own.

    Args:
        subject: The artifact.
        own: What it answers through its own runtime, under the reference's names.
        side: Its form, traced on the same inputs.
        names: Its output names by the reference's.
        answered: What both answered.

    Returns:
        What differs, in a sentence; empty if nothing does.
    """
    expected, moved = {}, {}
    for name, theirs in names.items():
        if theirs in side.values:
            expected[name] = answered.expected[name]
            moved[name] = _moved(answered.expected[name], own[name], side.values[theirs])
    for verdict in judge(expected, moved, answered.wide, no_reference=answered.no_wide):
        if not verdict.passed:
            return f"{subject.name} gives another {verdict.output} than its ONNX form in ONNX Runtime: {verdict.reason}"
    return ""


def _moved(expected: np.ndarray, own: np.ndarray, formed: np.ndarray) -> np.ndarray:
    """The reference's output, further away by as much as an artifact is from its form."""
    if own.shape != formed.shape or own.shape != expected.shape:
        return own
    same = (own == formed) | (np.not_equal(own, own) & np.not_equal(formed, formed))
    if expected.dtype.kind not in "fc":
        return np.where(same, expected, own).astype(expected.dtype)
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0, own - formed)
        return np.asarray(expected + difference).astype(expected.dtype)
