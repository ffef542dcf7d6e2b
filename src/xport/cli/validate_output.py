"""What ``xport validate`` prints: the matrix and what it says."""

from __future__ import annotations

from xport.cli.output import Output, bytes_text
from xport.validate.reports.words import TIMES, rate_text, seconds_text
from xport.validate.results import Cell, ValidationReport
from xport.validate.verdicts import OutputVerdict

_LOSS_COLUMNS = ("artifact", "batch", "output", "precision", "SQNR dB", "at least", "as it runs", "decisions kept")


def show(output: Output, report: ValidationReport) -> None:
    """Print the matrix and what it says."""
    show_figures(output, report)
    output.line(report.verdict)


def show_figures(output: Output, report: ValidationReport) -> None:
    """Print the matrix and what stands out in it."""
    rows = [_row(cell) for cell in report.cells]
    columns = (
        "artifact",
        "device",
        "batch",
        "verdict",
        f"{TIMES} floor",
        "worst error",
        "top-1",
        "p50",
        "95 % interval",
        "p99",
    )
    output.table((*columns, "rows/s", "load", "first", "memory"), rows)
    if lost := [_loss_row(cell, verdict) for cell in report.cells for verdict in cell.outputs if verdict.loss]:
        output.table(_LOSS_COLUMNS, lost, title="Intended loss")
    sizes = ", ".join(f"{a.name} {bytes_text(a.size)}" for a in report.artifacts if a.size is not None)
    output.line(
        f"inputs sha256 {report.inputs_sha256[:16]}…, seed {report.seed}, {report.threads} threads"
        + (f"; {sizes}" if sizes else "")
    )
    for note in dict.fromkeys(note for artifact in report.artifacts for note in artifact.notes):
        output.line(f"{', '.join(a.name for a in report.artifacts if note in a.notes)}: {note}.")
    for note in report.notes:
        output.line(note)
    for speed in report.speeds:
        place = speed.device if speed.batch is None else f"{speed.device}, batch {speed.batch}"
        output.line(f"{place}: {speed.comparison}.")
    if report.baseline is not None:
        for kind, texts in (("Worse", report.baseline.regressions), ("Changed", report.baseline.changes)):
            for text in texts:
                output.line(f"{kind}: {text}")
        for name, (then, now) in report.baseline.versions.items():
            output.line(f"Version of {name}: {now}, was {then}.")
    for cell in report.failures:
        output.line(f"{cell.artifact} on {cell.place}: {cell.status.value}: {cell.reason}")


def _row(cell: Cell) -> tuple[str, ...]:
    latency = cell.latency
    error = max((v.figures.max_abs for v in cell.outputs), default=None)
    top1 = min((f.top1 for v in cell.outputs for _, _, f in v.cases if f.top1 is not None), default=None)
    interval = "—"
    if latency is not None:
        interval = " to ".join(seconds_text(end) for end in latency.p50_interval)
    return (
        cell.artifact,
        cell.device,
        "—" if cell.batch is None else str(cell.batch),
        cell.status.value,
        "—" if cell.worst_ratio is None else f"{cell.worst_ratio:.2f}",
        "—" if error is None else f"{error:.1e}",
        "—" if top1 is None else f"{top1:.1%}",
        seconds_text(latency.p50 if latency else None),
        interval,
        seconds_text(latency.p99 if latency else None),
        rate_text(cell.throughput).replace(" /s", "").replace("/s", ""),
        seconds_text(cell.load_seconds),
        seconds_text(cell.first_seconds),
        "—" if cell.peak_memory is None else bytes_text(cell.peak_memory),
    )


def _loss_row(cell: Cell, verdict: OutputVerdict) -> tuple[str, ...]:
    loss = verdict.loss
    if loss is None:
        return ()
    return (
        cell.artifact,
        "—" if cell.batch is None else str(cell.batch),
        verdict.output,
        loss.precision,
        f"{loss.sqnr_db:.1f}",
        f"{loss.least_db:.0f}",
        f"{loss.total_db:.1f}",
        "—" if loss.top1 is None else f"{loss.top1:.1%}",
    )
