"""The result in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xport.validate.results import Cell, Status, ValidationReport
from xport.validate.verdicts import Loss

TIMES = "\N{MULTIPLICATION SIGN}"


def verdict(report: ValidationReport) -> str:
    """The result of a validation in a few sentences.

    Args:
        report: What was found.

    Returns:
        Whether the artifacts are the same model, what failed, what could not be measured, what got worse.
    """
    sentences = [_numbers(report), *losses(report)]
    absent = [cell for cell in report.cells if cell.status is Status.NO_DEVICE]
    if absent:
        sentences.append(_absent(absent))
    if report.baseline is not None:
        count = len(report.baseline.regressions)
        than = f"than in the run of {report.baseline.created}"
        sentences.append(
            f"{count} {_plural(count, 'thing')} got worse {than}." if count else f"Nothing is worse {than}."
        )
    return " ".join(sentences)


def _numbers(report: ValidationReport) -> str:
    judged = [c for c in report.cells if c.status not in (Status.REFERENCE, Status.NO_DEVICE)]
    if not judged:
        return "Nothing was compared: no cell could run here."
    others = [name for name in dict.fromkeys(cell.artifact for cell in judged) if name != report.reference.name]
    if not report.failures:
        same = listing(others) or report.reference.name
        verb = "is" if len(others) <= 1 else "are"
        return f"{same} {verb} the same model as {report.reference.name}: {_closeness(judged)}"
    failing = dict.fromkeys(cell.artifact for cell in report.failures)
    count = len(report.failures)
    told = "; ".join(f"{name}: {_why(report.failures, name)}" for name in failing)
    return f"{count} of {len(report.cells)} cells failed. {told}."


def losses(report: ValidationReport) -> list[str]:
    """What the artifacts of lower precision lose by intention, a sentence each.

    Args:
        report: What was found.

    Returns:
        One sentence an artifact, of its worst output anywhere.
    """
    worst: dict[str, Loss] = {}
    for cell in report.cells:
        for verdict in cell.outputs:
            loss, known = verdict.loss, worst.get(cell.artifact)
            if loss is not None and (known is None or loss.sqnr_db < known.sqnr_db):
                worst[cell.artifact] = loss
    return [_loss(artifact, loss) for artifact, loss in worst.items()]


def _loss(artifact: str, loss: Loss) -> str:
    if math.isinf(loss.sqnr_db):
        return f"{artifact} is {loss.precision} and loses nothing by that."
    kept = "" if loss.top1 is None else f" and {loss.top1:.0%} of the decisions"
    how = "altogether" if loss.no_meaning else "by intention"
    return f"{artifact} is {loss.precision} and keeps {loss.sqnr_db:.1f} dB of the reference{kept} {how}."


def _closeness(cells: Sequence[Cell]) -> str:
    reduced = [cell for cell in cells if any(verdict.loss for verdict in cell.outputs)]
    if reduced and len(reduced) == len(cells):
        ratios = [cell.worst_ratio for cell in reduced if cell.worst_ratio is not None]
        beyond = f", the largest error {max(ratios):.2f} {TIMES} the rounding of its arithmetic" if ratios else ""
        return f"each computes what its own precision says{beyond}."
    cells = [cell for cell in cells if cell not in reduced]
    if all(v.verdict == "exact" for cell in cells for v in cell.outputs):
        return "every output is equal to the last bit."
    ratios = [cell.worst_ratio for cell in cells if cell.worst_ratio is not None]
    if ratios:
        return f"the largest error is {max(ratios):.2f} {TIMES} the reference's own rounding."
    largest = max((v.figures.max_abs for cell in cells for v in cell.outputs), default=0.0)
    return f"the largest difference is {largest:.1e}."


def _why(failures: Sequence[Cell], artifact: str) -> str:
    own = [cell for cell in failures if cell.artifact == artifact]
    kinds = ", ".join(dict.fromkeys(cell.status.value for cell in own))
    first = own[0]
    return f"{kinds} ({first.place}: {first.reason.rstrip('.')})"


def _absent(cells: Sequence[Cell]) -> str:
    reasons = "; ".join(dict.fromkeys(cell.reason for cell in cells))
    return f"{len(cells)} {_plural(len(cells), 'cell')} could not run here ({reasons})."


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def listing(names: Sequence[str]) -> str:
    """Names as people list them: ``a, b and c``."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""


def seconds_text(seconds: float | None) -> str:
    """A duration as people read it: ``1.23 ms``."""
    if seconds is None:
        return "—"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        shown = f"{seconds * factor:.3g}"
        if float(shown) >= 1 or unit == "µs":  # as it is shown: 0.9999 s is 1 s, not 1e+03 ms
            return f"{shown} {unit}"
    return f"{seconds} s"


def rate_text(rate: float | None) -> str:
    """A throughput as people read it: ``12.3 k/s``."""
    if rate is None:
        return "—"
    for factor, unit in ((1e6, " M/s"), (1e3, " k/s")):
        if float(f"{rate / factor:.3g}") >= 1:
            return f"{rate / factor:.3g}{unit}"
    return f"{rate:.3g} /s"
