"""PyTorch modules and exported programs to PyTorch source code.

The graph that the exporter writes before it optimises has every weight under its own name and every layer as it was;
afterwards normalisations are folded into convolutions and linear weights are transposed under new names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xport.convert import torch_to_onnx
from xport.convert.source import Source
from xport.convert.writing.writer import write
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a folder of PyTorch source.

    Args:
        source: A module, zoo model, state dict, pickled module or ``.pt2`` file.
        target: The folder to write.
        signature: The interface to keep.
        options: None are used.

    Raises:
        ConversionError: If the exporter fails or changes the interface.
        UnsupportedError: If an operator cannot be written as source.
    """
    graph = target.with_name(f"graph-of-{target.name}.onnx")
    torch_to_onnx.convert(source, graph, signature, {"optimize": False})
    write(graph, target, signature, name=target.name)
