"""Does the verdict tell a quantized model from a broken one? Models of the zoo, quantized well and badly.

``make bench-validate`` runs it. Each model is converted to ONNX and quantized by ONNX Runtime: weights, and activations
as they come (``dynamic``); weights and activations (``static``); so with activations calibrated on inputs a hundred
times as large (``collapsed``), as a wrong preprocessing does. The first two have to pass, the last has to fail. The
table goes to stdout, everything to ``benchmarks/results/losses.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from measure import machine

import xport
from xport.convert.onnx_signature import read_signature
from xport.validate.inputs import cases, integer_bounds, settings

MODELS = ("digits_cnn", "resnet50", "mobilenet_v2", "densenet121", "vit", "bert", "gru_classifier")
KINDS = ("dynamic", "static", "collapsed")
RESULTS = Path(__file__).parent / "results"
ROWS = 32


class Calibration:
    """Seeded inputs like those of a validation, but other ones.

    Args:
        path: The ONNX model.
        scale: What floating point inputs are multiplied by.
    """

    def __init__(self, path: Path, scale: float) -> None:
        signature = read_signature(path)
        sizes = settings(signature)[0][-1:] * ROWS
        self._rows: Iterator[dict[str, np.ndarray]] = iter(
            {
                name: array * np.float32(scale) if array.dtype == np.float32 else array
                for name, array in c.inputs.items()
            }
            for c in cases(signature, seed=99, sizes=sizes, bounds=integer_bounds(path))
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next inputs; None after the last."""
        return next(self._rows, None)


def quantize(path: Path, kind: str) -> Path:
    """Write a quantized model beside another."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    target = path.with_name(f"{kind}.onnx")
    model = onnx.load(path)
    del model.graph.value_info[:]  # the quantizers turn weights over and trip over their old shapes
    if kind == "dynamic":
        quantize_dynamic(model, target, weight_type=QuantType.QUInt8)
    else:
        rows: Any = Calibration(path, 100.0 if kind == "collapsed" else 1.0)
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(model, target, rows, quant_format=QuantFormat.QDQ, per_channel=True, **types)
    return target


def judge(model: str) -> list[dict[str, Any]]:
    """Quantize one model in every way and validate the results."""
    with tempfile.TemporaryDirectory() as folder:
        source = xport.convert(f"zoo:{model}@small", to="onnx", output=Path(folder) / "model.onnx", verify=False).path
        # Tokens cannot be a hundred times as large.
        scalable = any(spec.dtype == "float32" for spec in read_signature(source).inputs)
        made = [quantize(source, kind) for kind in KINDS if scalable or kind != "collapsed"]
        report = xport.validate(source, *made, batch=8, runs=0, threads=1)
    rows = []
    for cell in report.cells[1:]:
        losses = [verdict.loss for verdict in cell.outputs if verdict.loss is not None]
        rows.append(
            {
                "model": model,
                "kind": cell.artifact.removesuffix(".onnx"),
                "status": cell.status.value,
                "sqnr_db": min((loss.sqnr_db for loss in losses), default=None),
                "decisions_kept": min((loss.top1 for loss in losses if loss.top1 is not None), default=None),
                "unintended": cell.worst_ratio,
                "reason": cell.reason,
            }
        )
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=MODELS)
    rows = []
    print(f"{'model':16s} {'kind':10s} {'SQNR dB':>8s} {'decisions':>10s} {'x rounding':>11s}  verdict")
    for model in parser.parse_args().models:
        for row in judge(model):
            rows.append(row)
            shown = [_text(row[key], form) for key, form in (("sqnr_db", ".1f"), ("decisions_kept", ".0%"))]
            beyond = _text(row["unintended"], ".2f")
            print(
                f"{model:16s} {row['kind']:10s} {shown[0]:>8s} {shown[1]:>10s} {beyond:>11s}  {row['status']}",
                flush=True,
            )
        RESULTS.mkdir(exist_ok=True)  # after each model: a run that is stopped leaves what it has
        (RESULTS / "losses.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def _text(value: float | None, form: str) -> str:
    return "—" if value is None else format(value, form)


if __name__ == "__main__":
    main()
