"""The table of cases that are refused, each with its reason: ``exclusions.tsv`` beside this file.

A line is ``target``, ``mode``, ``case`` and ``reason``, separated by tabs. ``make conformance`` writes it from a run;
only a refusal can stand in it: a wrong number or a crash is never excused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

TABLE = Path(__file__).with_suffix(".tsv")

Key = tuple[str, str, str]
"""Target, mode, case."""


def read() -> dict[Key, str]:
    """The reason by target, mode and case."""
    if not TABLE.exists():
        return {}
    rows = (line.split("\t") for line in TABLE.read_text().splitlines() if line and not line.startswith("#"))
    return {(target, mode, case): reason for target, mode, case, reason in rows}


def write(rows: Iterable[tuple[Key, str]], measured: Collection[tuple[str, str]]) -> None:
    """Replace the rows of the combinations that were measured; those of others stay."""
    kept = [(key, reason) for key, reason in read().items() if key[:2] not in measured]
    lines = ["# target\tmode\tcase\treason"]
    lines += ["\t".join((*key, " ".join(reason.split()))) for key, reason in sorted([*kept, *rows])]
    TABLE.write_text("\n".join(lines) + "\n")


def brief(detail: str) -> str:
    """A refusal's reason without the node's name and the advice."""
    first = " ".join(detail.split())
    head, separator, tail = first.partition(": ")
    if separator and head.startswith("Cannot lower"):
        first = tail
    return first.split(" Replace them")[0].replace("Operators that xport cannot lower to ", "no handler for ")[:160]
