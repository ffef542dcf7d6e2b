"""PyTorch to TFLite by litert-torch, an optional engine, from an exported program."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from xport.convert import torch_to_exported
from xport.convert.engines.running import run
from xport.convert.source import Source
from xport.convert.tflite_interface import give_names
from xport.signature import Signature

ENGINE = "litert-torch"


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a TFLite file with the model's own names.

    Args:
        source: A module, zoo model, state dict, pickled module or ``.pt2`` file.
        target: The file to write.
        signature: The interface to keep.
        options: None are used.

    Raises:
        MissingRuntimeError: If the engine is not installed.
        ConversionError: If ``torch.export`` or the engine fails, or the model has other inputs or outputs.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".litert-torch-") as folder:
        program, made = Path(folder) / "model.pt2", Path(folder) / "model.tflite"
        torch_to_exported.convert(source, program, signature, options)
        shapes = [list(spec.shape or ()) for spec in signature.inputs]
        run(ENGINE, "litert_torch", {"source": str(program), "target": str(made), "shapes": shapes})
        target.write_bytes(give_names(made, signature, by_name=False))
