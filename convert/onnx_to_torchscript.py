"""ONNX to TorchScript: the lowered module, exported with its dynamic sizes and traced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from xport.convert.onnx_to_exported import example_tensors, export, named
from xport.convert.onnx_to_module import to_module
from xport.convert.source import Source
from xport.convert.torch_quiet import conversion
from xport.convert.torch_to_torchscript import save_script
from xport.errors import ConversionError, XportError
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a TorchScript file.

    Args:
        source: An ONNX file.
        target: The ``.pt`` file to write.
        signature: The interface to keep.
        options: None are used.

    Raises:
        UnsupportedError: If PyTorch cannot express an operator.
        ConversionError: If no trace holds at another size.
    """
    script = trace(source, signature)
    save_script(script, target)


def trace(source: Source, signature: Signature) -> torch.jit.ScriptModule:
    """Trace a lowered ONNX file.

    A program of ``torch.export`` names every size that varies, so its trace is dynamic exactly there; where export
    fails, the module itself is traced. Either must agree with the module at a second size.

    Raises:
        ConversionError: With the reasons of both attempts.
    """
    if source.path is None:
        raise ConversionError("This step converts an ONNX file.")
    module = named(to_module(source.path), signature)
    first, second = (example_tensors(module, signature, which) for which in (0, 1))
    reasons = []
    for attempt in (_exported, _plain):
        try:
            with conversion("torch.jit.trace"):
                view = attempt(source, signature, module)
                script: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
                    view, first, strict=False, check_trace=False
                )
            _check(script, module, second)
            return script
        except XportError as error:
            reasons.append(error.message)
    raise ConversionError(" ".join(dict.fromkeys(reasons)))


def _exported(source: Source, signature: Signature, module: torch.nn.Module) -> torch.nn.Module:
    return export(source, signature).module(check_guards=False)


def _plain(source: Source, signature: Signature, module: torch.nn.Module) -> torch.nn.Module:
    return module


def _check(script: torch.jit.ScriptModule, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Refuse a trace that fixed a size; the gate judges the numbers later."""
    with torch.no_grad():
        expected = module(*inputs)
        try:
            found = script(*inputs)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ConversionError(f"The trace does not run at another size: {reason}") from error
    shapes = [[list(t.shape) for t in (x if isinstance(x, tuple) else (x,))] for x in (expected, found)]
    if shapes[0] != shapes[1]:
        raise ConversionError(f"The trace gives shapes {shapes[1]} at another size, expected {shapes[0]}.")
