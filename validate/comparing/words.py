"""The answer in words. Nobody is called ahead where the intervals do not support it."""

from __future__ import annotations

from collections.abc import Sequence

from xport.validate.comparing.results import CompareReport, Outcome, Ranking, Standing
from xport.validate.latency import LEAST_FACTOR, LEAST_ROUNDS, Comparison
from xport.validate.reports.words import TIMES, listing, seconds_text

WITHIN_NOISE = "within noise"


def answer(report: CompareReport) -> str:
    """What a comparison found, in a paragraph made of its figures.

    Args:
        report: What was found.

    Returns:
        Numbers, speed at each batch size, start-up, memory, and who could not be compared.
    """
    sentences = [_numbers(report), *(_speed(report, ranking) for ranking in report.rankings)]
    sentences += [_starts(report), *_compiled(report), _memory(report), _absent(report)]
    return " ".join(sentence for sentence in sentences if sentence)


def headline(report: CompareReport) -> str:
    """What was found in a few words."""
    if report.wrong:
        return "✗ Wrong numbers"
    if not report.compared or not report.rankings:
        return "✗ Nothing to compare"
    ranking = report.rankings[0]
    at = "" if ranking.batch is None else f" at batch {ranking.batch}"
    if len(ranking.tied) + 1 >= sum(standing.ranked for standing in report):
        return f"Nobody is clearly ahead{at}"
    return f"{listing([ranking.fastest, *ranking.tied])} {'are' if ranking.tied else 'is'} fastest{at}"


def _numbers(report: CompareReport) -> str:
    same = [standing for standing in report if standing.outcome is Outcome.SAME]
    told = [f"{s.label} gives wrong numbers: {_first(s.reason)}." for s in report.wrong]
    if same:
        ratios = [s.worst_ratio for s in same if s.worst_ratio is not None]
        exact = all(v.verdict == "exact" for s in same for cell in s.cells for v in cell.outputs)
        how = "equal to the last bit"
        if not exact:
            how = (
                f"the largest error is {max(ratios):.1f} {TIMES} its rounding floor" if ratios else "within the limits"
            )
        others = f"The {'remaining' if told else 'other'} {len(same)} contenders"
        subject = f"{same[0].label} gives" if len(same) == 1 else f"{others} give"
        told.append(f"{subject} the same numbers as {report.model} ({how}).")
    if not report.compared:
        told.append("Nothing could be compared.")
    return " ".join(told)


def _speed(report: CompareReport, ranking: Ranking) -> str:
    at = "" if ranking.batch is None else f" at batch {ranking.batch}"
    p50, interval = _p50(report[ranking.fastest], ranking.batch)
    if sum(1 for standing in report if standing.ranked) < 2:
        return f"{ranking.fastest} takes {p50}{at} ({interval})."
    if ranking.tied:
        names = listing([ranking.fastest, *ranking.tied])
        why = "too few rounds" if _too_few(report, ranking) else WITHIN_NOISE
        lead = f"Fastest{at}, {why} of each other: {names}, {p50} ({interval})"
        if why != WITHIN_NOISE:
            lead = f"Which is fastest{at} cannot be told from so few rounds: {names}"
    else:
        lead = f"Fastest{at}: {ranking.fastest}, {p50} ({interval})"
    found = ranking.factor(ranking.fastest)
    return f"{lead}, {factor_text(found)} {ranking.against}." if found is not None and found.distinct else f"{lead}."


def _p50(standing: Standing, batch: int | None) -> tuple[str, str]:
    for cell in standing.cells:
        if cell.batch == batch and cell.latency is not None:
            low, high = cell.latency.p50_interval
            return seconds_text(cell.latency.p50), f"{seconds_text(low)} to {seconds_text(high)}"
    return seconds_text(None), ""


def _too_few(report: CompareReport, ranking: Ranking) -> bool:
    cells = [cell for cell in report[ranking.fastest].cells if cell.batch == ranking.batch]
    return any(cell.latency is not None and len(cell.latency.rounds) < LEAST_ROUNDS for cell in cells)


