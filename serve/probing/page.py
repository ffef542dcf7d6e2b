"""The probe's report as one self-contained HTML page: that of a validation, with what was found beside it in front."""

from __future__ import annotations

from pathlib import Path

from xport.replacing import write_text
from xport.serve.probing.results import Outcome, ProbeReport
from xport.serve.probing.words import UNPROVEN, load_words
from xport.validate.reports import charts, page

_TONES = {Outcome.PASSED: "good", Outcome.FAILED: "bad", Outcome.NOTED: "plain", Outcome.SKIPPED: "plain"}


def render_page(report: ProbeReport) -> str:
    """The report as HTML.

    Raises:
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
    """
    environment = page.new_environment(Path(__file__).parent)
    lines = {load.load: load.percentiles for load in report.loads}
    validation = {"report": None} if report.validation is None else page.context(report.validation)
    return str(
        environment.get_template("probe.html.j2").render(
            **validation,
            probe=report,
            tones=_TONES,
            unproven=UNPROVEN,
            load_words=load_words,
            load_chart=charts.percentile_chart(lines, "Latency under load, ms"),
        )
    )


def write_page(report: ProbeReport, path: str | Path) -> None:
    """Write the report as HTML.

    Raises:
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
        DestinationError: If it cannot be written.
    """
    write_text(path, render_page(report))
