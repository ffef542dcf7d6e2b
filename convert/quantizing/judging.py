"""The gate of a result of lower precision: what it loses against the source in float, and what it must not lose.

*Fair* inputs are those that the precision was made for: the held-out samples where ranges were calibrated, seeded and
the user's own ones otherwise. They judge the loss. Seeded inputs say nothing about a calibrated model's loss, since
noise leaves the ranges of real data; on them its runtime has to compute what the model means, no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xport.convert.expectation import Expectation
from xport.convert.gate import GateResult, as_source, run_candidate
from xport.convert.workers import Workers
from xport.errors import ParityError, XportError
from xport.formats import Format
from xport.validate.forms import torch_form
from xport.validate.losses import Answer, equally_coarse, judge_loss
from xport.validate.parity import judge
from xport.validate.precision import LEAST, Precision
from xport.validate.verdicts import OutputVerdict, Tolerance
from xport.worker import Worker

Tensors = dict[str, np.ndarray]
Meanings = Sequence[tuple[Tensors, Tensors] | str]

_MEANING = "xport.validate.torch_precision:meaning_and_rounding"


@dataclass(frozen=True)
class Standard:
    """By what a result is judged.

    Attributes:
        precision: The result's.
        least_db: What must be left of the signal.
        reduces: Whether the source is more precise; where it is as coarse, nothing may be lost.
        tolerance: The user's own limits.
    """

    precision: Precision
    least_db: float
    reduces: bool = True
    tolerance: Tolerance | None = None


def prove_reduced(
    fair: Expectation,
    seeded: Expectation | None,
    result: Path,
    target: Format,
    standard: Standard,
    workers: Workers,
    worker: Worker,
) -> GateResult:
    """Judge a result of lower precision.

    Args:
        fair: What the source answers to the inputs that the result is made for.
        seeded: What it answers to others; None if there are none.
        result: The result.
        target: Its format.
        standard: By what to judge.
        workers: The processes that find out what the result means.
        worker: The one to run the result in.

    Returns:
        What was found, in the outputs' order.
    """
    sides = [side for side in (fair, seeded) if side is not None]
    answers: list[list[Tensors]] = []
    for side in sides:
        found = run_candidate(side, result, target, worker=worker)
        if isinstance(found, GateResult):
            return found
        answers.append(found)
    cases = [case.inputs for side in sides for case in side.cases]
    meanings, why = _meanings(result, target, fair, cases, standard.precision, workers)
    count = len(fair.cases)
    verdicts = _judge(fair, answers[0], meanings[:count], standard, why)
    if seeded is not None:
        others = _judge(seeded, answers[1], meanings[count:], replace(standard, reduces=False), why, own=True)
        verdicts = [_worse(one, other) for one, other in zip(verdicts, others, strict=True)]
    if not standard.reduces:
        verdicts = _for_replays(verdicts, fair, answers[0], meanings, standard, why)
    return GateResult(target, (), tuple(verdicts))


def _for_replays(
    verdicts: Sequence[OutputVerdict],
    fair: Expectation,
    actual: Sequence[Tensors],
    meanings: Meanings,
    standard: Standard,
    why: str,
) -> list[OutputVerdict]:
    """Verdicts that a replay can repeat: one without a floor carries what is left of the source's numbers instead."""
    losses = _judge(fair, actual, meanings, replace(standard, reduces=True), why)
    return [replace(v, loss=each.loss) if v.rule == "table" else v for v, each in zip(verdicts, losses, strict=True)]


def _worse(fair: OutputVerdict, seeded: OutputVerdict) -> OutputVerdict:
    if seeded.passed or not fair.passed:
        return fair
    return replace(fair, verdict="failed", rule=seeded.rule, reason=f"With seeded inputs: {seeded.reason}")


def _judge(
    side: Expectation, actual: Sequence[Tensors], meanings: Meanings, standard: Standard, why: str, *, own: bool = False
) -> list[OutputVerdict]:
    wide = side.reference or side.outputs
    plain = judge(
        side.outputs,
        actual,
        side.reference or None,
        tolerance=standard.tolerance,
        names=[case.name for case in side.cases],
        no_reference=side.no_reference,
    )
    rows = [
        _answer(want, have, meaning, same=not standard.reduces and not own)
        for want, have, meaning in zip(wide, actual, meanings or [""] * len(wide), strict=True)
    ]
    least = LEAST[standard.precision.name]
    return judge_loss(
        plain,
        rows,
        standard.precision,
        reduces=standard.reduces,
        least_db=standard.least_db,
        least_top1=least.top1,
        why=why,
    )


def _answer(expected: Tensors, actual: Tensors, meaning: tuple[Tensors, Tensors] | str, *, same: bool) -> Answer:
    if isinstance(meaning, str):
        return Answer(expected, actual)
    meant, rounded = meaning
    if not same:
        return Answer(expected, actual, meant, rounded)
    return equally_coarse(expected, actual, meant, rounded)


def _meanings(
    result: Path,
    target: Format,
    side: Expectation,
    cases: Sequence[Tensors],
    precision: Precision,
    workers: Workers,
) -> tuple[Meanings, str]:
    """What the result means on every set, or why that cannot be had."""
    folder = result.parent / "meaning"
    folder.mkdir(exist_ok=True)
    source = as_source(result, target, side.signature)
    try:
        form = torch_form(source, side.signature, folder, workers)
        found: Any = workers.call("torch", _MEANING, form, side.signature, precision.arithmetic, list(cases))
    except XportError as error:
        workers.replace("torch")
        return (), f"its meaning cannot be had: {next(iter(error.message.splitlines()), '')[:200]}"
    lacking = next((each for each in found if isinstance(each, str)), "")
    return found, lacking[:200] if all(isinstance(each, str) for each in found) else ""


def loss_error(found: GateResult, precision: str) -> ParityError:
    """The error of a result that lost too much, or computes something else."""
    lines = [*found.problems, *(f"{v.output}: {v.reason}" for v in found.verdicts if not v.passed)]
    return ParityError(
        f"The {precision} {found.format.value} is not good enough:\n" + "\n".join(f"  {line}" for line in lines),
        "Calibrate with more and more typical data, keep sensitive layers in float with --keep-float, let xport find "
        "them with --until sqnr=30, or use --dtype float16."
        if precision == "int8"
        else "Keep sensitive layers in float with --keep-float, or convert in float32.",
    )
