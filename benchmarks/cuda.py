"""PyTorch on CUDA against PyTorch on the CPU, on the zoo's models: same inputs, the rounding floor as judge, latency.

``python benchmarks/cuda.py`` needs a CUDA device. For each model it runs the source on both devices, and the module that
xport lowers from its ONNX form on CUDA; it writes ``benchmarks/results/cuda.json``.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xport import models
from xport.convert import onnx_to_module, torch_to_onnx, torch_to_onnx_legacy
from xport.convert.source import open_source
from xport.convert.torch_signature import derive_signature
from xport.errors import XportError
from xport.validate.latency import measure
from xport.validate.parity import judge

Arrays = dict[str, np.ndarray]


def run(module: Any, inputs: Arrays, names: tuple[str, ...], device: str) -> Arrays:
    """Run a module on a device and prove that its outputs come from there."""
    tensors = [torch.from_numpy(array).to(device) for array in inputs.values()]
    if any(t.is_floating_point() for t in tensors) and next(module.parameters()).dtype == torch.float64:
        tensors = [t.double() if t.is_floating_point() else t for t in tensors]
    with torch.no_grad():
        result = module(*tensors)
    outputs = result if isinstance(result, tuple) else (result,)
    elsewhere = [t.device.type for t in outputs if t.device.type != device]
    if elsewhere:
        raise RuntimeError(f"outputs lie on {elsewhere}, expected {device}")
    return {name: t.cpu().numpy() for name, t in zip(names, outputs, strict=True)}


def lowered(name: str, size: str, folder: Path) -> Any:
    """The module that xport makes from the model's ONNX form."""
    source = open_source(f"zoo:{name}@{size}")
    path = folder / f"{name}.onnx"
    signature = derive_signature(source)
    try:
        torch_to_onnx.convert(source, path, signature, {})
    except XportError:
        torch_to_onnx_legacy.convert(source, path, signature, {})
    return onnx_to_module.to_module(path)


def cell(name: str, size: str, batch: int, folder: Path) -> dict[str, Any]:
    """One model: verdicts of the CUDA results, and latency on both devices."""
    zoo = models.build(name, size=size)
    inputs = zoo.example_inputs({"batch": batch}, seed=1)
    cpu = run(zoo.module, inputs, zoo.outputs, "cpu")
    wide = run(copy.deepcopy(zoo.module).double(), inputs, zoo.outputs, "cpu")
    row: dict[str, Any] = {"model": name, "size": size, "batch": batch}
    timed = {"cpu": zoo.module}
    for label, module in (("cuda", copy.deepcopy(zoo.module)), ("cuda_lowered", lowered(name, size, folder))):
        module = module.eval().cuda()
        outputs = run(module, inputs, zoo.outputs, "cuda")
        verdicts = judge([cpu], [outputs], [wide])
        row[label] = [
            {"output": v.output, "verdict": v.verdict, "rule": v.rule, "ratio": v.ratio, "max_abs": v.figures.max_abs}
            for v in verdicts
        ]
        timed[label] = module
    row["p50_ms"] = {key: round(t.p50 * 1e3, 4) for key, t in latency(timed, inputs).items()}
    return row


def latency(modules: dict[str, Any], inputs: Arrays) -> Any:
    """Interleaved latency; a CUDA call ends when the device is idle again."""

    def call(module: Any, device: str) -> Any:
        tensors = [torch.from_numpy(a).to(device) for a in inputs.values()]

        def once() -> None:
            with torch.no_grad():
                module(*tensors)
            if device == "cuda":
                torch.cuda.synchronize()

        return once

    return measure({k: call(m, "cpu" if k == "cpu" else "cuda") for k, m in modules.items()}, rounds=20)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=models.names())
    parser.add_argument("--size", choices=("small", "real"), default="small")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results/cuda.json")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch finds no CUDA device.")
    # The default lets convolutions round to TF32, which is a loss of its own and not what is asked here.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            try:
                row = cell(name, arguments.size, arguments.batch, Path(folder))
            except Exception as error:  # a cell that breaks is a result, and the others go on
                traceback.print_exc()
                row = {"model": name, "error": f"{type(error).__name__}: {error}"[:300]}
            rows.append(row)
            print(json.dumps(row), flush=True)
    facts = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }
    arguments.output.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
