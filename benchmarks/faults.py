"""Does the verdict tell faithful conversions from faulty ones? Rounding floor against fixed tolerances.

Every zoo model is converted faithfully to every format, and every fault of `planted.FAULTS` is planted in its ONNX
form. Each artifact is judged on the same inputs by the rounding floor and by tolerances of 1e-3 and 1e-5
(|difference| <= tolerance + tolerance * |expected|, in the way of `numpy.allclose`). A faithful conversion that is
refused is a false alarm; a fault that is accepted is a miss.

What a fault truly changes is measured in float64: a fault that moves the outputs by less than the model's own
rounding cannot be seen on these inputs by anybody. It is counted apart, whatever the verdicts were.

``python benchmarks/faults.py --models digits_cnn bert`` picks some. The tables go to stdout, everything to
``benchmarks/results/faults.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import earlier, machine
from planted import FAULTS, Fault
from workshop import Tensors, Workshop

from xport import models
from xport.convert.source import open_source
from xport.errors import XportError
from xport.formats import Format
from xport.validate.figures import rms, to_float64
from xport.validate.reference import reference64

TARGETS = (Format.ONNX, Format.SAVEDMODEL, Format.TFLITE, Format.TORCHSCRIPT, Format.EXPORTED)
TOLERANCES = (1e-3, 1e-5)
JUDGES = ("floor", *(f"{tolerance:.0e}" for tolerance in TOLERANCES))
RESULTS = Path(__file__).parent / "results"
_VISIBLE = 1.0


def judged(shop: Workshop, outputs: list[Tensors]) -> dict[str, Any]:
    """Who accepts these outputs, and how far they are away."""
    verdicts = shop.judge(outputs)
    row: dict[str, Any] = {"floor": all(verdict.passed for verdict in verdicts)}
    for tolerance, name in zip(TOLERANCES, JUDGES[1:], strict=True):
        pairs = zip(shop.expectation.outputs, outputs, strict=True)
        row[name] = all(
            left.shape == other[key].shape
            and np.allclose(other[key], left, rtol=tolerance, atol=tolerance, equal_nan=True)
            for expected, other in pairs
            for key, left in expected.items()
        )
    ratios = [verdict.ratio for verdict in verdicts if verdict.ratio is not None]
    finite = [ratio for ratio in ratios if math.isfinite(ratio)]
    rules = sorted({verdict.rule for verdict in verdicts})
    return row | {"ratio": round(max(finite), 3) if finite else None, "rules": rules}


def faithful(shop: Workshop, target: Format) -> dict[str, Any]:
    """One faithful conversion."""
    path = shop.folder / f"{shop.model}-faithful{target.suffix}"
    torch_side = target in (Format.ONNX, Format.TORCHSCRIPT, Format.EXPORTED)
    shop.convert(shop.source if torch_side else open_source(shop.onnx), target, path)
    return judged(shop, shop.run(path, target))


def faulty(shop: Workshop, fault: Fault, clean: list[Tensors]) -> dict[str, Any] | None:
    """One planted fault, run as ONNX; None if it does not apply."""
    made = shop.faulty(fault)
    if made is None:
        return None
    path, node = made
    outputs = shop.run(path, Format.ONNX)
    effect = true_effect(shop, clean, wide(shop, path), outputs)
    return judged(shop, outputs) | {"node": node, "effect": effect}


def wide(shop: Workshop, path: Path) -> list[Tensors]:
    """An ONNX file in float64."""
    runner = reference64(open_source(path), shop.signature, worker=shop.workers.get("torch"))
    if runner is None:
        raise XportError(f"{path} cannot be run in float64.")
    outputs = [runner.run(case.inputs) for case in shop.expectation.cases]
    runner.close()
    return outputs


def true_effect(shop: Workshop, clean: list[Tensors], moved: list[Tensors], outputs: list[Tensors]) -> float:
    """What a fault changes in float64, in the source's own rounding errors; the largest over the outputs.

    Integers that differ count as infinitely far.
    """
    largest = 0.0
    for name, first in shop.expectation.outputs[0].items():
        if first.dtype.kind != "f":
            pairs = zip(shop.expectation.outputs, outputs, strict=True)
            changed = any(not np.array_equal(source[name], other[name]) for source, other in pairs)
            largest = math.inf if changed else largest
            continue
        steps, change = 0.0, 0.0
        for source, left, right in zip(shop.expectation.outputs, clean, moved, strict=True):
            if left[name].shape != right[name].shape:
                return math.inf
            scale = rms(left[name]) or 1.0
            eps = float(np.finfo(source[name].dtype).eps)
            steps += max(rms(to_float64(source[name]) - left[name]) / scale, eps / 2) ** 2
            change += (rms(left[name] - right[name]) / scale) ** 2
        largest = max(largest, math.sqrt(change / steps))
    return largest


def study(model: str) -> list[dict[str, Any]]:
    """All rows of one model."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, Workshop(model, Path(folder)) as shop:
        for target in TARGETS:
            row = {"model": model, "kind": "faithful", "what": target.value}
            try:
                found.append(row | faithful(shop, target))
            except XportError as error:
                found.append(row | {"error": error.message[:300]})
        clean = wide(shop, shop.onnx)
        for fault in FAULTS:
            row = {"model": model, "kind": "fault", "what": fault.name}
            try:
                result = faulty(shop, fault, clean)
            except XportError as error:
                found.append(row | {"error": error.message[:300]})
                continue
            if result is None:
                found.append(row | {"applies": False})
                continue
            visible = result["effect"] > _VISIBLE
            result["effect"] = round(result["effect"], 3) if math.isfinite(result["effect"]) else "inf"
            found.append(row | {"applies": True, "visible": visible} | result)
    return found


