"""Planted faults, and whether ``xport bisect`` finds the node: PyTorch and ONNX against ONNX, SavedModel and TFLite.

``python benchmarks/bisection.py --models digits_cnn bert`` picks some. The table goes to stdout, everything to
``benchmarks/results/bisection.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import earlier, machine
from planted import FAULTS, Fault
from workshop import Workshop

from xport import models
from xport.errors import XportError
from xport.formats import Format
from xport.validate.bisection.results import BisectReport
from xport.validate.bisection.trunk import Trunk

CANDIDATES = (Format.ONNX, Format.SAVEDMODEL, Format.TFLITE)
REFERENCES = (Format.PYTORCH, Format.ONNX)
RESULTS = Path(__file__).parent / "results"


def found(report: BisectReport, node: str, trunk: Trunk) -> str:
    """How well a report names the node at fault.

    Returns:
        ``exact`` if it is named alone, ``within N`` if it is among N operators that cannot be told apart, ``next`` if
        the operator behind it is named (a converter may fold one into the other's weight), ``missed`` if another is
        named, ``none`` if nothing diverges.
    """
    first = report.first
    if first is None:
        return "none"
    names = [operator.name for operator in first.operators]
    if node not in names:
        made = {value for each in trunk.nodes if each.name == node for value in each.outputs}
        behind = {each.name for each in trunk.nodes if made & set(each.inputs)}
        return "next" if names[0] in behind else "missed"
    return "exact" if len(names) == 1 else f"within {len(names)}"


def rows(shop: Workshop, fault: Fault, targets: tuple[Format, ...]) -> list[dict[str, Any]]:
    """Plant a fault and look for it in every format, from both references."""
    made = shop.faulty(fault)
    if made is None:
        return [{"model": shop.model, "fault": fault.name, "applies": False}]
    path, node = made
    trunk = Trunk.open(shop.onnx)
    results = []
    for target in targets:
        row: dict[str, Any] = {"model": shop.model, "fault": fault.name, "applies": True, "node": node}
        row["candidate"] = target.value
        try:
            artifact = shop.made_from(path, target)
            for reference in REFERENCES:
                start = time.perf_counter()
                report = shop.bisect(artifact, target, reference=reference)
                results.append(
                    row
                    | {
                        "reference": reference.value,
                        "found": found(report, node, trunk),
                        "seconds": round(time.perf_counter() - start, 2),
                        "outputs_agree": all(v.passed for v in report.outputs),
                        "named": report.first.where if report.first else "",
                        "reasons": list(report.first.reasons) if report.first else [],
                        "cured": report.first.cured if report.first else None,
                        "verdict": report.verdict,
                        "runtime": list(report.runtime),
                    }
                )
        except XportError as error:
            results.append(row | {"reference": "", "found": "error", "error": error.message[:300]})
    return results


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=models.names())
    parser.add_argument("--targets", nargs="*", default=[target.value for target in CANDIDATES])
    parser.add_argument("--output", type=Path, default=RESULTS / "bisection.json")
    parser.add_argument("--append", action="store_true", help="keep other models' rows of an earlier run")
    arguments = parser.parse_args()
    targets = tuple(Format.parse(name) for name in arguments.targets)
    everything: list[dict[str, Any]] = earlier(arguments.output, arguments.models) if arguments.append else []
    arguments.output.parent.mkdir(exist_ok=True)
    print(f"{'model':14s} {'fault':22s} {'reference':10s} {'candidate':11s} {'found':10s}  named")
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder, Workshop(model, Path(folder)) as shop:
            for fault in FAULTS:
                for row in rows(shop, fault, targets):
                    everything.append(row)
                    if row["applies"]:
                        print(line(row), flush=True)
        # Written after every model: a study that is stopped keeps what it has.
        result = {"machine": machine(), "size": "small", "rows": everything}
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(summary(everything))


def line(row: dict[str, Any]) -> str:
    """A row as a line of the table."""
    head = f"{row['model']:14s} {row['fault']:22s} {row['reference']:10s} {row['candidate']:11s} {row['found']:10s}"
    return f"{head}  {row.get('named') or row.get('error', row.get('verdict', ''))}"[:180]


def summary(everything: list[dict[str, Any]]) -> str:
    """How often the node was found, by candidate."""
    lines = []
    for target in dict.fromkeys(row["candidate"] for row in everything if row["applies"]):
        chosen = [row["found"] for row in everything if row["applies"] and row["candidate"] == target]
        counts = {kind: chosen.count(kind) for kind in sorted(set(chosen))}
        lines.append(f"{target}: " + ", ".join(f"{kind} {count}" for kind, count in counts.items()))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
