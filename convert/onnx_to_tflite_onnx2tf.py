"""ONNX to TFLite by onnx2tf, an optional engine: a second choice for what our own lowering refuses."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from xport.convert.engines.running import run
from xport.convert.source import Source
from xport.convert.tflite_interface import give_names
from xport.errors import ConversionError
from xport.signature import Signature

ENGINE = "onnx2tf"


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a TFLite file with the model's own names and layouts.

    Args:
        source: An ONNX file.
        target: The file to write.
        signature: The interface to keep; onnx2tf is told to leave every input's shape as it is.
        options: None are used.

    Raises:
        MissingRuntimeError: If the engine is not installed.
        ConversionError: If it fails, or makes a model with other inputs or outputs.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".onnx2tf-") as folder:
        run(ENGINE, "onnx2tf", request(source, Path(folder), signature, savedmodel=False))
        found = sorted(Path(folder).glob("*_float32.tflite"))
        if len(found) != 1:
            raise ConversionError(f"onnx2tf wrote {len(found)} float32 models, expected one.")
        target.write_bytes(give_names(found[0], signature, by_name=True))


def request(source: Source, folder: Path, signature: Signature, *, savedmodel: bool) -> dict[str, Any]:
    """What onnx2tf is told; see `xport.convert.engines.child`."""
    if source.path is None:
        raise ConversionError("This step converts an ONNX file.")
    inputs = [spec.name for spec in signature.inputs]
    return {"source": str(source.path.absolute()), "folder": str(folder), "inputs": inputs, "savedmodel": savedmodel}
