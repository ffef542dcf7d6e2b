"""Writes the tables of the documentation from `benchmarks/results`, so that no figure in them is typed by hand.

``python benchmarks/tables.py`` writes them; ``--check`` says which page is behind, and fails if any is. A table stands
between ``<!-- table: NAME -->`` and ``<!-- end of table -->``. Nothing but the standard library is needed.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steps import STEPS

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
VERDICTS = ("right", "one batch", "silently wrong", "cannot run", "no file")
Row = dict[str, Any]


def rows_of(name: str) -> list[Row]:
    """The rows of a result."""
    found: list[Row] = json.loads((HERE / "results" / f"{name}.json").read_text())["rows"]
    return found


def table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A Markdown table; columns of figures are set to the right."""
    rule = tuple("---:" if all(_FIGURE.match(line[i]) for line in lines) else "---" for i in range(len(head)))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


_FIGURE = re.compile(r"[\d—]")


def counts_table(rows: list[Row]) -> str:
    """How often each engine was right, by engine and target."""
    counts: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for row in rows:
        counter = counts[row["target"], row["engine"]]
        counter[row["verdict"]] += 1
        counter["interface changed"] += bool(row.get("changes"))
    head = ("target", "converter", "models", *VERDICTS, "interface changed")
    lines = [
        (target, engine, *(str(n) for n in (sum(counter[v] for v in VERDICTS), *(counter[k] for k in head[3:]))))
        for (target, engine), counter in sorted(counts.items(), key=lambda item: _place(*item[0]))
    ]
    return table(head, lines)


def field_cost(rows: list[Row]) -> str:
    """What each converter took for one model."""
    lines = [
        (
            row["engine"],
            row["target"],
            f"{row['cpu_seconds']:.1f}",
            f"{row['peak_gb']:.2f}",
            "—" if row.get("worst") is None else f"{row['worst']:.1e}",
            row["verdict"],
            ", ".join(row.get("changes", [])) or "kept",
        )
        for row in sorted(rows, key=lambda row: row["target"])
    ]
    head = ("converter", "to", "CPU s", "memory GB", "error", "verdict", "interface")
    return table(head, lines)


def not_right(rows: list[Row]) -> str:
    """Which models each engine did not write rightly, and what became of them."""
    found: dict[tuple[str, str, str], list[str]] = collections.defaultdict(list)
    for row in rows:
        if row["verdict"] not in ("right", "one batch"):
            found[row["target"], row["engine"], row["verdict"]].append(row["model"])
    ordered = sorted(found, key=lambda key: (_place(*key[:2]), key[2]))
    return table(("target", "converter", "what", "models"), [(*key, ", ".join(found[key])) for key in ordered])


def _place(target: str, engine: str) -> tuple[str, bool, str]:
    """Where an engine stands in a table: behind xport, by name, whenever it was run."""
    return target, not engine.startswith("xport"), engine


def conversions(rows: list[Row]) -> str:
    """Conversions with their proof."""
    lines = [
        (
            row["model"],
            row["target"],
            f"{row['seconds']:.1f}",
            f"{row['peak_gb']:.2f}",
            f"{row['megabytes']:.1f}",
            f"{row['worst_error']:.1e}",
            f"{row['worst_floor_ratio']:.2f}",
        )
        for row in rows
    ]
    return table(("model (real size)", "target", "seconds", "peak GB", "MB", "worst error", "x floor"), lines)


def latencies(rows: list[Row]) -> str:
    """How long the artifacts take, and how ours stands to each."""
    lines = []
    for row in rows:
        if "p50" in row:
            ratio = row.get("xport_to_this")
            stands = "—" if ratio is None else f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"
            lines.append((row["model"], row["target"], row["engine"], f"{row['p50'] * 1e3:.2f}", stands))
    return table(("model", "artifact", "made by", "p50 ms", "xport's takes, of this"), lines)


