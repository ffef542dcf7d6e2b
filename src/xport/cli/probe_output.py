"""What ``xport probe`` prints."""

from __future__ import annotations

from xport.cli.output import Output
from xport.serve.probing.results import LoadResult, ProbeReport
from xport.validate.reports.words import rate_text, seconds_text

_LOADS = ("load", "kind", "answers", "95 % interval", "p50", "95 % interval", "p90", "p99", "p99.9", "longest", "ended")


def show(output: Output, report: ProbeReport) -> None:
    """Print what was found, what failed, and the verdict last."""
    endpoint = report.endpoint
    output.line(f"{endpoint.url}: {', '.join(endpoint.ways)}" + (f"; {endpoint.platform}" if endpoint.platform else ""))
    told = "" if endpoint.tells_interface else " (told by the artifact, not by the server)"
    inputs, outputs = (", ".join(map(str, s)) for s in (endpoint.signature.inputs, endpoint.signature.outputs))
    output.line(f"takes {inputs}; gives {outputs}{told}")
    if endpoint.versions:
        output.line(f"served versions: {', '.join(endpoint.versions)}")
    output.table(("check", "result", "why"), [(c.name, c.outcome.value, c.reason) for c in report.checks])
    if report.validation is not None:
        from xport.cli.validate_output import show_figures

        show_figures(output, report.validation)
    if report.loads:
        output.table(_LOADS, [_row(load) for load in report.loads], title="Load")
    for note in report.notes:
        output.line(note)
    output.line(report.verdict)


def _row(load: LoadResult) -> tuple[str, ...]:
    latency = load.latency
    ended = ", ".join(f"{count} {label}" for label, count in load.statuses.items())
    spread = " to ".join(rate_text(end).replace(" /s", "") for end in load.throughput_interval)
    shown = [seconds_text(None)] * 6
    if latency is not None:
        interval = " to ".join(seconds_text(end) for end in latency.p50_interval)
        shown = [seconds_text(latency.p50), interval, seconds_text(latency.p90), seconds_text(latency.p99)]
        shown += [seconds_text(load.p999), seconds_text(load.longest)]
    return (
        load.load,
        load.kind,
        rate_text(load.throughput),
        spread,
        *shown,
        ended + (f"; {load.early}" * bool(load.early)),
    )
