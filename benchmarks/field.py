"""xport beside onnx2tf and litert-torch: seconds, peak memory, and whether what they write is right.

``make bench-convert`` runs it over the small zoo and over ResNet-50 at its real size (about 100 MB of weights). The
tables go to stdout, everything to ``benchmarks/results/field-<size>.json``. ``litert-torch`` starts at the zoo's
PyTorch module, the others at the same ONNX file.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from field_engines import ENGINES, HERE, SIZES, AbsentError, Engine, compile_xport, convert
from measure import machine, run

import xport
from xport import models

RESULTS = HERE / "results"
BATCHES = (2, 1, 5)
"""Two is what litert-torch is shown; one and five tell whether the batch is really free."""


def prepare(model: str, size: str, folder: Path) -> tuple[Path, Path]:
    """The zoo's model as ONNX, and a file of inputs at each batch size."""
    onnx, cases = folder / f"{model}.onnx", folder / f"{model}.npz"
    xport.convert(f"zoo:{model}@{size}", to="onnx", output=onnx, verify=False)
    zoo = models.build(model, size=size)
    drawn = {f"batch {batch}": zoo.example_inputs(SIZES | {"batch": batch}, seed=batch) for batch in BATCHES}
    np.savez(cases, **{f"{case}/{name}": array for case, arrays in drawn.items() for name, array in arrays.items()})
    return onnx, cases


def measured(engine: Engine, model: str, size: str, target: str, made: tuple[Path, Path]) -> dict[str, Any]:
    """Convert by one engine, then judge what it wrote."""
    row: dict[str, Any] = {"model": model, "engine": engine.name, "target": target}
    with tempfile.TemporaryDirectory() as folder:
        cost, artifact = convert(engine, model, size, made[0], target, Path(folder))
        row |= {"seconds": round(cost.seconds, 2), "cpu_seconds": round(cost.cpu_seconds, 2)}
        row |= {"peak_gb": round(cost.peak_bytes / 1e9, 2), "exit_code": cost.code}
        if artifact is None:
            lines = [line for line in (cost.log + cost.output).splitlines() if line.strip()]
            return row | {"verdict": "no file", "reason": " ".join(lines[-3:])[-300:]}
        size_bytes = sum(f.stat().st_size for f in ([artifact] if artifact.is_file() else artifact.rglob("*.*")))
        row["megabytes"] = round(size_bytes / 1e6, 2)
        answer = run([sys.executable, str(HERE / "field_judge.py"), str(made[0]), str(artifact), str(made[1])])
    if answer.code:
        return row | {"verdict": "crashes", "reason": f"exit code {answer.code}"}
    told = json.loads(answer.output.splitlines()[-1])
    return row | told | {"verdict": verdict(told["cases"])}


def verdict(cases: dict[str, str]) -> str:
    """One word for an artifact: ``right``, ``one batch`` (right where it runs), ``silently wrong``, ``cannot run``."""
    if any(not text.startswith(("right", "does not")) for text in cases.values()):
        return "silently wrong"
    runs = [text == "right" for text in cases.values()]
    return "right" if all(runs) else "one batch" if any(runs) else "cannot run"


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    worst = f"{row['worst']:9.1e}" if row.get("worst") is not None else f"{'-':>9s}"
    text = f"{row['model']:16s} {row['target']:11s} {row['engine']:28s} {row['seconds']:7.1f} {row['cpu_seconds']:7.1f}"
    text += f" {row['peak_gb']:6.2f}"
    notes = "; ".join(row.get("changes", [])) or row.get("reason", "")
    return f"{text} {worst}  {row['verdict']:15s} {notes[:90]}"


def totals(rows: list[dict[str, Any]]) -> list[str]:
    """How often each engine was right."""
    counts: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for row in rows:
        key = row["engine"], row["target"]
        counts[key]["models"] += 1
        counts[key][row["verdict"]] += 1
        counts[key]["interface changed"] += bool(row.get("changes"))
    return [f"{e:28s} {t:11s} " + ", ".join(f"{n} {what}" for what, n in c.items()) for (e, t), c in counts.items()]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=models.names())
    parser.add_argument("--size", choices=("small", "real"), default="small")
    parser.add_argument("--engines", nargs="*", default=[engine.name for engine in ENGINES])
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    compile_xport()
    load = os.getloadavg()[0]
    print(f"{'model':16s} {'target':11s} {'engine':28s} {'s':>7s} {'CPU s':>7s} {'GB':>6s} {'worst':>9s}  verdict")
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            made = prepare(model, arguments.size, Path(folder))
            for target in ("savedmodel", "tflite"):
                for engine in (e for e in ENGINES if target in e.targets and e.name in arguments.engines):
                    if engine.name in absent:
                        continue
                    try:
                        rows.append(measured(engine, model, arguments.size, target, made))
                    except AbsentError as error:
                        absent[engine.name] = str(error)
                        print(f"absent: {engine.name}: {error}", flush=True)
                        continue
                    print(line(rows[-1]), flush=True)
            facts = {**machine(), "load_before": load, "load_after": os.getloadavg()[0]}
            result = {"machine": facts, "size": arguments.size, "absent": absent, "rows": rows}
            RESULTS.mkdir(exist_ok=True)  # after each model: a run that is stopped leaves what it has
            (RESULTS / f"field-{arguments.size}.json").write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(totals(rows)))


if __name__ == "__main__":
    main()
