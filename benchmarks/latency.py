"""Which format is faster, and by how much: models of the zoo in every format, timed in turns on the same inputs.

``make bench-validate`` runs it; ``python benchmarks/latency.py --models resnet50 bert --size real`` picks some. A table
goes to stdout, everything to ``benchmarks/results/latency.json``. One format is called faster than another only if the
bootstrap intervals say so; see docs/validate.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import machine

import xport
from xport.validate.reports.words import seconds_text

MODELS = ("digits_cnn", "mobilenet_v2", "resnet50", "bert", "gru_classifier")
TARGETS = ("torchscript", "exported", "onnx", "savedmodel", "tflite")
RESULTS = Path(__file__).parent / "results"


def compare(model: str, size: str, batches: list[int], threads: int, runs: int | None) -> dict[str, Any]:
    """Convert one model to every target and time all of them in turns."""
    source = f"zoo:{model}@{size}"
    with tempfile.TemporaryDirectory() as folder:
        made = [
            xport.convert(source, to=target, output=Path(folder) / f"{model}.{target}", verify=False).path
            for target in TARGETS
        ]
        report = xport.validate(source, *made, batch=batches, threads=threads, runs=runs, seed=0)
    rows = [
        {
            "artifact": cell.artifact,
            "batch": cell.batch,
            "status": cell.status.value,
            "reason": cell.reason,
            "seconds": {name: getattr(cell.latency, name) for name in ("p50", "p90", "p99", "p50_interval", "runs")},
            "rows_per_second": cell.throughput,
            "first_seconds": cell.first_seconds,
            "load_seconds": cell.load_seconds,
            "peak_memory": cell.peak_memory,
        }
        for cell in report.cells
        if cell.latency is not None
    ]
    speeds = [speed.to_json() for speed in report.speeds]
    return {"model": source, "passed": report.passed, "cells": rows, "speeds": speeds, "notes": list(report.notes)}


def show(result: dict[str, Any]) -> None:
    """Print one model's rows and what can be said of them."""
    for row in result["cells"]:
        low, high = (seconds_text(end) for end in row["seconds"]["p50_interval"])
        p50, p99 = (seconds_text(row["seconds"][name]) for name in ("p50", "p99"))
        name = row["artifact"].removeprefix("zoo:").partition("@")[0]
        batch = "—" if row["batch"] is None else row["batch"]
        print(f"{name:28s} {batch!s:>5s} {p50:>9s} {low + ' to ' + high:>22s} {p99:>9s}  {row['status']}", flush=True)
    for speed in result["speeds"]:
        where = "" if speed["batch"] is None else f"batch {speed['batch']}: "
        print(f"    {where}{speed['words']}", flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--size", choices=("small", "real"), default="small")
    parser.add_argument("--batch", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int)
    arguments = parser.parse_args()
    print(f"{'artifact':28s} {'batch':>5s} {'p50':>9s} {'95 % interval':>22s} {'p99':>9s}  numbers")
    results = []
    load = os.getloadavg()[0]
    for model in arguments.models:
        results.append(compare(model, arguments.size, arguments.batch, arguments.threads, arguments.runs))
        show(results[-1])
        facts = {**machine(), "threads": arguments.threads, "load_before": load, "load_after": os.getloadavg()[0]}
        RESULTS.mkdir(exist_ok=True)  # after each model: a run that is stopped leaves what it has
        (RESULTS / "latency.json").write_text(json.dumps({"machine": facts, "results": results}, indent=1) + "\n")
    failed = [result["model"] for result in results if not result["passed"]]
    if failed:
        sys.exit(f"the numbers of {', '.join(failed)} differ: what is timed is not the same model")


if __name__ == "__main__":
    main()