def line(row: dict[str, Any]) -> str:
    """A row as a line of the table."""
    head = f"{row['model']:15s} {row['kind']:9s} {row['what']:22s}"
    if "error" in row:
        return f"{head} error: {row['error'][:90]}"
    if not row.get("applies", True):
        return f"{head} does not apply"
    words = " ".join(f"{'accepts' if row[judge] else 'refuses':9s}" for judge in JUDGES)
    ratio = "—" if row["ratio"] is None else f"{row['ratio']:.4g}"
    effect = f"{row['effect']:>12}" if "effect" in row else " " * 12
    return f"{head} {words} {ratio:>12s} {effect}{'' if row.get('visible', True) else '  below rounding'}"


def counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """False alarms and misses of every judge."""
    good = [row for row in rows if row["kind"] == "faithful" and "error" not in row]
    bad = [row for row in rows if row["kind"] == "fault" and row.get("applies") and "error" not in row]
    seen = [row for row in bad if row["visible"]]
    return {
        "faithful": len(good),
        "faults": len(bad),
        "faults_beyond_rounding": len(seen),
        "errors": sum("error" in row for row in rows),
        "does_not_apply": sum(row.get("applies") is False for row in rows),
        "judges": {
            judge: {
                "false_alarms": sum(not row[judge] for row in good),
                "misses": sum(row[judge] for row in seen),
                "accepted_below_rounding": sum(row[judge] for row in bad if not row["visible"]),
            }
            for judge in JUDGES
        },
        "misses_by_fault": {
            fault.name: {
                "planted": sum(row["what"] == fault.name for row in seen),
                **{judge: sum(row[judge] for row in seen if row["what"] == fault.name) for judge in JUDGES},
            }
            for fault in FAULTS
        },
    }


def summary(total: dict[str, Any]) -> str:
    """The counts in words."""
    lines = [
        f"{total['faithful']} faithful conversions; {total['faults']} faults planted, "
        f"{total['faults_beyond_rounding']} of them beyond the model's own rounding; {total['errors']} errors",
    ]
    for judge, found in total["judges"].items():
        lines.append(f"{judge:6s}: {found['false_alarms']} false alarms, {found['misses']} misses")
    return "\n".join(lines)


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=models.names())
    parser.add_argument("--output", type=Path, default=RESULTS / "faults.json")
    parser.add_argument("--append", action="store_true", help="keep other models' rows of an earlier run")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = earlier(arguments.output, arguments.models) if arguments.append else []
    start = time.perf_counter()
    print(
        f"{'model':15s} {'kind':9s} {'what':22s} {' '.join(f'{j:9s}' for j in JUDGES)} {'x floor':>12s} {'true':>12s}"
    )
    arguments.output.parent.mkdir(exist_ok=True)
    for model in arguments.models:
        for row in study(model):
            rows.append(row)
            print(line(row), flush=True)
        # Written after every model: a study that is stopped keeps what it has.
        result = {"machine": machine(), "size": "small", "seconds": round(time.perf_counter() - start)}
        arguments.output.write_text(json.dumps(result | {"counts": counts(rows), "rows": rows}, indent=1) + "\n")
    print(summary(counts(rows)))


if __name__ == "__main__":
    main()
