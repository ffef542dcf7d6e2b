"""The verdict on a candidate of lower precision: what it is meant to lose, apart from what it is not.

* *Intended*: what the candidate means (`xport.validate.torch_precision`) against the reference in float64. It is
  judged by what is left of the signal and of the decisions (`xport.validate.precision.LEAST`), and by whether
  an answer is never given any more (`xport.validate.collapse`).
* *Unintended*: what the runtime answers against what the candidate means, in units of the rounding of the candidate's
  own arithmetic, as `xport.validate.floor` judges any conversion.

Where a meaning cannot be had, the whole difference is judged as the loss, and the verdict says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xport.signature import dtype_name
from xport.validate.collapse import collapse
from xport.validate.figures import Figures, measure, rms, to_float64
from xport.validate.floor import LOCAL_LIMIT, FloorVerdict, case_errors, judge_floor
from xport.validate.parity import TABLE
from xport.validate.precision import LEAST, Least, Precision
from xport.validate.verdicts import Loss, OutputVerdict

Tensors = Mapping[str, np.ndarray]

_BY_CHANCE = 0.001
_MANY, _DEVIATIONS = 200, 3.09  # of so many rows the binomial distribution is normal; that share lies beyond so many
_TRUSTED_ROUNDING = 0.5  # more than that is no rounding of a signal


@dataclass(frozen=True)
class Answer:
    """One set of inputs: what the reference, the candidate and its meaning answer, by the reference's names.

    Attributes:
        expected: The reference in float64 where that can be had, otherwise in its own precision.
        actual: The candidate.
        meant: What the candidate means; None if that cannot be had.
        rounded: What it means with the rounding of its own arithmetic.
    """

    expected: Tensors
    actual: Tensors
    meant: Tensors | None = None
    rounded: Tensors | None = None


def equally_coarse(expected: Tensors, actual: Tensors, meant: Tensors, rounded: Tensors) -> Answer:
    """The answers of a candidate whose reference is as coarse as itself, so that nothing may be lost.

    The reference itself is what it has to mean, rounded as its own arithmetic rounds.
    """
    moved = {name: _moved(want, rounded[name], meant[name]) for name, want in expected.items()}
    return Answer(expected, actual, expected, moved)


def _moved(wanted: np.ndarray, rounded: np.ndarray, meant: np.ndarray) -> np.ndarray:
    return wanted + (rounded.astype(np.float64) - meant) if wanted.dtype.kind == "f" else wanted


def judge_loss(
    verdicts: Sequence[OutputVerdict],
    answers: Sequence[Answer],
    precision: Precision,
    *,
    reduces: bool = True,
    least_db: float | None = None,
    least_top1: float = 0.0,
    why: str = "",
) -> list[OutputVerdict]:
    """Judge a candidate of lower precision.

    Args:
        verdicts: What `xport.validate.parity.judge` says of it, with the figures against the reference.
        answers: The sets, in the order of the verdicts' cases.
        precision: The candidate's.
        reduces: Whether something may be lost: not where the reference is as coarse, and on edge sets nobody calibrated
            for only the unintended part counts.
        least_db: The user's own limit instead of the table's.
        least_top1: The share of decisions that must stay beside it.
        why: Why there is no meaning, if there is none.

    Returns:
        The verdicts; those of the structure, of equal outputs and by the user's own tolerance stay.
    """
    least = LEAST[precision.name] if least_db is None else Least(least_db, least_top1)
    found = []
    for verdict in verdicts:
        structure = verdict.rule == "structure" and (reduces or not _comparable(verdict.output, answers))
        if structure or _is_text(verdict.output, answers):
            found.append(verdict)
            continue
        loss = _loss(verdict.output, answers, precision, least, why) if reduces else None
        if verdict.rule == "tolerance" or verdict.verdict == "exact":
            found.append(replace(verdict, loss=loss))
        elif loss is not None and not loss.passed:
            found.append(replace(verdict, verdict="failed", rule="loss", reason=loss.reason, loss=loss, **_NO_FLOOR))
        else:
            found.append(_beyond(verdict, answers, precision, loss, why))
    return found


_NO_FLOOR: dict[str, Any] = {"ratio": None, "limit": None, "floor": None}


def _is_text(output: str, answers: Sequence[Answer]) -> bool:
    return any(output in a.expected and a.expected[output].dtype.kind in "OSUT" for a in answers)


def _comparable(output: str, answers: Sequence[Answer]) -> bool:
    """Whether only NaN or Inf differ, which an arithmetic of a small range may have beyond it."""
    pairs = [(a.expected.get(output), a.actual.get(output)) for a in answers]
    return all(w is not None and f is not None and w.shape == f.shape and f.dtype.kind == "f" for w, f in pairs)


def _loss(output: str, answers: Sequence[Answer], precision: Precision, least: Least, why: str) -> Loss:
    """What is lost, by intention or altogether."""
    meant = [(a.meant or a.actual)[output] for a in answers]
    wanted = [a.expected[output] for a in answers]
    left, total = sqnr(wanted, meant), sqnr(wanted, [a.actual[output] for a in answers])
    loss = Loss(precision.name, left, total, least.sqnr_db, 0, 0, least.top1, no_meaning=why)
    whose = f"The {precision.name} model itself" if not why else f"The {precision.name} model as it runs here ({why})"
    return decide(loss, wanted, meant, whose)


def decide(loss: Loss, wanted: Sequence[np.ndarray], found: Sequence[np.ndarray], whose: str) -> Loss:
    """Say whether enough is left.

    Args:
        loss: What is left of the signal, and what must be.
        wanted: What was expected; one array a set.
        found: What came.
        whose: What the reason is to begin with.

    Returns:
        The loss with its decisions, and the reason if too much is lost.
    """
    figures = [measure(w, f) for w, f in zip(wanted, found, strict=True)]
    rows, flips = _decisions(wanted, found, figures)
    loss = replace(loss, rows=rows, flips=flips)
    share = 1 - loss.least_top1
    lost = sum(int(np.sum(_finite(w) & ~_finite(f))) for w, f in zip(wanted, found, strict=True))
    if lost:
        reason = f"{whose} gives NaN or Inf in {lost} values where the reference is finite."
    elif not _is_discrete(wanted[0]) and loss.sqnr_db < loss.least_db:
        reason = f"{whose} keeps {loss.sqnr_db:.1f} dB of the reference, expected at least {loss.least_db:.3g} dB."
    elif rows and _unlikely(rows, flips, share):
        reason = f"{whose} decides otherwise in {flips} of {rows} cases, expected at most {share:.0%}."
    elif collapsed := collapse(wanted, found, share, _unlikely):
        reason = f"{whose} has collapsed. {collapsed}"
    else:
        return loss
    return replace(loss, passed=False, reason=reason)


def _finite(array: np.ndarray) -> np.ndarray:
    finite: np.ndarray = np.isfinite(to_float64(array))
    return finite


def sqnr(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """Signal to noise over all sets in decibels, each set relative to its own signal.

    Args:
        wanted: What was expected; one array a set.
        found: What came; only what is finite on both sides counts.

    Returns:
        Infinity where nothing differs.
    """
    squares, count = 0.0, 0
    for want, have in zip(wanted, found, strict=True):
        if want.dtype.kind in "OSUT" or want.shape != have.shape:
            continue
        left, right = to_float64(want), to_float64(have)
        finite = np.isfinite(left) & np.isfinite(right)  # what is not is judged by itself
        error, scale = rms(left[finite] - right[finite]), rms(left[finite])
        squares += int(finite.sum()) * (error / scale if scale else float(error > 0)) ** 2
        count += int(finite.sum())
    return math.inf if squares == 0 else -10 * math.log10(squares / count)


def _decisions(
    wanted: Sequence[np.ndarray], found: Sequence[np.ndarray], figures: Sequence[Figures]
) -> tuple[int, int]:
    """How many decisions there are, and how many differ: rows of classes, or every whole number."""
    if _is_discrete(wanted[0]):
        return sum(w.size for w in wanted), sum(int(np.sum(w != f)) for w, f in zip(wanted, found, strict=True))
    judged = [
        (w.size // max(w.shape[-1], 1), f.flips) for w, f in zip(wanted, figures, strict=True) if f.top1 is not None
    ]
    return sum(rows for rows, _ in judged), sum(flips for _, flips in judged)


def _is_discrete(array: np.ndarray) -> bool:
    return array.dtype.kind in "biu"


def _unlikely(rows: int, flips: int, share: float) -> bool:
    """Whether that many flips are more than chance makes of a share."""
    if flips <= share * rows:
        return False
    if rows > _MANY:
        return flips - 0.5 - share * rows > _DEVIATIONS * math.sqrt(rows * share * (1 - share))
    return sum(math.comb(rows, k) * share**k * (1 - share) ** (rows - k) for k in range(flips, rows + 1)) < _BY_CHANCE


def _beyond(
    verdict: OutputVerdict, answers: Sequence[Answer], precision: Precision, loss: Loss | None, why: str
) -> OutputVerdict:
    """The unintended part."""
    output, told = verdict.output, f"{_words(loss)} " if loss is not None else ""
    triples = [(a.rounded[output], a.actual[output], a.meant[output]) for a in answers if a.meant and a.rounded]
    if not triples:
        reason = told.strip() or f"Not judged: {why or 'its meaning does not run there'}."
        return replace(verdict, verdict="faithful", rule="loss", reason=reason, loss=loss, **_NO_FLOOR)
    if _is_discrete(triples[0][1]):
        rows, flips = _decisions([m for _, _, m in triples], [a for _, a, _ in triples], [])
        passed = not _unlikely(rows, flips, 1 - LEAST[precision.name].top1)
        reason = f"{told}{flips} of {rows} values differ from what the {precision.name} model means."
        return replace(verdict, verdict="faithful" if passed else "failed", rule="loss", reason=reason, loss=loss)
    fits = [_fitting(*triple) for triple in triples]
    if any(fit is not None and not _finite(fit[1])[_finite(fit[2])].all() for fit in fits):
        reason = f"NaN or Inf where what the {precision.name} model means is finite, also in its own arithmetic."
        return replace(verdict, verdict="failed", rule="structure", reason=reason, loss=loss, **_NO_FLOOR)
    errors = [case_errors(*fit) for fit in fits if fit is not None]
    measured = [e for e in errors if e is not None]
    if len(measured) < len(triples):
        enough = loss is None or loss.total_db >= loss.least_db
        reason = f"{told}Beyond the range of {precision.name}: its own arithmetic is not finite there either."
        reason += "" if loss is None else f" As it runs, {loss.total_db:.1f} dB are left."
        word = "faithful" if enough else "failed"
        return replace(verdict, verdict=word, rule="loss", reason=reason, loss=loss, **_NO_FLOOR)
    floor = judge_floor(measured, 1.0)
    if all(e.same for e in measured) or floor.floor > _TRUSTED_ROUNDING:
        return _by_table(verdict, triples, precision, loss)
    return _by_floor(verdict, floor, precision, loss)


def _fitting(
    rounded: np.ndarray, actual: np.ndarray, meant: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """One set for the floor: None where the arithmetic itself leaves its range, as float16 does beyond 65504."""
    own = rounded.astype(actual.dtype)
    return (own, actual, meant) if (_finite(own) | ~_finite(meant)).all() else None


def _words(loss: Loss) -> str:
    kept = "" if not loss.rows else f", {1 - loss.flips / loss.rows:.0%} of the decisions"
    left = "everything" if math.isinf(loss.sqnr_db) else f"{loss.sqnr_db:.1f} dB"
    note = f" ({loss.no_meaning}; its whole difference was judged)" if loss.no_meaning else ""
    return f"{loss.precision} keeps {left}{kept}{note}."


def _by_floor(verdict: OutputVerdict, floor: FloorVerdict, precision: Precision, loss: Loss | None) -> OutputVerdict:
    worst = floor.worst_case
    told = f"{_words(loss)} " if loss is not None else ""
    what = f"the rounding of {precision.name} arithmetic"
    measured: dict[str, Any] = {"ratio": floor.ratio, "limit": floor.limit, "floor": floor.floor}
    if floor.ratio > floor.limit:
        wrong = f"{floor.ratio:.1f} times {what}, more than {floor.limit:.1f}"
    elif floor.case_ratios[worst] > floor.case_limits[worst]:
        wrong = f"{floor.case_ratios[worst]:.1f} times {what} in one set, more than {floor.case_limits[worst]:.1f}"
    elif floor.local_ratio > LOCAL_LIMIT:
        wrong = f"a local defect, {floor.local_ratio:.1f} times the largest of {what}, more than {LOCAL_LIMIT:.0f}"
    elif loss is not None and loss.total_db < loss.least_db:
        wrong = f"{loss.total_db:.1f} dB are left of the reference, expected at least {loss.least_db:g} dB"
    else:
        reason = f"{told}Beyond that {floor.ratio:.2f} times {what}."
        return replace(verdict, verdict="faithful", rule="floor", reason=reason, loss=loss, **measured)
    reason = f"The runtime does not compute what the {precision.name} model says: {wrong}. {told}".strip()
    return replace(verdict, verdict="failed", rule="floor", reason=reason, loss=loss, **measured)


def _by_table(
    verdict: OutputVerdict,
    triples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    precision: Precision,
    loss: Loss | None,
) -> OutputVerdict:
    """Where its own rounding tells nothing: as far off as the dtype table allows."""
    allowed = TABLE.get(precision.name, 0.25)
    needed = max(measure(meant, actual).smallest_tolerance for _, actual, meant in triples)
    passed = needed <= allowed
    told = f"{_words(loss)} " if loss is not None else ""
    dtype = dtype_name(triples[0][1].dtype)
    reason = (
        f"{told}Beyond that it needs a tolerance of {needed:.1e}, {'within' if passed else 'more than'} the "
        f"{allowed:.0e} for {precision.name} (its own rounding of {dtype} could not be measured)."
    )
    return replace(
        verdict, verdict="faithful" if passed else "failed", rule="table", reason=reason, loss=loss, **_NO_FLOOR
    )
