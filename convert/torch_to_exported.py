"""PyTorch modules to ``torch.export`` programs (``.pt2``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from xport.convert.source import Source
from xport.convert.torch_export_program import export_program
from xport.convert.torch_loading import load_exported, load_module
from xport.convert.torch_quiet import conversion
from xport.errors import ConversionError
from xport.formats import Content
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a module as a ``.pt2`` file.

    The program takes what the signature says and returns what the module returns, containers included, where
    ``torch.export`` knows those; otherwise a tuple of tensors.

    Args:
        source: A module, zoo model, state dict, pickled module or ``.pt2`` file.
        target: The ``.pt2`` file to write.
        signature: The interface.
        options: None are used.

    Raises:
        ConversionError: If ``torch.export`` fails or would fix a dynamic dimension.
    """
    program = _program(source, signature)
    with conversion("torch.export.save"), target.open("wb") as file:  # a path would have to end in .pt2
        torch.export.save(program, file)


def _program(source: Source, signature: Signature) -> torch.export.ExportedProgram:
    if source.content is Content.EXPORTED:
        return load_exported(source)
    module = load_module(source)
    try:
        return export_program(source, module, signature, keep_structure=True)
    except ConversionError as error:
        if "pytree" not in str(error) and "output" not in str(error):
            raise
    return export_program(source, module, signature)
