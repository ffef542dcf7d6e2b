"""The report as one self-contained HTML page: no script, no network, readable on a phone, in the dark, on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xport import __version__
from xport.replacing import write_text
from xport.runtimes import require
from xport.validate.reports import charts
from xport.validate.reports.words import TIMES, rate_text, seconds_text
from xport.validate.results import Cell, Status, ValidationReport

TEMPLATE = "report.html.j2"
"""The page; its blocks can be replaced by templates that extend it."""
_TONES = {Status.REFERENCE: "plain", Status.PASSED: "good", Status.NO_DEVICE: "plain"}
_SIGNS = {"plain": "·", "good": "✓", "bad": "✗"}


def check_packages() -> None:
    """Make sure that a page can be made.

    Raises:
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
    """
    for package in ("jinja2", "matplotlib"):
        require(package)


def render_page(report: ValidationReport) -> str:
    """The report as HTML.

    Args:
        report: What was found.

    Returns:
        The page.

    Raises:
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
    """
    return str(new_environment().get_template(TEMPLATE).render(**context(report)))


def new_environment(*folders: Path) -> Any:
    """A Jinja environment that finds this page's template, and those of pages that extend it.

    Args:
        *folders: Where other templates are.

    Raises:
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
    """
    check_packages()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"seconds": seconds_text, "rate": rate_text, "bytes": _bytes, "number": _number}
    environment.globals |= {"version": __version__, "times": TIMES}
    return environment


def context(report: ValidationReport) -> dict[str, Any]:
    """What the template is told of a validation."""
    latencies = [(title, charts.latency_chart(cells, title)) for title, cells in _groups(report)]
    return {
        "report": report,
        "places": list(dict.fromkeys((cell.device, cell.batch) for cell in report.cells)),
        "cells": {cell.key: cell for cell in report.cells},
        "tone": _tone,
        "sign": lambda cell: _SIGNS[_tone(cell)],
        "error_chart": charts.error_chart(report),
        "cut_off": any(v.ratio is not None and v.ratio < charts.LEAST_DRAWN for c in report.cells for v in c.outputs),
        "latency_charts": [svg for _, svg in latencies if svg],
        "throughput_chart": charts.throughput_chart(report),
        "layer_charts": _layer_charts(report),
        "timed": [cell for cell in report.cells if cell.latency is not None],
        "losses": [(c, v) for c in report.cells for v in c.outputs if v.loss is not None],
        "judged": [cell for cell in report.cells if cell.outputs],
    }


def write_page(report: ValidationReport, path: str | Path) -> None:
    """Write the report as HTML.

    Args:
        report: What was found.
        path: The file.

    Raises:
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
        DestinationError: If it cannot be written.
    """
    write_text(path, render_page(report))


def _tone(cell: Cell) -> str:
    return _TONES.get(cell.status, "bad")


def _groups(report: ValidationReport) -> list[tuple[str, list[Cell]]]:
    """Cells that took turns, by batch size; artifacts on several devices are told apart by the title."""
    groups: dict[str, list[Cell]] = {}
    for cell in report.cells:
        if cell.latency is not None:
            groups.setdefault(cell.place, []).append(cell)
    return list(groups.items())


def _layer_charts(report: ValidationReport) -> list[str]:
    """One curve an artifact that was bisected."""
    names = dict.fromkeys(layer.artifact for layer in report.layers)
    drawn = [charts.layer_chart([row for row in report.layers if row.artifact == name], name) for name in names]
    return [svg for svg in drawn if svg]


def _bytes(size: int | None) -> str:
    from xport.cli.output import bytes_text

    return "—" if size is None else bytes_text(size)


def _number(value: Any) -> str:
    if value is None:
        return "—"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
