"""What the reference answers on the CPU: in its own precision, and in float64 where that can be had."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xport.convert.expectation import trust
from xport.convert.source import Source
from xport.convert.workers import Workers
from xport.errors import InputsError, MissingRuntimeError, UsageError, WorkerError, XportError
from xport.signature import Signature
from xport.validate.bounds import random_output
from xport.validate.forms import torch_form
from xport.validate.matrix.lane import Failure, Lane, failure
from xport.validate.matrix.sets import InputSet
from xport.validate.matrix.subjects import Subject
from xport.validate.reference import reference64
from xport.validate.runners import open_runner

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Answers:
    """Sets of inputs and what the reference answers.

    Attributes:
        signature: The reference's.
        sets: The inputs that it runs on.
        outputs: Its outputs, one mapping a set.
        wide: Its outputs in float64, one mapping a set; empty if they cannot be had.
        no_wide: Why they cannot be had.
        failed: By batch size, why the reference does not run there.
        skipped: Edge sets that the reference does not run on, with the reason.
    """

    signature: Signature
    sets: tuple[InputSet, ...]
    outputs: tuple[Tensors, ...]
    wide: tuple[Tensors, ...]
    no_wide: str
    failed: dict[int | None, Failure]
    skipped: dict[str, str]

    def at(self, batch: int | None, *, edges: bool = False) -> list[int]:
        """Positions of the ordinary sets at a batch size, or of its edge sets."""
        return [i for i, each in enumerate(self.sets) if each.batch == batch and each.is_edge == edges]


def answer(
    lane: Lane,
    signature: Signature,
    choices: Sequence[Sequence[InputSet]],
    workers: Workers,
    *,
    yours: bool,
    tell: Callable[[str], None],
) -> Answers:
    """Run the reference.

    Args:
        lane: The reference on the CPU.
        signature: Its inputs and outputs, as narrowed by the user.
        choices: Lists of sets in order of preference; the first that the reference runs on is taken.
        workers: The processes to compute in, beside the lane's.
        yours: Whether the sets are the user's own.
        tell: Told in a few words what begins.

    Returns:
        The sets with the answers.

    Raises:
        XportError: If the reference runs on none of the choices.
        UsageError: If it is random by itself.
    """
    tell(f"running the reference {lane.subject.name}")
    sets, outputs, failed, skipped = _first_choice(lane, signature, choices, yours=yours)
    name = random_output(outputs[0], lane.run(sets[0].case.inputs))
    if name is not None:
        raise UsageError(
            f"{lane.subject.name} is random by itself: output {name!r} differs between two runs on the same inputs.",
            "Turn off what draws random numbers (dropout, sampling) before saving it; model.eval() does for dropout.",
        )
    tell(f"running the reference {lane.subject.name} in float64")
    wide, why = _run_wide(lane.subject, signature, sets, outputs, workers)
    return Answers(signature, tuple(sets), tuple(outputs), tuple(wide), why, failed, skipped)


_Run = tuple[list[InputSet], list[Tensors], dict[int | None, Failure], dict[str, str]]


def _first_choice(lane: Lane, signature: Signature, choices: Sequence[Sequence[InputSet]], *, yours: bool) -> _Run:
    failures: list[XportError] = []
    for sets in choices:
        try:
            return _run_sets(lane, sets)
        except (MissingRuntimeError, WorkerError):
            raise
        except XportError as error:
            failures.append(error)
    first = failures[0]
    listing = ", ".join(map(str, signature.inputs))
    if yours:
        raise InputsError(f"The reference does not run on your inputs: {first.message}", first.fix) from first
    raise UsageError(
        f"The reference {lane.subject.name} does not run on inputs of its signature, {listing}: {first.message}",
        "Write a number for a dimension that cannot vary, for example --input 'x:float32[batch,3,224,224]', choose "
        "other --batch sizes, or give inputs that it runs on with --inputs file.npz.",
    ) from first


def _run_sets(lane: Lane, sets: Sequence[InputSet]) -> _Run:
    """Run all sets; only the first ones must succeed."""
    kept: list[InputSet] = []
    outputs: list[Tensors] = []
    failed: dict[int | None, Failure] = {}
    skipped: dict[str, str] = {}
    for each in sets:
        if each.batch in failed:
            continue
        try:
            outputs.append(lane.run(each.case.inputs))
            kept.append(each)
        except XportError as error:
            if not kept:
                raise
            if each.is_edge:
                skipped[each.case.name] = failure(error).reason
            elif kept[-1].batch == each.batch and not _died(error):
                continue  # other sizes of another dimension; one setting is enough
            else:
                failed[each.batch] = failure(error)
    return kept, outputs, failed, skipped


def _died(error: XportError) -> bool:
    return isinstance(error, WorkerError) and bool(error.how)


def _run_wide(
    subject: Subject, signature: Signature, sets: Sequence[InputSet], outputs: Sequence[Tensors], workers: Workers
) -> tuple[list[Tensors], str]:
    """The float64 outputs of every set; none and the reason if they cannot be had."""
    source = subject.source
    if source.served is not None:
        return [], "a served model cannot be run in float64"
    try:
        with tempfile.TemporaryDirectory(prefix="xport-") as folder:
            form = torch_form(source, signature, Path(folder), workers)
            runner = reference64(form, signature, worker=None if source.live else workers.get("torch"))
            if runner is None:
                return [], f"nothing here runs {source.format.value} in float64"
            wide = [runner.run(each.case.inputs) for each in sets]
            runner.close()
            why = "" if form is source else _distrust(form, workers, sets, outputs, wide)
            return ([], why) if why else (wide, "")
    except Exception as error:  # a live module's code may raise anything; the dtype table judges instead
        workers.replace("torch")  # it may hold the model still
        reason = error.message if isinstance(error, XportError) else f"{type(error).__name__}: {error}"
        return [], f"the reference does not run in float64: {next(iter(reason.splitlines()), '')[:200]}"


def _distrust(
    form: Source, workers: Workers, sets: Sequence[InputSet], outputs: Sequence[Tensors], wide: Sequence[Tensors]
) -> str:
    """Why the ONNX form of a reference may not be the same model; empty if it is.

    The form in float64 has what reading it into ONNX did to the model. So it is trusted only if the reference is as
    close to it as another runtime is: ONNX Runtime, which rounds the same form.
    """
    ordinary = [i for i, each in enumerate(sets) if not each.is_edge]
    with open_runner(form, worker=workers.get("onnxruntime")) as runner:
        rounded = [runner.run(sets[i].case.inputs) for i in ordinary]
    for output, why in trust([outputs[i] for i in ordinary], rounded, [wide[i] for i in ordinary]).items():
        if why:
            return f"{output}: {why}"
    return ""
