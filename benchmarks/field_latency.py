"""How fast converted models run: xport's TFLite beside other converters' files, its SavedModel beside Keras by hand.

``make bench-convert`` runs it for ResNet-50, MobileNetV2 and BERT. The artifacts take turns on the same inputs, with
the same number of threads; a ratio is the median of the ratios of neighbours in time, so that what else the machine
does strikes all alike. Everything goes to ``benchmarks/results/field-latency.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from field import RESULTS, prepare
from field_engines import ENGINES, AbsentError, convert
from field_judge import LiteArtifact, SavedArtifact, Tensors, compared, matched
from field_models import subject
from measure import machine, run

MODELS = ("resnet50", "mobilenet_v2", "bert")
MEASURED = ("xport --no-verify", "onnx2tf 2.6.9", "litert-torch 0.10.0")
HAND = "hand-written Keras"


def artifacts(model: str, size: str, folder: Path) -> tuple[dict[tuple[str, str], Path], dict[str, str]]:
    """Every artifact by target and engine, and why some are missing."""
    chosen = subject(f"zoo:{model}@{size}")
    made, absent = prepare(chosen, folder), {}
    found: dict[tuple[str, str], Path] = {}
    for engine in (e for e in ENGINES if e.name in MEASURED):
        for target in ("savedmodel", "tflite") if engine.name.startswith("xport") else ("tflite",):
            place = folder / f"{engine.name} {target}".replace(" ", "-")
            place.mkdir()
            try:
                cost, path = convert(engine, chosen, made, target, place)
            except AbsentError as error:
                absent[engine.name] = str(error)
                continue
            if path is None:
                absent[engine.name] = (cost.log.strip().splitlines() or ["it wrote no file"])[-1][:200]
            else:
                found[target, engine.name.partition(" ")[0]] = path
    code = (
        f"import hand_written, pathlib; hand_written.write({model!r}, {size!r}, pathlib.Path({str(folder / HAND)!r}))"
    )
    cost = run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    if cost.code:
        raise SystemExit(f"the hand-written {model} could not be made: {cost.log[-500:]}")
    return found | {("savedmodel", HAND): folder / HAND}, absent


def timed(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Let the calls take turns for some seconds, at least ten rounds, after two that do not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    until = time.monotonic() + seconds
    rounds = 0
    while rounds < 12 or time.monotonic() < until:
        for name in calls if rounds % 2 else reversed(calls):
            start = time.perf_counter()
            calls[name]()
            if rounds >= 2:
                times[name].append(time.perf_counter() - start)
        rounds += 1
    return times


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Ours to theirs: the median over rounds, and a 95 % bootstrap interval of it."""
    rounds = np.array(ours) / np.array(theirs)
    drawn = np.random.default_rng(0).choice(rounds, (2000, len(rounds)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(np.median(rounds)), float(low), float(high)


def measure(model: str, size: str, threads: int, seconds: float) -> list[dict[str, Any]]:
    """Time one model's artifacts, those of a target in turns."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        found, absent = artifacts(model, size, Path(folder))
        for target in ("tflite", "savedmodel"):
            calls, right = {}, {}
            with np.load(Path(folder) / f"{model}.npz") as file:
                given: Tensors = {key.partition("/")[2]: file[key] for key in file if key.startswith("batch 2/")}
            expected: Tensors | None = None
            for name, path in sorted(
                ((engine, path) for (t, engine), path in found.items() if t == target), key=lambda e: e[0] != "xport"
            ):
                made = LiteArtifact(path, threads) if target == "tflite" else SavedArtifact(path)
                tensors = matched(made, given, set())
                answer = made.run(tensors)
                expected = answer if expected is None else expected
                right[name] = compared(expected, answer, set())
                calls[name] = made.prepared(tensors)
            times = timed(calls, seconds)
            for name, spent in times.items():
                row = {"model": model, "target": target, "engine": name, "runs": len(spent), "agrees": right[name]}
                row |= {"p50": statistics.median(spent), "best": min(spent)}
                row |= {"xport_to_this": ratio(times["xport"], spent)} if name != "xport" else {}
                rows.append(row)
                print(line(row), flush=True)
        rows += [{"model": model, "engine": name, "absent": why} for name, why in absent.items()]
    return rows


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    text = (
        f"{row['model']:14s} {row['target']:11s} {row['engine']:20s} {row['p50'] * 1e3:9.2f} {row['best'] * 1e3:9.2f}"
    )
    if "xport_to_this" not in row:
        return text
    middle, low, high = row["xport_to_this"]
    return f"{text}  xport takes {middle:.2f} x as long ({low:.2f} to {high:.2f}), numbers: {row['agrees'][0]}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--size", choices=("small", "real"), default="real")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20, help="for each model and target")
    arguments = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    rows: list[dict[str, Any]] = []
    load = os.getloadavg()[0]
    print(f"{'model':14s} {'target':11s} {'engine':20s} {'p50 ms':>9s} {'best ms':>9s}")
    for model in arguments.models:
        rows += measure(model, arguments.size, arguments.threads, arguments.seconds)
        facts = {**machine(), "threads": arguments.threads, "load_before": load, "load_after": os.getloadavg()[0]}
        result = {"machine": facts, "size": arguments.size, "batch": 2, "rows": rows}
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "field-latency.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
