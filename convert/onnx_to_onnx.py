"""ONNX to ONNX: a copy that is checked on the way and carries its external data along."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from xport.convert import onnx_interface
from xport.convert.lowering import model as onnx_model
from xport.convert.source import Source
from xport.errors import UnreadableModelError, UsageError
from xport.signature import Signature

_WITHOUT_SHAPE = "Field 'shape' of 'type' is required but missing"
"""How `onnx.checker` begins a complaint about an input or output without a shape."""


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Copy an ONNX model: one file where that is possible, one more for the weights of a large model.

    Args:
        source: An ONNX file, with external data in its own folder or without.
        target: The file to write.
        signature: The model's inputs and outputs.
        options: None that this step knows.

    Raises:
        UnreadableModelError: If the model breaks the ONNX standard, or its external data lies elsewhere or is
            cut.
        UsageError: If the source is no file.
    """
    if source.path is None:
        raise UsageError(f"{source.name} is not a file.", "Save it and give its path.")
    model = onnx_model.load(source.path)  # refuses external data outside the model's folder
    _check(source.path)
    external = any(isinstance(v.const_value, ir.ExternalTensor) for v in model.graph.initializers.values())
    stale = onnx_model.STALE_SHAPES in model.meta  # runtimes would report them as the outputs' sizes
    if external or stale or source.path.stat().st_size > onnx_interface.EXTERNAL_DATA_BYTES:
        onnx_interface.save_model(model, target)
    else:
        shutil.copyfile(source.path, target)


def _check(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        # A graph's output may leave its shape open; every runtime takes that, and the signature says it.
        if _WITHOUT_SHAPE in str(error):
            return
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        raise UnreadableModelError(f"{path} is not valid ONNX: {first}", "Export the model again.") from error
