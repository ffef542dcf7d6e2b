"""Seconds, peak memory, size and worst error of every zoo model to every target, verification included.

``make bench-convert`` runs it; ``python benchmarks/convert.py --models resnet50 bert seq2seq --size real`` picks some.
The table goes to stdout, everything to ``benchmarks/results/convert-<size>.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import machine, run

from xport import models

TARGETS = ("torchscript", "exported", "onnx", "savedmodel", "tflite")
RESULTS = Path(__file__).parent / "results"


def convert(model: str, size: str, target: str, folder: Path) -> dict[str, Any]:
    """Convert one model in a process of its own and measure it."""
    output = folder / f"{model}-{target}"
    command = [sys.executable, "-m", "xport", "convert", f"zoo:{model}@{size}", "--to", target, "-o", str(output)]
    cost = run([*command, "--json"])
    row: dict[str, Any] = {
        "model": model,
        "target": target,
        "seconds": round(cost.seconds, 2),
        "peak_gb": round(cost.peak_bytes / 1e9, 2),
        "exit_code": cost.code,
    }
    if cost.code:
        return row | {"error": (cost.output or cost.log).strip()[-500:]}
    parity = json.loads(cost.output)["outputs"]
    return row | {
        "megabytes": round(_size(output) / 1e6, 2),
        "worst_error": max((entry["max_abs"] or 0.0 for entry in parity), default=0.0),
        "worst_floor_ratio": max((entry["ratio"] or 0.0 for entry in parity), default=0.0),
        "verdicts": sorted({entry["verdict"] for entry in parity}),
    }


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=models.names())
    parser.add_argument("--targets", nargs="*", default=TARGETS)
    parser.add_argument("--size", choices=("small", "real"), default="small")
    arguments = parser.parse_args()
    rows = []
    print(f"{'model':16s} {'target':12s} {'s':>7s} {'GB':>6s} {'MB':>8s} {'worst':>9s} {'x floor':>8s}  verdict")
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            for target in arguments.targets:
                row = convert(model, arguments.size, target, Path(folder))
                rows.append(row)
                print(line(row), flush=True)
    RESULTS.mkdir(exist_ok=True)
    result = {"machine": machine(), "size": arguments.size, "rows": rows}
    (RESULTS / f"convert-{arguments.size}.json").write_text(json.dumps(result, indent=1) + "\n")


def line(row: dict[str, Any]) -> str:
    """A row as a line of the table."""
    head = f"{row['model']:16s} {row['target']:12s} {row['seconds']:7.1f} {row['peak_gb']:6.2f}"
    if row["exit_code"]:
        return f"{head}  exit {row['exit_code']}: {row['error'][:120]}"
    return f"{head} {row['megabytes']:8.2f} {row['worst_error']:9.1e} {row['worst_floor_ratio']:8.2f}  " + ", ".join(
        row["verdicts"]
    )


if __name__ == "__main__":
    main()
