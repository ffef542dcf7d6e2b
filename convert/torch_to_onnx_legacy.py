"""PyTorch modules and TorchScript to ONNX, by ``torch.onnx``'s older exporter.

It takes what the newer one refuses: TorchScript, also with control flow, and recurrent nets whose batch and sequence
are both dynamic.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn
from torch.onnx import symbolic_helper

from xport.convert.onnx_interface import align_interface, save_model
from xport.convert.source import Source
from xport.convert.torch_export_program import example_tensors
from xport.convert.torch_flat import flat_module
from xport.convert.torch_loading import load_module
from xport.convert.torch_quiet import conversion
from xport.errors import ConversionError
from xport.signature import Signature

NEWEST_OPSET = 20
"""The newest that this exporter knows (``torch.onnx._constants.ONNX_TORCHSCRIPT_EXPORTER_MAX_OPSET``)."""


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write the ONNX form of a module or a TorchScript file.

    Args:
        source: Anything of the PyTorch family.
        target: The ``.onnx`` file to write.
        signature: The interface that the result has to show.
        options: ``opset`` (20 by default, which is also the newest here).

    Raises:
        ConversionError: If the exporter fails or changes the interface.
    """
    opset = int(options.get("opset") or NEWEST_OPSET)
    if opset > NEWEST_OPSET:
        raise ConversionError(f"The older exporter writes opset {NEWEST_OPSET} at most, not {opset}.")
    module = load_module(source)
    tensors = example_tensors(source, module, signature)
    view = flat_module(module, signature)
    # In a folder of its own: above 2 GB this exporter writes a file for every weight.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".legacy-") as folder:
        path = Path(folder) / "model.onnx"
        with conversion("torch.onnx (dynamo=False)"), _without_log(), _stable_sorts():
            _export(view, tensors, path, signature, opset)
        model = ir.load(path)
        align_interface(model, signature)
        save_model(model, target)


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Keep the exporter from printing whole graphs to the process's stdout when it fails (torch 2.13 always does)."""
    original = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = original


@contextlib.contextmanager
def _stable_sorts() -> Iterator[None]:
    """Teach the exporter stable sorts, which it mistakes for sorts into a given tensor.

    ONNX's TopK puts the lower of two equal values' indices first, which is what stable means.
    """
    constant: Any = symbolic_helper._get_const

    def sort(graph: Any, x: Any, *arguments: Any) -> Any:
        dim, descending = (constant(v, "i", "dim") for v in arguments[-2:])
        return symbolic_helper._sort_helper(graph, x, dim, descending=bool(descending))

    symbolics = {"aten::sort": sort, "aten::argsort": lambda *arguments: sort(*arguments)[1]}
    onnx: Any = torch.onnx  # its type hints leave these two out
    for name, symbolic in symbolics.items():
        onnx.register_custom_op_symbolic(name, symbolic, 11)
    try:
        yield
    finally:
        for name in symbolics:
            onnx.unregister_custom_op_symbolic(name, 11)


def _export(view: nn.Module, tensors: list[torch.Tensor], path: Path, signature: Signature, opset: int) -> None:
    dynamic_axes = {
        spec.name: axes
        for spec in (*signature.inputs, *signature.outputs)
        if (axes := {i: dim for i, dim in enumerate(spec.shape or ()) if isinstance(dim, str)})
    }
    torch.onnx.export(
        view,
        tuple(tensors),
        path,
        dynamo=False,
        opset_version=opset,
        input_names=[spec.name for spec in signature.inputs],
        output_names=[spec.name for spec in signature.outputs],
        dynamic_axes=dynamic_axes,
        verbose=False,
    )
