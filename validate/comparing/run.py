"""A comparison in order: the source is read, contenders are made, measured side by side, and started anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xport.convert.api import read_signature
from xport.convert.source import Source
from xport.convert.workers import Workers
from xport.errors import DeviceError, UsageError
from xport.signature import Signature
from xport.validate.comparing.contenders import Contender
from xport.validate.comparing.making import Made, Maker, one_line
from xport.validate.comparing.ranking import rank
from xport.validate.comparing.results import CompareReport, Outcome, Standing, StartUp
from xport.validate.comparing.starting import Settings, Starter, start_all
from xport.validate.matrix import run as matrix
from xport.validate.matrix import surroundings
from xport.validate.matrix.answers import Answers
from xport.validate.matrix.sets import batch_sizes, user_sets
from xport.validate.results import Cell, Status, ValidationReport

_WRONG = (Status.FAILED, Status.INTERFACE)
_LIVE = "a live module exists only in this process, whose start and memory are not the model's"


@dataclass(frozen=True)
class Plan:
    """What the user asked for; see `xport.validate.comparing.api.compare`.

    Attributes:
        given: The source as it was named.
        source: The same, opened.
        contenders: Who takes part, in the report's order.
        convert: What conversions are told.
        matrix: How the contenders are measured.
        starts: How often each is started.
        folder: Where the artifacts go.
        scratch: For what is removed again.
        kept: Whether the artifacts stay.
        tell: Told in a few words what begins.
    """

    given: Any
    source: Source
    contenders: tuple[Contender, ...]
    convert: dict[str, Any]
    matrix: matrix.Plan
    starts: int
    folder: Path
    scratch: Path
    kept: bool = False
    tell: Callable[[str], None] = field(default=lambda _: None)


def run(plan: Plan) -> CompareReport:
    """Compare a model with itself on other runtimes.

    Args:
        plan: What the user asked for.

    Returns:
        The report.

    Raises:
        UsageError: If the model cannot be read, or does not take such a batch or such inputs.
        XportError: If the model itself does not run.
    """
    _check(plan, _interface(plan))
    maker = Maker(plan.given, plan.source, plan.convert, plan.folder)
    made = [maker.make(contender, plan.tell) for contender in plan.contenders]
    own = next(m for m in made if _is_source(m, plan.source))
    subjects = [m.subject for m in (own, *(m for m in made if m is not own)) if m.subject is not None]
    answers: list[Answers] = []
    validation = matrix.run(subjects, replace(plan.matrix, tell=plan.tell, answered=answers.append))
    start_ups = _start(plan, made, validation, answers[0])
    standings = tuple(_standing(each, each is own, validation, start_ups) for each in made)
    batches = dict.fromkeys(cell.batch for cell in validation.cells)
    rankings = (rank(standings, batch) for batch in batches)
    return CompareReport(
        model=plan.source.name,
        device=plan.matrix.devices[0],
        standings=standings,
        rankings=tuple(ranking for ranking in rankings if ranking is not None),
        validation=validation,
        kept=str(plan.folder) if plan.kept else "",
    )


def _interface(plan: Plan) -> Signature:
    plan.tell(f"reading {plan.source.name}")
    with Workers(verbose=plan.matrix.verbose) as workers:
        return read_signature(plan.source, workers)


def _check(plan: Plan, signature: Signature) -> None:
    """Refuse batch sizes, inputs and devices that do not fit before minutes are spent on conversions."""
    if plan.matrix.input_data is not None:
        user_sets(plan.matrix.input_data, signature, plan.matrix.batches)
    else:
        batch_sizes(signature, plan.matrix.batches)
    if "cuda" in plan.matrix.devices and not surroundings.cuda_devices():
        raise DeviceError("This machine has no CUDA device.", "Use --device cpu.")


def _is_source(made: Made, source: Source) -> bool:
    return made.contender.format is source.format and not made.contender.compiled


def _start(plan: Plan, made: Sequence[Made], validation: ValidationReport, answers: Answers) -> dict[str, StartUp]:
    """Start everybody who ran, on the first inputs of the measurement."""
    if not plan.starts:
        return {}
    if plan.source.live:
        made = [each for each in made if each.contender.format is not plan.source.format]
    infos = {info.name: info for info in validation.artifacts}
    ran = {cell.artifact for cell in validation.cells if cell.latency is not None}
    inputs = answers.sets[0].case.inputs
    starters = []
    for each in made:
        subject = each.subject
        if subject is None or subject.name not in ran:
            continue
        info = infos[subject.name]
        known = replace(subject, source=replace(subject.source, interface=info.signature))
        starters.append(Starter(known, {info.names.get(name, name): array for name, array in inputs.items()}))
    settings = Settings(
        plan.matrix.devices[0], plan.matrix.threads or 1, plan.matrix.timeout, plan.matrix.verbose, plan.scratch
    )
    return start_all(starters, plan.starts, settings, plan.tell)


def _standing(made: Made, is_source: bool, validation: ValidationReport, start_ups: dict[str, StartUp]) -> Standing:
    subject = made.subject
    plain = {"route": made.route, "convert_seconds": made.seconds}
    if subject is None:
        return Standing(made.contender, made.outcome, made.reason, **plain)  # type: ignore[arg-type]
    cells = tuple(cell for cell in validation.cells if cell.artifact == subject.name)
    outcome, reason = _outcome(cells, is_source=is_source)
    start_up = start_ups.get(subject.name, StartUp(reason=_LIVE) if subject.source.live else None)
    return Standing(
        made.contender,
        outcome,
        reason,
        route=made.route,
        convert_seconds=made.seconds,
        size=subject.size,
        start_up=start_up,
        cells=cells,
    )


def _outcome(cells: Sequence[Cell], *, is_source: bool) -> tuple[Outcome, str]:
    """What all cells of a contender come to: wrong numbers anywhere are wrong numbers."""
    for statuses, outcome in ((_WRONG, Outcome.WRONG), (None, Outcome.NOT_RUN)):
        for cell in cells:
            bad = cell.status in statuses if statuses else cell.status not in (Status.REFERENCE, Status.PASSED)
            if bad:
                return outcome, one_line(f"{cell.place}: {cell.status.value}: {cell.reason}")
    return (Outcome.SOURCE if is_source else Outcome.SAME), ""


def refuse_url(given: Any) -> None:
    """Say what to use for a model behind an endpoint, which has no weights to convert.

    Raises:
        UsageError: If a URL is given.
    """
    if isinstance(given, str) and "://" in given:
        raise UsageError(f"{given} is an endpoint; its weights cannot be moved.", f"Measure it: xport probe {given}")
