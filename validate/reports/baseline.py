"""Comparison with an earlier run: new drift, slower beyond noise, larger; and which versions changed meanwhile.

Latencies of different days cannot be compared as they are: the machine may be busier. What is compared is the factor
to the reference, which took turns with the others in both runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from xport.errors import UsageError
from xport.validate.results import REPORT_VERSION, BaselineReport, ValidationReport

DRIFT_FACTOR = 2.0
"""How many times its earlier error an output may have, in floors, before that is drift…"""

DRIFT_LEAST = 1.5
"""…unless it is still below this many floors, where luck decides."""

LOSS_DECIBELS = 3.0
"""How much less of the reference a candidate of lower precision may keep: twice the noise's power."""

SLOWER_FACTOR = 1.1
"""Two runs are two sets of processes, which differ by more than the rounds of one run tell."""

SIZE_FACTOR = 1.02
MEMORY_FACTOR = 1.2
_MEMORY_LEAST = 32 * 2**20

Row = Mapping[str, Any]


def read_baseline(given: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Read an earlier run's JSON.

    Args:
        given: A file, or what it holds.

    Returns:
        The JSON object.

    Raises:
        UsageError: If it cannot be read, or is not a validation's.
    """
    fix = "Make one with: xport validate … --json earlier.json"
    if isinstance(given, Mapping):
        data: Any = dict(given)
    else:
        try:
            data = json.loads(Path(given).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UsageError(f"The baseline {given} does not exist.", fix) from error
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"The baseline {given} cannot be read: {error}.", fix) from error
    wanted = ("cells", "artifacts", "environment", "inputs_sha256", "report_version")
    if not isinstance(data, dict) or any(key not in data for key in wanted):
        raise UsageError("The baseline is not the JSON of a validation.", fix)
    if data["report_version"] != REPORT_VERSION:
        raise UsageError(
            f"The baseline has version {data['report_version']} of the JSON form, expected {REPORT_VERSION}.", fix
        )
    return data


def compare_with_baseline(report: ValidationReport, earlier: Mapping[str, Any]) -> ValidationReport:
    """Compare a report with an earlier run.

    Args:
        report: The new one.
        earlier: What `read_baseline` returned.

    Returns:
        The report with what got worse, and what changed otherwise.

    Raises:
        UsageError: If the baseline is malformed.
    """
    try:
        comparison = _Comparison(report.to_json(), earlier)
        comparison.run()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"The baseline is malformed: {type(error).__name__}: {error}.",
            "Make one with: xport validate … --json earlier.json",
        ) from error
    found = BaselineReport(
        str(earlier.get("created", "")),
        tuple(comparison.worse),
        tuple(comparison.changed),
        comparison.versions(),
    )
    return replace(report, baseline=found)


class _Comparison:
    """Two runs in their JSON forms."""

    def __init__(self, now: Row, then: Row) -> None:
        self.now, self.then = now, then
        self.worse: list[str] = []
        self.changed: list[str] = []
        self.same_inputs = now["inputs_sha256"] == then["inputs_sha256"]
        machine = ("processor", "processors")
        self.same_machine = now["threads"] == then["threads"] and all(
            now["environment"].get(key) == then["environment"].get(key) for key in machine
        )

    def run(self) -> None:
        """Fill the lists."""
        if not self.same_inputs:
            self.changed.append("The inputs are others: only verdicts are compared, not errors.")
        if not self.same_machine:
            self.changed.append("The processor or the number of threads is another: latencies are not compared.")
        self._sizes()
        cells = {_key(row): row for row in self.now["cells"]}
        earlier = {_key(row): row for row in self.then["cells"]}
        for key, row in earlier.items():
            if key not in cells:
                (self.worse if row["fine"] else self.changed).append(f"{_words(key)}: there is no such cell any more.")
        for key, row in cells.items():
            if key in earlier:
                self._cell(_words(key), earlier[key], row)
            else:
                self.changed.append(f"{_words(key)}: new.")

    def versions(self) -> dict[str, tuple[str, str]]:
        """The versions that changed, and the platform."""
        then, now = ({**side["environment"]["versions"]} for side in (self.then, self.now))
        names = dict.fromkeys([*then, *now])
        return {n: (then.get(n, "none"), now.get(n, "none")) for n in names if then.get(n) != now.get(n)}

    def _sizes(self) -> None:
        then = {row["name"]: row for row in self.then["artifacts"]}
        for row in self.now["artifacts"]:
            other = then.get(row["name"])
            if other is None:
                continue
            if row["sha256"] != other["sha256"]:
                self.changed.append(f"{row['name']}: the file is another one.")
            if row["size"] and other["size"] and row["size"] > SIZE_FACTOR * other["size"]:
                self.worse.append(f"{row['name']}: larger, {row['size']} bytes, was {other['size']}.")

    def _cell(self, name: str, then: Row, now: Row) -> None:
        if then["fine"] and not now["fine"]:
            self.worse.append(f"{name}: {now['status']}, was {then['status']}: {now['reason']}")
        elif then["status"] == "passed" and now["status"] == "no device":
            self.worse.append(f"{name}: {now['reason']}, it passed before.")
        elif then["status"] != now["status"]:
            self.changed.append(f"{name}: {now['status']}, was {then['status']}.")
        self._drift(name, then, now)
        self._memory(name, then, now)
        self._latency(name, then, now)

    def _drift(self, name: str, then: Row, now: Row) -> None:
        earlier = {row["output"]: row for row in then["outputs"]}
        for row in now["outputs"]:
            other = earlier.get(row["output"])
            if other is None or not self.same_inputs:
                continue
            self._loss(name, row, other)
            if row["ratio"] is None or other["ratio"] is None:
                continue
            new, old = float(row["ratio"]), float(other["ratio"])
            if new > DRIFT_LEAST and new > DRIFT_FACTOR * old:
                self.worse.append(f"{name}: {row['output']} drifted to {new:.2f} floors, was {old:.2f}.")
            elif row["verdict"] != other["verdict"]:
                self.changed.append(f"{name}: {row['output']} is {row['verdict']}, was {other['verdict']}.")

    def _loss(self, name: str, row: Row, other: Row) -> None:
        if row.get("loss") and other.get("loss"):
            new, old = float(row["loss"]["sqnr_db"]), float(other["loss"]["sqnr_db"])
            if new < old - LOSS_DECIBELS:
                self.worse.append(f"{name}: {row['output']} keeps {new:.1f} dB of the reference, was {old:.1f}.")

    def _memory(self, name: str, then: Row, now: Row) -> None:
        new, old = now["peak_memory"], then["peak_memory"]
        if new and old and new > MEMORY_FACTOR * old and new - old > _MEMORY_LEAST:
            self.worse.append(f"{name}: peak memory {new / 2**20:.0f} MiB, was {old / 2**20:.0f}.")

    def _latency(self, name: str, then: Row, now: Row) -> None:
        if not self.same_machine:
            return
        new, old = (next(_relative(side, name), None) for side in (self.now, self.then))
        if new is None or old is None:
            return
        (low, middle, high), (old_low, old_middle, old_high) = new, old
        factor = old_middle / middle  # how much more of the reference's time it takes
        if high < old_low and factor >= SLOWER_FACTOR:
            self.worse.append(
                f"{name}: slower beyond noise, {factor:.2f} times its earlier latency in terms of the reference's."
            )
        elif low > old_high and 1 / factor >= SLOWER_FACTOR:
            self.changed.append(f"{name}: faster, {1 / factor:.2f} times in terms of the reference's latency.")


def _relative(side: Row, name: str) -> Iterator[tuple[float, float, float]]:
    """How many times as fast as the reference a cell is, with its interval."""
    for row in side["speeds"]:
        if _words(_key(row)) == name:
            yield float(row["interval"][0]), float(row["times"]), float(row["interval"][1])


def _key(row: Row) -> tuple[str, str, int | None]:
    return row["artifact"], row["device"], row["batch"]


def _words(key: tuple[str, str, int | None]) -> str:
    artifact, device, batch = key
    return f"{artifact} on {device}" + ("" if batch is None else f", batch {batch}")
