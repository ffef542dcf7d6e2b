"""ONNX to PyTorch source code: a folder with ``model.py`` and ``model.safetensors``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xport.convert.source import Source
from xport.convert.writing.writer import write
from xport.errors import ConversionError
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a folder of PyTorch source.

    Args:
        source: An ONNX file.
        target: The folder to write.
        signature: The interface to keep; input names that Python cannot use become legal ones in ``forward``, and
            stand in the record that the proof carries.
        options: None are used.

    Raises:
        UnsupportedError: If an operator cannot be written as source.
    """
    if source.path is None:
        raise ConversionError("This step converts an ONNX file.")
    write(source.path, target, signature, name=target.name)
