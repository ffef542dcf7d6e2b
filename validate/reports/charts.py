"""The charts of the page, as SVG inside it: their colours are the page's variables, so that they follow dark mode."""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xport.runtimes import require
from xport.validate.floor import LIMIT
from xport.validate.latency import Latency
from xport.validate.reports.words import TIMES, rate_text
from xport.validate.results import Cell, LayerError, ValidationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MAX_ROWS = 40
"""Outputs that the error chart shows, the worst first; the table has all."""

LEAST_DRAWN = 0.01
"""Floors; smaller errors are drawn here."""

# Colours that nothing else has, each replaced by a variable of the page's style sheet.
_INK, _LINE, _GOOD, _BAD = "#010203", "#040506", "#070809", "#0a0b0c"
_SERIES = ("#100001", "#100002", "#100003", "#100004", "#100005", "#100006", "#100007", "#100008")
_VARIABLES = {_INK: "--ink", _LINE: "--line", _GOOD: "--good", _BAD: "--bad"}
_VARIABLES |= {colour: f"--series{i + 1}" for i, colour in enumerate(_SERIES)}
_MARKERS = "osD^vPX*"

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
    "axes.grid.axis": "x",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_WIDTH = 5.4  # inches of 72 px: readable without zooming on a phone


def error_chart(report: ValidationReport) -> str:
    """The error of every output against its floor, on a logarithmic scale.

    Args:
        report: What was found.

    Returns:
        The SVG; empty if no floor was measured.
    """
    cells = [cell for cell in report.cells if any(v.ratio is not None for v in cell.outputs)]
    names = list(dict.fromkeys(cell.artifact for cell in cells))
    rows: dict[tuple[str, str], list[tuple[float, float, bool]]] = {}
    for cell in cells:
        for verdict in cell.outputs:
            if verdict.ratio is not None and verdict.limit is not None:
                points = rows.setdefault((cell.artifact, verdict.output), [])
                points.append((verdict.ratio, verdict.limit, verdict.passed))
    if not rows:
        return ""
    order = sorted(rows, key=lambda key: -max(point[0] for point in rows[key]))[:MAX_ROWS]
    order.sort(key=lambda key: names.index(key[0]))
    figure, axes = _figure(len(order), header=0.9)
    for place, key in enumerate(reversed(order)):
        for ratio, limit, passed in rows[key]:
            axes.plot([limit], [place], marker="|", markersize=14, color=_BAD, linestyle="none")
            style: dict[str, Any] = {"color": _GOOD, "marker": "o"} if passed else {"color": _BAD, "marker": "X"}
            axes.plot([max(ratio, _smallest(rows))], [place], markersize=7, linestyle="none", alpha=0.85, **style)
    axes.axvline(1.0, color=_INK, linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.set_yticks(range(len(order)), [f"{_short(name)}: {_short(output)}" for name, output in reversed(order)])
    axes.set_ylim(-0.7, len(order) - 0.3)
    _plain_log(axes.xaxis, lambda value: f"{value:g}")
    axes.set_xlabel(f"{TIMES} rounding floor")
    label = "Error of each output against the rounding floor, logarithmic; the table of outputs has the figures."
    return _svg(figure, label)


def _smallest(rows: dict[tuple[str, str], list[tuple[float, float, bool]]]) -> float:
    """Where an error of next to nothing is drawn: the logarithmic axis has more to show than how small it is."""
    smallest = min((point[0] for points in rows.values() for point in points if point[0] > 0), default=1.0)
    return max(smallest / 2, LEAST_DRAWN)


def latency_chart(cells: Sequence[Cell], title: str) -> str:
    """The distribution of the latencies of cells that took turns.

    Args:
        cells: Those of one device and batch size.
        title: What they have in common.

    Returns:
        The SVG; empty if none was timed.
    """
    timed = [(cell.artifact, cell.latency) for cell in cells if cell.latency is not None]
    if not timed:
        return ""
    figure, axes = _figure(len(timed), header=1.0)
    slowest, fastest = max(latency.p50 for _, latency in timed), min(latency.p50 for _, latency in timed)
    unit, factor = ("s", 1.0) if slowest >= 1 else ("ms", 1e3) if slowest >= 1e-3 else ("µs", 1e6)
    for place, (_, latency) in enumerate(reversed(timed)):
        _distribution(axes, place, latency, factor, _SERIES[(len(timed) - 1 - place) % len(_SERIES)])
    if max(latency.p99 for _, latency in timed) > 8 * fastest:
        axes.set_xscale("log")
        _plain_log(axes.xaxis, lambda value: f"{value:g}")
    else:
        axes.set_xlim(left=0, right=1.1 * factor * max(latency.p99 for _, latency in timed))
    axes.set_yticks(range(len(timed)), [_short(name) for name, _ in reversed(timed)])
    axes.set_ylim(-0.6, len(timed) - 0.4)
    axes.set_xlabel(f"{unit} a call")
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    return _svg(figure, f"Latency distributions, {title}; the latency table has the figures.")


def _distribution(axes: Axes, place: int, latency: Latency, factor: float, colour: str) -> None:
    samples = [seconds * factor for seconds in latency.samples if seconds <= 1.05 * latency.p99]
    heights = [place - 0.28 + 0.14 * (((7 * i) % 11) / 11) for i in range(len(samples))]  # apart, and always the same
    axes.plot(samples, heights, ".", markersize=3, color=colour, alpha=0.6)
    low, high = (end * factor for end in latency.p50_interval)
    axes.plot([low, high], [place, place], color=colour, linewidth=5, solid_capstyle="butt")
    axes.plot([latency.p50 * factor], [place], marker="|", markersize=16, markeredgewidth=2, color=_INK)
    ticks = [latency.p90 * factor, latency.p99 * factor]
    axes.plot([high, ticks[1]], [place, place], color=colour, linewidth=1)
    axes.plot(ticks, [place, place], marker="|", markersize=9, color=colour, linestyle="none")


def throughput_chart(report: ValidationReport) -> str:
    """Rows a second over the batch size.

    Args:
        report: What was found.

    Returns:
        The SVG; empty with fewer than two batch sizes.
    """
    lines: dict[str, list[tuple[int, float]]] = {}
    devices = {cell.device for cell in report.cells if cell.latency is not None}
    for cell in report.cells:
        if cell.batch is not None and cell.throughput is not None:
            name = cell.artifact if len(devices) == 1 else f"{cell.artifact} on {cell.device}"
            lines.setdefault(name, []).append((cell.batch, cell.throughput))
    sizes = sorted({batch for points in lines.values() for batch, _ in points})
    if len(sizes) < 2:
        return ""
    figure, axes = _figure(4, header=0.9 + 0.2 * len(lines))
    for place, (name, points) in enumerate(lines.items()):
        marker, colour = _MARKERS[place % len(_MARKERS)], _SERIES[place % len(_SERIES)]
        xs, ys = zip(*sorted(points), strict=True)
        axes.plot(xs, ys, marker=marker, color=colour, label=_short(name, 40), linewidth=1.5)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_yscale("log")
    _plain_log(axes.yaxis, rate_text)
    axes.grid(axis="y", color=_LINE, linewidth=0.5)
    axes.set_xlabel("batch size")
    axes.set_title("rows a second", loc="left", fontsize=10, color=_INK)
    figure.legend(loc="outside lower left", ncols=2, frameon=False, labelcolor=_INK, fontsize=9)
    return _svg(figure, "Throughput over the batch size; the latency table has the figures.")


def percentile_chart(lines: Mapping[str, Sequence[tuple[float, float]]], title: str) -> str:
    """Latency over percentiles, the further up the tail the wider.

    Args:
        lines: Pairs of percentile and seconds by name.
        title: What is drawn.

    Returns:
        The SVG; empty if there is nothing to draw.
    """
    drawn = {name: [pair for pair in pairs if pair[0] < 100] for name, pairs in lines.items() if pairs}
    if not drawn:
        return ""
    figure, axes = _figure(5, header=0.9 + 0.2 * len(drawn))
    for place, (name, pairs) in enumerate(drawn.items()):
        marker, colour = _MARKERS[place % len(_MARKERS)], _SERIES[place % len(_SERIES)]
        xs, ys = [1 / (1 - p / 100) for p, _ in pairs], [1e3 * seconds for _, seconds in pairs]
        axes.plot(xs, ys, marker=marker, markersize=4, color=colour, label=_short(name, 40), linewidth=1.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = (0, 50, 90, 99, 99.9, 99.99)
    axes.set_xticks([1 / (1 - p / 100) for p in ticks], [f"{p:g} %" for p in ticks])
    axes.minorticks_off()
    _plain_log(axes.yaxis, lambda value: f"{value:g}")
    axes.grid(axis="y", color=_LINE, linewidth=0.5)
    axes.set_xlabel("of the answers took at most so many ms")
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    figure.legend(loc="outside lower left", ncols=2, frameon=False, labelcolor=_INK, fontsize=9)
    return _svg(figure, f"{title}; the table of loads has the figures.")


def stacked_chart(rows: Mapping[str, Sequence[float]], parts: Sequence[str], unit: str) -> str:
    """A bar for each row, of parts that add up to its whole.

    Args:
        rows: The sizes of the parts by row.
        parts: What each of them is.
        unit: What the axis says.

    Returns:
        The SVG; empty if there is nothing to draw.
    """
    if not rows:
        return ""
    figure, axes = _figure(len(rows), header=1.3)
    largest = max(sum(sizes) for sizes in rows.values())
    for place, sizes in enumerate(reversed(list(rows.values()))):
        left = 0.0
        for size, colour in zip(sizes, _SERIES, strict=False):
            axes.barh([place], [size], left=[left], height=0.62, color=colour)
            left += size
        axes.text(left + 0.01 * largest, place, f"{left:.3g}", va="center", fontsize=9, color=_INK)
    for part, colour in zip(parts, _SERIES, strict=False):
        axes.plot([], [], marker="s", linestyle="none", color=colour, label=part)
    axes.set_yticks(range(len(rows)), [_short(name) for name in reversed(list(rows))])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(left=0, right=1.12 * largest)
    axes.set_xlabel(unit)
    figure.legend(loc="outside lower left", ncols=3, frameon=False, labelcolor=_INK, fontsize=9)
    return _svg(figure, f"{unit[0].upper()}{unit[1:]}, by part: {', '.join(parts)}; the table has the figures.")


def layer_chart(layers: Sequence[LayerError], title: str) -> str:
    """The error of every value inside an artifact, from the inputs to the outputs, above the rounding floor.

    Args:
        layers: In topological order.
        title: The artifact's name.

    Returns:
        The SVG; empty if there are none.
    """
    measured = [layer for layer in layers if layer.error >= 0]
    if not measured:
        return ""
    figure, axes = _figure(6, header=0.9)
    places = range(len(measured))
    smallest = min((v for layer in measured for v in (layer.error, layer.floor) if v > 0), default=1e-8) / 2
    errors, floors = ([max(value, smallest) for value in side] for side in _sides(measured))
    axes.plot(places, floors, color=_INK, linewidth=1, linestyle="--", label="rounding floor")
    axes.plot(places, errors, color=_SERIES[0], linewidth=1.5, marker="o", markersize=3, label="error")
    over = next((i for i in places if errors[i] > LIMIT * floors[i]), None)
    if over is not None:
        label = f"first beyond rounding: {_short(measured[over].name, 40)}"
        axes.plot([over], [errors[over]], "X", color=_BAD, markersize=10, linestyle="none", label=label)
    axes.set_yscale("log")
    _plain_log(axes.yaxis, lambda value: f"{value:.0e}")
    axes.grid(axis="y", color=_LINE, linewidth=0.5)
    axes.set_xlabel("value, in the order of the graph")
    axes.set_title(f"{_short(title, 40)}: relative error", loc="left", fontsize=10, color=_INK)
    figure.legend(loc="outside lower left", ncols=1, frameon=False, labelcolor=_INK, fontsize=9)
    return _svg(figure, f"Error of every value inside {title}; the table of layers has the figures.")


def _sides(layers: Sequence[LayerError]) -> tuple[list[float], list[float]]:
    finite = [(e if math.isfinite(e) else 1.0) for e in (layer.error for layer in layers)]
    return finite, [layer.floor for layer in layers]


def _figure(rows: int, *, header: float) -> tuple[Figure, Axes]:
    """A figure with room for rows, not known to pyplot, which would keep it and might want a display."""
    require("matplotlib")
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = _STYLE
    with rc_context(style):
        figure = Figure(figsize=(_WIDTH, header + 0.42 * rows), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.grid(axis="x", color=_LINE, linewidth=0.5, alpha=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
    return figure, axes


def _plain_log(axis: Axis, text: Callable[[float], str]) -> None:
    """Labels of a logarithmic axis as plain numbers, not powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_formatter(NullFormatter())


def _short(name: str, length: int = 22) -> str:
    # The middle goes: names of one model's artifacts differ at their ends. A dollar sign would begin a formula.
    text = name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-(length // 2) :]}"
    return text.replace("$", r"\$")


def _svg(figure: Figure, label: str) -> str:
    """The figure as an element of the page: no colours of its own, identifiers that clash with no other chart's."""
    from html import escape

    from matplotlib import rc_context

    stream = io.StringIO()
    style: Any = {**_STYLE, "svg.hashsalt": label}
    with rc_context(style):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    prefix = f"c{zlib.crc32(label.encode()):08x}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = text.replace("url(#", f"url(#{prefix}").replace('xlink:href="#', f'xlink:href="#{prefix}')
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
