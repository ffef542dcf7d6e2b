"""The figures of a validation for TensorBoard: one run an artifact and device, the batch size as the step."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xport.errors import DestinationError
from xport.runtimes import require
from xport.validate.results import Cell, ValidationReport
from xport.validate.verdicts import OutputVerdict

_STRANGE = re.compile(r"[^\w.=-]+")
_FIGURES = ("max_abs", "max_rel", "mean_abs", "cosine", "sqnr_db", "smallest_tolerance", "top1", "topk")
_SUMMARY = "summary"


def write_events(report: ValidationReport, folder: str | Path) -> None:
    """Write event files that TensorBoard shows: ``tensorboard --logdir FOLDER``.

    Args:
        report: What was found.
        folder: Where to; a run that is there already gets one more event file.

    Raises:
        MissingRuntimeError: If tensorboardX is not installed.
        DestinationError: If nothing can be written there.
    """
    writers: dict[str, Any] = {}
    try:
        for cell in report.cells:
            writer = _writer(writers, Path(folder), f"{cell.artifact}.{cell.device}")
            for name, value in _scalars(cell):
                if math.isfinite(value):
                    writer.add_scalar(name, value, cell.batch or 0)
            if cell.latency is not None:
                writer.add_histogram("latency/seconds", list(cell.latency.samples), cell.batch or 0)
            words = f"{cell.status.value}{': ' if cell.reason else ''}{cell.reason}"
            writer.add_text("status", words, cell.batch or 0)
        summary = _writer(writers, Path(folder), _SUMMARY)
        summary.add_text("verdict", report.verdict)
        summary.add_scalar("failed_cells", len(report.failures))
    except OSError as error:
        raise DestinationError(
            f"{folder} cannot be written: {error}.", "Choose another --tensorboard folder."
        ) from error
    finally:
        for writer in writers.values():
            writer.close()


def _writer(writers: dict[str, Any], folder: Path, run: str) -> Any:
    if run not in writers:
        writers[run] = require("tensorboardX").SummaryWriter(str(folder / _STRANGE.sub("_", run)))
    return writers[run]


def _scalars(cell: Cell) -> Iterator[tuple[str, float]]:
    """Everything about a cell that is one number."""
    for verdict in cell.outputs:
        yield from _output(verdict)
    if cell.latency is not None:
        for name in ("p50", "p90", "p99"):
            yield f"latency/{name}_seconds", getattr(cell.latency, name)
    facts = {
        "latency/first_seconds": cell.first_seconds,
        "latency/load_seconds": cell.load_seconds,
        "throughput/rows_per_second": cell.throughput,
        "memory/peak_bytes": cell.peak_memory,
        "memory/idle_bytes": cell.idle_memory,
        "passed": float(cell.status.fine),
    }
    yield from ((name, float(value)) for name, value in facts.items() if value is not None)


def _output(verdict: OutputVerdict) -> Iterator[tuple[str, float]]:
    for name in _FIGURES:
        value = getattr(verdict.figures, name)
        if value is not None:
            yield f"{verdict.output}/{name}", float(value)
    for name in ("ratio", "limit", "floor"):
        value = getattr(verdict, name)
        if value is not None:
            yield f"{verdict.output}/rounding_floor/{name}", float(value)
    if verdict.loss is not None:
        yield f"{verdict.output}/intended_loss/sqnr_db", verdict.loss.sqnr_db
        yield f"{verdict.output}/intended_loss/total_db", verdict.loss.total_db
        if verdict.loss.top1 is not None:
            yield f"{verdict.output}/intended_loss/decisions_kept", verdict.loss.top1
