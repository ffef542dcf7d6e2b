"""Draws `benchmarks/results` into `docs/images`: ``python benchmarks/plots.py``.

Every plot stands on a white card, so that it reads the same on a dark page and on paper, and says its numbers in words
beside the colours. The same results give the same bytes.
"""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tables import VERDICTS, Row, fault_counts, rows_of

IMAGES = Path(__file__).parents[1] / "docs" / "images"
COLOURS = {
    "right": "#1b6e53",
    "one batch": "#8fc9b0",
    "silently wrong": "#b3261e",
    "cannot run": "#f2a65a",
    "no file": "#c9ccd1",
}
LIGHT = ("one batch", "cannot run", "no file")
"""Colours that want dark figures on them."""
NAMES = {"savedmodel": "SavedModel", "tflite": "TFLite", "pytorch": "PyTorch"}
OURS, THEIRS = "#3f51b5", "#a9b2c3"
STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "xport",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "savefig.facecolor": "white",
}


def counts(rows: list[Row]) -> Figure:
    """What became of each model: one bar an engine, one panel a target."""
    found: dict[str, dict[str, collections.Counter[str]]] = {}
    for row in rows:
        engines = found.setdefault(row["target"], {})
        engines.setdefault(row["engine"], collections.Counter())[row["verdict"]] += 1
    heights = [len(engines) for engines in found.values()]
    figure, panels = plt.subplots(
        len(found), 1, figsize=(8, 0.9 + 0.36 * sum(heights) + 0.55 * len(found)), height_ratios=heights, squeeze=False
    )
    for panel, (target, engines) in zip(panels[:, 0], found.items(), strict=True):
        bars(panel, engines)
        panel.set_title(f"to {NAMES.get(target, target)}")
    handles = [mpl.patches.Patch(facecolor=COLOURS[v], label=v, hatch=hatch(v), edgecolor="white") for v in VERDICTS]
    figure.legend(handles=handles, loc="lower center", ncols=len(VERDICTS), frameon=False)
    figure.tight_layout(rect=(0, 0.35 / figure.get_figheight(), 1, 1))
    return figure


def bars(panel: Axes, engines: dict[str, collections.Counter[str]]) -> None:
    """Stacked bars with their numbers."""
    names = list(engines)[::-1]
    start = [0] * len(names)
    for verdict in VERDICTS:
        widths = [engines[name][verdict] for name in names]
        made = panel.barh(
            names, widths, left=start, height=0.74, color=COLOURS[verdict], hatch=hatch(verdict), edgecolor="white"
        )
        colour = "black" if verdict in LIGHT else "white"
        box = {"facecolor": COLOURS[verdict], "edgecolor": "none", "pad": 2.5} if hatch(verdict) else None
        panel.bar_label(
            made,
            [str(n) if n else "" for n in widths],
            label_type="center",
            color=colour,
            bbox=box if any(widths) else None,
        )
        start = [a + b for a, b in zip(start, widths, strict=True)]
    panel.set_xlim(0, max(start))
    panel.set_xticks([])
    panel.tick_params(left=False)
    panel.spines[["bottom", "left"]].set_visible(False)


def hatch(verdict: str) -> str | None:
    """Silence is what a black-and-white print must show, too."""
    return "//" if verdict == "silently wrong" else None


def costs(rows: list[Row]) -> Figure:
    """Processor time and memory of a conversion, by engine and target."""
    rows = sorted((row for row in rows if row["verdict"] != "no file"), key=lambda row: row["target"])[::-1]
    names = [f"{row['engine']} → {NAMES[row['target']]}" for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 0.8 + 0.36 * len(rows)), sharey=True)
    for panel, key, title in ((left, "cpu_seconds", "seconds of processor time"), (right, "peak_gb", "GB of memory")):
        plain(panel, names, [row[key] for row in rows], title, "{:.1f}")
    return done(figure)


def plain(panel: Axes, names: list[str], values: list[float], title: str, form: str) -> None:
    """Bars of one measure, ours in our colour."""
    colours = [OURS if name.startswith("xport") else THEIRS for name in names]
    made = panel.barh(names, values, height=0.7, color=colours)
    panel.bar_label(made, [form.format(value) for value in values], padding=3)
    panel.set_title(title)
    panel.set_xlim(0, max(values) * 1.2)
    panel.set_xticks([])
    panel.tick_params(left=False)
    panel.spines[["bottom", "left"]].set_visible(False)


def serving(rows: list[Row]) -> Figure:
    """Answers a second and median wait, one client and sixteen."""
    figure, panels = plt.subplots(2, 2, figsize=(8, 5), sharey=True)
    for line, clients in zip(panels, (1, 16), strict=True):
        chosen = [row for row in rows if row["clients"] == clients][::-1]
        names = [row["server"] for row in chosen]
        who = "one client" if clients == 1 else f"{clients} clients"
        plain(line[0], names, [row["rps"] for row in chosen], f"{who}: answers a second", "{:,.0f}")
        plain(line[1], names, [row["p50_ms"] for row in chosen], f"{who}: median wait, ms", "{:.1f}")
    return done(figure)


def faults() -> Figure:
    """The share of planted faults that each judge misses."""
    found = fault_counts()["misses_by_fault"]
    names = [f"{fault} ({told['planted']})" for fault, told in found.items()][::-1]
    figure, panels = plt.subplots(1, 3, figsize=(8, 0.9 + 0.36 * len(names)), sharey=True)
    judges = (("floor", "rounding floor"), ("1e-03", "tolerance 1e-3"), ("1e-05", "tolerance 1e-5"))
    for panel, (judge, title) in zip(panels, judges, strict=True):
        missed = [told[judge] for told in found.values()][::-1]
        made = panel.barh(names, missed, height=0.7, color=COLOURS["silently wrong"])
        panel.bar_label(made, [str(n) for n in missed], padding=3)
        panel.set_title(f"{title}\nmisses {sum(missed)}")
        panel.set_xlim(0, max(told["planted"] for told in found.values()))
        panel.set_xticks([])
        panel.tick_params(left=False)
        panel.spines["bottom"].set_visible(False)
    return done(figure)


def done(figure: Figure) -> Figure:
    """Lay a figure out."""
    figure.tight_layout()
    return figure


def main() -> None:
    """Draw all that there are results for."""
    IMAGES.mkdir(exist_ok=True)
    with mpl.rc_context(STYLE):
        drawn = {
            "field-small": counts(rows_of("field-small")),
            "field-transformers": counts(rows_of("field-transformers")),
            "field-real": costs(rows_of("field-real")),
            "serving-field": serving(rows_of("serving-field")),
            "faults": faults(),
        }
        for name, figure in drawn.items():
            path = IMAGES / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None, "Title": name})
            # Trailing blanks and a last line are what editors and hooks would change.
            path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
            print(path.relative_to(IMAGES.parents[1]))


if __name__ == "__main__":
    main()