def factor_text(found: Comparison) -> str:
    """How many times as fast as the other it is, for a table; where the intervals do not tell, that."""
    return f"{found.times:.2g} {TIMES}" if found.distinct else WITHIN_NOISE


def _starts(report: CompareReport) -> str:
    """Who answers first after a start, and who last."""
    started = {s.label: s.start_up for s in report if s.start_up is not None and s.outcome is not Outcome.WRONG}
    totals = {label: start_up.typical.total for label, start_up in started.items() if start_up.typical is not None}
    if len(totals) < 2:
        return ""
    ordered = sorted(totals, key=lambda label: totals[label])
    first, last = ordered[0], ordered[-1]
    close = [label for label in ordered if label != first and not _apart(started[first].span, started[label].span)]
    lead = f"First to answer after a start: {first}, {seconds_text(totals[first])}"
    if close:
        names = listing([first, *close])
        lead = f"First to answer after a start, {WITHIN_NOISE} of each other: {names}, {seconds_text(totals[first])}"
    return f"{lead}." if last in close else f"{lead}; last: {last}, {seconds_text(totals[last])}."


def _apart(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    """Whether every start of one was shorter than every start of the other."""
    return one is not None and other is not None and one[1] < other[0]


def _compiled(report: CompareReport) -> list[str]:
    """What a compiler costs before it helps, and after how many calls it has paid for itself."""
    eager = next((s for s in report if s.contender.name == "eager"), None)
    told = []
    for standing in report:
        start_up = standing.start_up
        if not standing.contender.compiled or start_up is None or start_up.typical is None:
            continue
        text = f"{standing.label} spends {seconds_text(start_up.typical.first)} in its first call"
        if start_up.cached is not None:
            text += f", {seconds_text(start_up.cached.first)} once its cache is filled"
        text += _paid(report.rankings, standing, eager) if eager is not None else ""
        told.append(f"{text}.")
    return told


def _paid(rankings: Sequence[Ranking], standing: Standing, eager: Standing) -> str:
    """After how many calls a later start is made up for, at the first batch size at which calls are faster."""
    starts = [s.start_up.typical.total for s in (standing, eager) if s.start_up is not None and s.start_up.typical]
    if len(starts) < 2 or not any(ranking.factor(standing.label) for ranking in rankings):
        return ""
    for ranking in rankings:
        found = ranking.factor(standing.label)
        if found is None or not found.distinct or found.times <= 1:
            continue
        own, other = (_latency(each, ranking.batch) for each in (standing, eager))
        calls = max((starts[0] - starts[1]) / (other - own), 1)
        at = "" if ranking.batch is None else f" at batch {ranking.batch}"
        return f"; it has paid for its start after about {float(f'{calls:.2g}'):,.0f} calls{at}"
    return f"; that its calls are faster than {eager.label}'s does not show here"


def _latency(standing: Standing, batch: int | None) -> float:
    return next(cell.latency.p50 for cell in standing.cells if cell.batch == batch and cell.latency is not None)


def _memory(report: CompareReport) -> str:
    peaks = sorted(((s.peak_memory, s.label) for s in report if s.ranked and s.peak_memory), key=lambda each: each[0])
    if len(peaks) < 2:
        return ""
    (least, name), (most, other) = peaks[0], peaks[-1]
    if most < LEAST_FACTOR * least:
        return f"All need about {_megabytes(least)} of memory."
    close = [label for size, label in peaks if size < LEAST_FACTOR * least]
    return (
        f"Least memory: {listing(close) or name}, {_megabytes(least)} at the peak; most: {other}, {_megabytes(most)}."
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _absent(report: CompareReport) -> str:
    absent = [s for s in report if s.outcome in (Outcome.NOT_MADE, Outcome.NOT_RUN)]
    if not absent:
        return ""
    return "Not compared: " + "; ".join(f"{s.label} ({s.outcome.value}: {_first(s.reason)})" for s in absent) + "."


def _first(text: str, length: int = 160) -> str:
    """The beginning of a reason; the table has all of it."""
    text = text.rstrip(".")
    return text if len(text) <= length else f"{text[:length].rsplit(' ', 1)[0]} …"