def servers(rows: list[Row]) -> str:
    """Servers under one client and under sixteen."""
    by_server: dict[str, list[str]] = collections.defaultdict(list)
    for row in sorted(rows, key=lambda row: row["clients"]):
        digits = 2 if row["clients"] == 1 else 1
        by_server[row["server"]] += [f"{row['p50_ms']:.{digits}f} ms", f"{row['rps']:,.0f}"]
    head = ("server", "one client, p50", "requests a second", "16 clients, p50", "requests a second")
    return table(head, [(name, *cells) for name, cells in by_server.items()])


def judges(found: Row) -> str:
    """What each judge made of faithful conversions and of planted faults."""
    names = {"floor": "rounding floor", "1e-03": "tolerance 1e-3", "1e-05": "tolerance 1e-5"}
    faithful, planted = found["faithful"], found["faults_beyond_rounding"]
    below = found["faults"] - planted
    lines = [
        (
            names[judge],
            f"{told['false_alarms']} of {faithful}",
            f"{told['misses']} of {planted}",
            f"{told['accepted_below_rounding']} of {below}",
        )
        for judge, told in found["judges"].items()
    ]
    return table(("judge", "false alarms", "misses", "accepted, below rounding"), lines)


def misses(found: Row) -> str:
    """Which planted faults each judge missed."""
    head = ("fault", "planted, beyond rounding", "missed by the floor", "by 1e-3", "by 1e-5")
    counts = found["misses_by_fault"].items()
    return table(head, [(fault, *(str(n[k]) for k in ("planted", "floor", "1e-03", "1e-05"))) for fault, n in counts])


def facts(name: str) -> str:
    """On what machine and when a result was measured."""
    machine = json.loads((HERE / "results" / f"{name}.json").read_text())["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    where = f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB"
    return "; ".join(filter(None, (where, versions, machine.get("note")))) + "."


def fault_counts() -> Row:
    """The counts of the fault study."""
    found: Row = json.loads((HERE / "results" / "faults.json").read_text())["counts"]
    return found


TABLES: dict[str, Callable[[], str]] = {
    "field-small": lambda: counts_table(rows_of("field-small")),
    "field-small-wrong": lambda: not_right(rows_of("field-small")),
    "field-small-facts": lambda: facts("field-small"),
    "field-transformers": lambda: counts_table(rows_of("field-transformers")),
    "field-transformers-wrong": lambda: not_right(rows_of("field-transformers")),
    "field-transformers-facts": lambda: facts("field-transformers"),
    "field-real": lambda: field_cost(rows_of("field-real")),
    "field-real-facts": lambda: facts("field-real"),
    "field-latency": lambda: latencies(rows_of("field-latency")),
    "convert-real": lambda: conversions(rows_of("convert-real")),
    "serving-field": lambda: servers(rows_of("serving-field")),
    "faults": lambda: judges(fault_counts()),
    "faults-missed": lambda: misses(fault_counts()),
    "steps": lambda: steps_table(),
}
"""What a page may ask for."""
MARKED = re.compile(r"<!-- table: (?P<name>[\w-]+) -->\n.*?<!-- end of table -->", re.DOTALL)
"""A table's place in a page."""


def steps_table() -> str:
    """What ``make bench`` runs."""
    head = ("step", "measures", "needs beside this repository", "about, on two idle cores")
    lines = [(f"`{step.name}`", step.measures, step.needs or "nothing", f"{step.minutes} min") for step in STEPS]
    return table(head, lines)


def filled(text: str) -> str:
    """A page with its tables made anew.

    Raises:
        KeyError: If it asks for a table that there is not.
    """
    return MARKED.sub(lambda m: f"<!-- table: {m['name']} -->\n{TABLES[m['name']]()}\n<!-- end of table -->", text)


def main() -> None:
    """Write the tables, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is behind")
    check = parser.parse_args().check
    behind = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        new = filled(text)
        if new != text:
            behind.append(page.name)
            if not check:
                page.write_text(new)
    print(f"{'behind' if check else 'written'}: {', '.join(behind) or 'nothing'}")
    if check and behind:
        sys.exit("run: python benchmarks/tables.py")


if __name__ == "__main__":
    main()
