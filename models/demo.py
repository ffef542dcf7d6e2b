"""The main job on real data: train on handwritten digits, convert to every format, prove and compare.

``make demo`` runs it; ``python -m xport.models.demo --output demo`` does the same by hand, in a clone or from a wheel.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from xport.artifact import Artifact
from xport.errors import MissingRuntimeError, XportError

ARCH = "xport.models:digits_cnn"
INPUT = "image:float32[batch,1,8,8]"
TARGETS = {
    "torchscript": "digits.torchscript.pt",
    "onnx": "digits.onnx",
    "savedmodel": "digits_savedmodel",
    "tflite": "digits.tflite",
}
NEEDED = {
    "torch": "torch",
    "sklearn": "scikit-learn",
    "onnxruntime": "onnxruntime",
    "tensorflow": "tensorflow-cpu",
    "ai_edge_litert": "ai-edge-litert",
}
"""Import names and distributions of what the demo runs."""


def check_installed() -> None:
    """Make sure, before any work, that all the demo runs is there.

    Raises:
        MissingRuntimeError: If something is not installed.
    """
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingRuntimeError(
            f"The demo needs {', '.join(missing)}, not installed here.", "pip install 'xport-ml[cpu,demo]'"
        )


def train(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Train the digits CNN and save its state dict.

    Args:
        folder: Where ``model.pt`` goes.

    Returns:
        The file, and the held-out images [N, 1, 8, 8] and labels [N].
    """
    import torch

    from xport import models
    from xport.models import digits

    print("1/4  training a small CNN on scikit-learn's handwritten digits", flush=True)
    train_x, train_y, test_x, test_y = digits.load_digits_data()
    module = models.build("digits_cnn", size="real").module
    started = time.perf_counter()
    digits.train(module, train_x, train_y, epochs=8, progress=_epoch)
    path = folder / "model.pt"
    torch.save(module.state_dict(), path)
    print(f"\r     {len(train_x)} images, {time.perf_counter() - started:.0f} s, saved {path}{' ' * 20}", flush=True)
    return path, test_x, test_y


def _epoch(epoch: int, loss: float) -> None:
    print(f"\r     epoch {epoch}, loss {loss:.4f}", end="", flush=True)


def convert_all(model: Path, folder: Path, test_x: np.ndarray) -> dict[str, Artifact]:
    """Convert the model to every target, each proven on seeded inputs and on held-out digits.

    Args:
        model: The state dict.
        folder: Where the artifacts go.
        test_x: Held-out images; the first ones take part in the proof.

    Returns:
        Artifacts by target.
    """
    import xport

    artifacts = {}
    for target, name in TARGETS.items():
        print(f"2/4  converting to {target} and proving it", flush=True)
        artifacts[target] = xport.convert(
            model,
            to=target,
            output=folder / name,
            arch=ARCH,
            inputs=[INPUT],
            input_data={"image": test_x[:32]},
            overwrite=True,
        )
    return artifacts


def rows(model: Path, artifacts: dict[str, Artifact], x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    """Run every format on the held-out digits.

    Args:
        model: The source.
        artifacts: What was made of it.
        x: Held-out images [N, 1, 8, 8].
        y: Their labels [N].

    Returns:
        A row a format: size in bytes, worst error against the source, verdict, accuracy, latency in seconds.
    """
    import xport
    from xport.validate.latency import measure

    loaded = {"pytorch": xport.load(model, arch=ARCH, inputs=[INPUT], threads=1)}
    loaded |= {target: xport.load(artifact.path, threads=1) for target, artifact in artifacts.items()}
    print(f"3/4  running all {len(loaded)} formats on {len(x)} held-out digits", flush=True)
    outputs = {name: run({"image": x})["logits"] for name, run in loaded.items()}
    print("4/4  timing them side by side, one image a call", flush=True)
    one = {"image": x[:1]}
    latencies = measure({name: functools.partial(run, one) for name, run in loaded.items()}, rounds=200)
    table = []
    for name, logits in outputs.items():
        proof = artifacts[name].proof if name in artifacts else None
        table.append(
            {
                "format": name,
                "size": size_of(artifacts[name].path if name in artifacts else model),
                "worst error": float(np.abs(logits - outputs["pytorch"]).max()),
                "verdict": _verdict(proof),
                "accuracy": float((logits.argmax(1) == y).mean()),
                "latency": latencies[name].p50,
            }
        )
    for run in loaded.values():
        run.close()
    return table


def _verdict(proof: Any) -> str:
    """The worst verdict among the outputs and batch sizes that the gate judged."""
    if proof is None:
        return "the source"
    verdicts = {entry["verdict"] for entry in proof.parity}
    return next((v for v in ("failed", "faithful", "exact") if v in verdicts), "unverified")


def size_of(path: Path) -> int:
    """Bytes of a file, or of everything in a folder."""
    return path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def show(table: list[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    from rich.console import Console
    from rich.table import Table

    view = Table(title="One model, five formats")
    for heading in ("format", "size", "worst error", "verdict", "accuracy", "latency (p50)"):
        view.add_column(heading, justify="left" if heading in ("format", "verdict") else "right")
    for row in table:
        view.add_row(
            row["format"],
            f"{row['size'] / 1024:.0f} KiB",
            f"{row['worst error']:.1e}",
            row["verdict"],
            f"{row['accuracy']:.2%}",
            f"{row['latency'] * 1e3:.3f} ms",
        )
    Console().print(view)


def command() -> str:
    """How a user calls the ``xport`` beside this Python."""
    beside = Path(sys.executable).with_name("xport")
    if (found := shutil.which("xport")) and Path(found) == beside:
        return "xport"
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="Train, convert, prove and compare.")
    parser.add_argument("--output", type=Path, default=Path("demo"))
    folder = parser.parse_args().output
    try:
        check_installed()
        folder.mkdir(parents=True, exist_ok=True)
        model, test_x, test_y = train(folder)
        artifacts = convert_all(model, folder, test_x)
        show(rows(model, artifacts, test_x, test_y))
    except XportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("Next, with your own model or this one:")
    print(f"  {command()} convert {model} --to savedmodel --arch {ARCH} --input '{INPUT}' -o my_model")
    print(f"  {command()} verify {artifacts['savedmodel'].path}")
    print(f"  {command()} inspect {artifacts['tflite'].path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
