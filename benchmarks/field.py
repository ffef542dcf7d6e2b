"""xport beside onnx2tf, litert-torch and onnx2torch: is what they write right, what does it take.

``make bench-convert`` runs it over the small zoo, over ResNet-50 at its real size (about 100 MB of weights) and over
architectures of the `transformers` package. The tables go to stdout, everything to
``benchmarks/results/field-<set>.json``. litert-torch starts at the PyTorch module, the others at the same ONNX file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from field_engines import ENGINES, HERE, LIMIT, AbsentError, Engine, compile_xport, convert
from field_models import OLDER, Subject, names, subject
from measure import machine, run
from tables import counts_table

import xport

RESULTS = HERE / "results"
BATCHES = (2, 1, 5)
"""Two is what litert-torch is shown; one and five tell whether the batch is really free."""
TARGETS = ("savedmodel", "tflite", "pytorch")


def prepare(model: Subject, folder: Path, older: bool = False) -> tuple[Path, Path]:
    """A model as ONNX, in opset 15 as well if wanted and possible, and a file of inputs at each batch size."""
    onnx, cases = folder / f"{model.name}.onnx", folder / f"{model.name}.npz"
    model.write_onnx(onnx)
    if older:
        try:
            model.write_onnx(onnx.with_suffix(OLDER), opset=15)
        except xport.XportError as error:
            print(f"{model.name}: not in opset 15: {error.message.splitlines()[0][:120]}", file=sys.stderr)
    drawn = {f"batch {batch}": model.examples(batch) for batch in BATCHES}
    np.savez(cases, **{f"{case}/{name}": array for case, arrays in drawn.items() for name, array in arrays.items()})
    return onnx, cases


def measured(engine: Engine, model: Subject, target: str, made: tuple[Path, Path]) -> dict[str, Any]:
    """Convert by one engine, then judge what it wrote."""
    row: dict[str, Any] = {"model": model.name, "engine": engine.name, "target": target}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as own:
        for file in made[0].parent.glob(f"{made[0].stem}.*"):
            shutil.copy(file, own)  # a copy, for onnx2tf with sizes fixed writes them into the file that it was given
        cost, artifact = convert(engine, model, (Path(own) / made[0].name, made[1]), target, Path(folder))
        row |= {"seconds": round(cost.seconds, 2), "cpu_seconds": round(cost.cpu_seconds, 2)}
        row |= {"peak_gb": round(cost.peak_bytes / 1e9, 2), "exit_code": cost.code}
        if artifact is None:
            return row | {"verdict": "no file", "reason": reason(cost.log + cost.output)}
        if target != "pytorch":  # a module lies in memory
            size_bytes = sum(f.stat().st_size for f in ([artifact] if artifact.is_file() else artifact.rglob("*.*")))
            row["megabytes"] = round(size_bytes / 1e6, 2)
        judge = [sys.executable, str(HERE / "field_judge.py"), str(made[0]), str(artifact), str(made[1])]
        answer = run(judge, limit=LIMIT)
    if answer.code:
        return row | {"verdict": "cannot run", "reason": f"crashes: exit code {answer.code}"}
    told = json.loads(answer.output.splitlines()[-1])
    return row | told | {"verdict": verdict(told["cases"])}


def reason(log: str) -> str:
    """The end of a log, where an error is told."""
    return " ".join(line.strip() for line in [line for line in log.splitlines() if line.strip()][-3:])[-300:]


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


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=("zoo", "transformers"), default="zoo")
    parser.add_argument("--models", nargs="*", help="some of the set instead of all")
    parser.add_argument("--size", choices=("small", "real"), default="small", help="of the zoo's models")
    parser.add_argument("--engines", nargs="*", default=[engine.name for engine in ENGINES])
    parser.add_argument("--targets", nargs="*", choices=TARGETS, default=TARGETS)
    parser.add_argument(
        "--append", action="store_true", help="keep the rows of an earlier run, and do not run them again"
    )
    return parser.parse_args()


def main() -> None:
    """Run the benchmark."""
    arguments = parsed()
    name = arguments.set if arguments.set == "transformers" else arguments.size
    results = RESULTS / f"field-{name}.json"
    earlier: dict[str, Any] = json.loads(results.read_text()) if arguments.append and results.exists() else {}
    rows: list[dict[str, Any]] = earlier.get("rows", [])
    note = {name: text for name, text in earlier.get("machine", {}).items() if name == "note"}
    done = {(row["model"], row["engine"], row["target"]) for row in rows}
    absent: dict[str, str] = {}
    compile_xport()
    load = os.getloadavg()[0]
    print(f"{'model':16s} {'target':11s} {'engine':28s} {'s':>7s} {'CPU s':>7s} {'GB':>6s} {'worst':>9s}  verdict")
    engines = [engine for engine in ENGINES if engine.name in arguments.engines]
    jobs = [(engine, target) for target in arguments.targets for engine in engines if target in engine.targets]
    with tempfile.TemporaryDirectory() as folder:
        for each in arguments.models or names(arguments.set):
            left = [(engine, target) for engine, target in jobs if (each, engine.name, target) not in done]
            if not left:
                continue
            model = subject(f"{arguments.set}:{each}" + (f"@{arguments.size}" if arguments.set == "zoo" else ""))
            made = prepare(model, Path(folder), older=any(engine.name.startswith("onnx2torch") for engine, _ in left))
            for engine, target in left:
                try:
                    if engine.name not in absent:
                        rows.append(measured(engine, model, target, made))
                        print(line(rows[-1]), flush=True)
                except AbsentError as error:
                    absent[engine.name] = str(error)
                    print(f"absent: {engine.name}: {error}", flush=True)
                facts = {**machine(), "load_before": load, "load_after": os.getloadavg()[0], **note}
                result = {"machine": facts, "set": name, "limit_seconds": LIMIT, "absent": absent, "rows": rows}
                RESULTS.mkdir(exist_ok=True)  # after each conversion: a run that is stopped leaves what it has
                results.write_text(json.dumps(result, indent=1) + "\n")
    print(counts_table(rows))


if __name__ == "__main__":
    main()
