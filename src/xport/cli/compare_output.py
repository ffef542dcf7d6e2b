"""What ``xport compare`` prints: two tables, the reasons of those who are missing, and the answer last."""

from __future__ import annotations

from xport.cli.output import Output, bytes_text
from xport.validate.comparing.results import CompareReport, Outcome, Standing
from xport.validate.comparing.words import factor_text
from xport.validate.reports.words import TIMES, rate_text, seconds_text
from xport.validate.results import Cell

_NONE = "—"
_COSTS = (
    *("contender", "start", "process", "import", "load", "first call", "with cache"),
    *("memory: import", "load", "call", "peak", "file", "made by"),
)


def show(output: Output, report: CompareReport) -> None:
    """Print what was found."""
    rows = [_speed(report, standing, cell) for standing in report for cell in standing.cells]
    against = report.rankings[0].against if report.rankings else "the source"
    columns = (
        "contender",
        "numbers",
        f"{TIMES} floor",
        "top-1",
        "batch",
        "p50",
        "95 % interval",
        "p90",
        "p99",
        "rows/s",
    )
    output.table((*columns, f"against {against}"), rows, title="Numbers and speed")
    costs = [_cost(standing) for standing in report if standing.cells]
    output.table(_COSTS, costs, title="Start-up, memory, file")
    for standing in report:
        if standing.reason:
            output.line(f"{standing.label}: {standing.outcome.value}: {standing.reason}")
        elif standing.start_up is not None and standing.start_up.reason:
            output.line(f"{standing.label}: its start was not measured: {standing.start_up.reason}")
    for note in report.validation.notes:
        output.line(note)
    found = report.validation
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    output.line(f"{report.device}, {threads} for every runtime, seed {found.seed}; {found.environment['processor']}.")
    if report.kept:
        output.line(f"The artifacts are in {report.kept}.")
    output.line(report.answer)


def _speed(report: CompareReport, standing: Standing, cell: Cell) -> tuple[str, ...]:
    latency = cell.latency
    top1 = [f.top1 for v in cell.outputs for _, _, f in v.cases if f.top1 is not None]
    shown = [_NONE] * 4
    if latency is not None:
        low, high = latency.p50_interval
        shown = [seconds_text(latency.p50), f"{seconds_text(low)} to {seconds_text(high)}"]
        shown += [seconds_text(latency.p90), seconds_text(latency.p99)]
    return (
        standing.label,
        standing.outcome.value if cell.status.fine else cell.status.value,
        _NONE if cell.worst_ratio is None else f"{cell.worst_ratio:.2f}",
        f"{min(top1):.1%}" if top1 else _NONE,
        _NONE if cell.batch is None else str(cell.batch),
        *shown,
        rate_text(cell.throughput).replace(" /s", "").replace("/s", ""),
        _factor(report, standing, cell),
    )


def _factor(report: CompareReport, standing: Standing, cell: Cell) -> str:
    ranking = next((r for r in report.rankings if r.batch == cell.batch), None)
    found = ranking.factor(standing.label) if ranking is not None else None
    return _NONE if found is None else factor_text(found)


def _cost(standing: Standing) -> tuple[str, ...]:
    start_up = standing.start_up
    typical = start_up.typical if start_up is not None else None
    parts = [_NONE] * 5
    memory = [_NONE] * 3
    if typical is not None:
        seconds = (typical.total, typical.process, typical.imported, typical.loaded, typical.first)
        parts = [seconds_text(part) for part in seconds]
        memory = [_size(size) for size in (typical.imported_memory, typical.loaded_memory, typical.first_memory)]
    cached = start_up.cached if start_up is not None else None
    source = standing.outcome is Outcome.SOURCE or not standing.route
    route = "the source itself" if source else " → ".join(standing.route)
    return (
        standing.label,
        *parts,
        seconds_text(cached.total if cached is not None else None),
        *memory,
        _size(standing.peak_memory),
        _size(standing.size),
        route,
    )


def _size(size: int | None) -> str:
    return _NONE if not size else bytes_text(size)
