"""Counts the transposes that a conversion leaves behind, in the SavedModel's graph and in the TFLite file.

``python benchmarks/layout.py`` prints a line a model: a CNN should have one for each image input and none inside; a
transformer no more than its source has.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from measure import machine

import xport
from xport import models

IMAGES = ("alexnet", "vgg19", "resnet50", "mobilenet_v2", "densenet121", "unet", "detector")
OTHERS = ("vit", "bert", "gpt")
TRANSPOSES = ("Transpose", "TRANSPOSE")


def count(model: str, size: str, folder: Path) -> dict[str, Any]:
    """Convert a model three ways and count its transposes."""
    row: dict[str, Any] = {"model": model, "image_inputs": sum(len(s.shape) == 4 for s in models.build(model).inputs)}
    for target in ("onnx", "savedmodel", "tflite"):
        artifact = xport.convert(f"zoo:{model}@{size}", to=target, output=folder / f"{model}-{target}", verify=False)
        histogram = xport.inspect(artifact.path).operators
        row[target] = sum(histogram.get(name, 0) for name in TRANSPOSES)
    return row


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=[*IMAGES, *OTHERS])
    parser.add_argument("--size", choices=("small", "real"), default="small")
    arguments = parser.parse_args()
    rows = []
    print(f"{'model':14s} {'image inputs':>12s} {'source ONNX':>12s} {'SavedModel':>11s} {'TFLite':>7s}")
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            row = count(model, arguments.size, Path(folder))
            rows.append(row)
            print(
                f"{model:14s} {row['image_inputs']:12d} {row['onnx']:12d} {row['savedmodel']:11d} {row['tflite']:7d}",
                flush=True,
            )
    result = {"machine": machine(), "size": arguments.size, "rows": rows}
    (Path(__file__).parent / "results" / f"layout-{arguments.size}.json").write_text(
        json.dumps(result, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
