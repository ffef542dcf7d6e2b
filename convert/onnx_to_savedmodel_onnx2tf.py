"""ONNX to SavedModel by onnx2tf, an optional engine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from xport.convert.engines.running import run
from xport.convert.onnx_to_tflite_onnx2tf import ENGINE, request
from xport.convert.source import Source
from xport.errors import ConversionError
from xport.signature import Signature

_PARTS = ("saved_model.pb", "fingerprint.pb", "variables", "assets")


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a SavedModel folder; the gate sees whether names and layouts are the model's own.

    Args:
        source: An ONNX file.
        target: The folder to write.
        signature: The interface to keep.
        options: None are used.

    Raises:
        MissingRuntimeError: If the engine is not installed.
        ConversionError: If it fails.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".onnx2tf-") as folder:
        run(ENGINE, "onnx2tf", request(source, Path(folder), signature, savedmodel=True))
        if not (Path(folder) / "saved_model.pb").is_file():
            raise ConversionError("onnx2tf wrote no SavedModel.")
        target.mkdir(exist_ok=True)
        for name in _PARTS:
            if (Path(folder) / name).exists():
                os.replace(Path(folder) / name, target / name)
