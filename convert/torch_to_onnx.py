"""PyTorch modules and exported programs to ONNX, by ``torch.onnx``'s exporter on top of ``torch.export``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from xport.convert import torch_packed, torch_translations
from xport.convert.onnx_cleanup import tidy_indices
from xport.convert.onnx_interface import align_interface, save_model
from xport.convert.source import Source
from xport.convert.torch_export_program import export_program
from xport.convert.torch_loading import load_exported, load_module
from xport.convert.torch_quiet import conversion
from xport.convert.torch_standins import settled_parametrizations
from xport.errors import ConversionError
from xport.formats import Content
from xport.signature import Signature

DEFAULT_OPSET = 20
"""What ``torch.onnx`` writes by default, and what onnxruntime, TensorRT and OpenVINO of the last years read."""


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write the ONNX form of a module or an exported program.

    Args:
        source: A module, zoo model, state dict, pickled module or ``.pt2`` file.
        target: The ``.onnx`` file to write.
        signature: The interface that the result has to show.
        options: ``opset`` (20 by default), ``optimize`` (true by default).

    Raises:
        ConversionError: If the exporter fails or changes the interface.
    """
    own: dict[Any, Any] = {}
    optimize = bool(options.get("optimize", True))
    if source.content is Content.EXPORTED:
        program = load_exported(source)
    else:
        module = load_module(source)
        own = _translation_table(module) or {}
        settled = settled_parametrizations(module) if optimize else contextlib.nullcontext()
        with torch_packed.packed_sequences(), settled:
            program = export_program(source, module, signature)
    table = {**torch_translations.table(program), **own}
    model = export_onnx(program, int(options.get("opset") or DEFAULT_OPSET), table, optimize=optimize)
    tidy_indices(model)
    align_interface(model, signature)
    save_model(model, target)


def export_onnx(
    program: torch.export.ExportedProgram, opset: int, table: dict[Any, Any] | None = None, *, optimize: bool = True
) -> ir.Model:
    """Translate an exported program to ONNX in memory.

    Args:
        program: The program.
        opset: The version of ONNX's operators to use.
        table: Translations of operators that ``torch.onnx`` does not know.
        optimize: Let ``torch.onnx`` simplify the graph.

    Returns:
        The model; its weights are those of the program, not copies.

    Raises:
        ConversionError: If the exporter fails.
    """
    with conversion("torch.onnx"):
        result = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            optimize=optimize,
            verbose=False,
            custom_translation_table=table,
        )
    if result is None:
        raise ConversionError("torch.onnx gave no model.")
    model: ir.Model = result.model
    if model.opset_imports.get("") != opset:
        raise ConversionError(f"torch.onnx wrote opset {model.opset_imports.get('')}, expected {opset}.")
    return model


def _translation_table(module: nn.Module) -> dict[Any, Any] | None:
    from xport.models.base import ReferenceModule

    return module.translation_table() if isinstance(module, ReferenceModule) else None
