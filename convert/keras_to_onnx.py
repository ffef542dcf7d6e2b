"""Keras to ONNX: traced as a SavedModel, whose graph is read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from xport.convert import keras_to_savedmodel
from xport.convert.onnx_interface import save_model
from xport.convert.savedmodel_to_onnx import read
from xport.convert.source import Source
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write an ONNX file with the names of the Keras model's inputs and outputs.

    Args:
        source: A ``.keras`` or ``.h5`` file.
        target: The file to write.
        signature: The interface to keep.
        options: None that this step knows.

    Raises:
        UnreadableModelError: If the file is broken.
        UntrustedCodeError: If it holds code and the user does not trust it.
        UnsupportedError: If ONNX cannot express an operator.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        keras_to_savedmodel.convert(source, Path(folder), signature, options)
        save_model(read(Path(folder), signature), target)
