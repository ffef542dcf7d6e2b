"""A probe's result in words."""

from __future__ import annotations

from xport.serve.probing.results import LoadResult, Outcome, ProbeReport
from xport.validate.reports.words import rate_text, seconds_text

UNPROVEN = "nothing proves which model it is: it was compared with itself only (name the model with --against)"
"""What must be said of a probe without an artifact."""


def verdict(report: ProbeReport) -> str:
    """The result of a probe in a few sentences.

    Args:
        report: What was found.

    Returns:
        Whether it is the model, whether it agrees with itself, what failed, how it bore the load.
    """
    url = report.endpoint.url
    sentences = []
    if report.failures:
        count = len(report.failures)
        sentences.append(f"{url} did not pass: {count} {'thing' if count == 1 else 'things'} failed.")
        sentences.append(report.failures[0].rstrip(".") + ".")
    if not report.against:
        sentences.append(f"{url}: {UNPROVEN}.")
    compared = report.validation is not None and (report.against or len(report.validation.artifacts) > 1)
    if report.validation is not None and compared and report.validation.passed:
        sentences.append(report.validation.verdict)
    passed = [check.name for check in report.checks if check.outcome is Outcome.PASSED]
    if passed:
        sentences.append(f"Passed: {', '.join(passed)}.")
    sentences += [f"Under {load.load}: {load_words(load)}." for load in report.loads]
    if report.interrupted:
        sentences.append("It was interrupted: this is what had been found by then.")
    return " ".join(sentences)


def load_words(load: LoadResult) -> str:
    """What a load did, in a line."""
    failed = {label: count for label, count in load.statuses.items() if label not in ("200", "OK")}
    told = ", ".join(f"{count} {label}" for label, count in failed.items())
    errors = f"{sum(failed.values())} of {load.sent} failed ({told})" if failed else f"all {load.sent} answered"
    if load.latency is None:
        return errors
    latency = load.latency
    text = (
        f"{rate_text(load.throughput)}, p50 {seconds_text(latency.p50)}, p90 {seconds_text(latency.p90)}, "
        f"p99 {seconds_text(latency.p99)}, {errors}"
    )
    return f"{text}; {load.early}" if load.early else text
