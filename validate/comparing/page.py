"""The comparison as one self-contained HTML page: the page of its validation, with who is ahead in front."""

from __future__ import annotations

from pathlib import Path

from xport.replacing import write_text
from xport.validate.comparing.results import CompareReport, Outcome
from xport.validate.comparing.words import factor_text, headline
from xport.validate.reports import charts, page

_TONES = {Outcome.SOURCE: "plain", Outcome.SAME: "good", Outcome.WRONG: "bad"}
_PARTS = ("process", "import", "load", "first call")
_MEMORY = ("Python and xport", "runtime", "model", "first call", "peak while it worked")


def render_page(report: CompareReport) -> str:
    """The report as HTML.

    Raises:
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
    """
    environment = page.new_environment(Path(__file__).parent)
    return str(
        environment.get_template("compare.html.j2").render(
            **page.context(report.validation),
            compare=report,
            tones=_TONES,
            factor_text=factor_text,
            headline=headline(report),
            start_chart=charts.stacked_chart(_starts(report), _PARTS, "seconds until the first answer"),
            memory_chart=charts.stacked_chart(_memory(report), _MEMORY, "MB resident"),
        )
    )


def write_page(report: CompareReport, path: str | Path) -> None:
    """Write the report as HTML.

    Raises:
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
        DestinationError: If it cannot be written.
    """
    write_text(path, render_page(report))


def _starts(report: CompareReport) -> dict[str, tuple[float, ...]]:
    """Seconds of the parts of a start, by contender."""
    found: dict[str, tuple[float, ...]] = {}
    for standing in report:
        start = standing.start_up.typical if standing.start_up is not None else None
        if start is not None:
            found[standing.label] = (start.process, start.imported, start.loaded, start.first)
    return found


def _memory(report: CompareReport) -> dict[str, tuple[float, ...]]:
    """What each step adds to the resident megabytes, by contender; a step that gives some back adds nothing."""
    found: dict[str, tuple[float, ...]] = {}
    for standing in report:
        start = standing.start_up.typical if standing.start_up is not None else None
        if start is None or not start.process_memory:
            continue
        stages = (start.process_memory, start.imported_memory, start.loaded_memory, start.first_memory)
        tops = [max(stages[: i + 1]) for i in range(len(stages))]
        tops.append(max(tops[-1], standing.peak_memory or 0))
        found[standing.label] = tuple((top - below) / 1e6 for below, top in zip((0, *tops), tops, strict=False))
    return found
