"""PyTorch modules to TorchScript: traced where a trace holds at another size, otherwise scripted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from xport.convert.source import Source
from xport.convert.torch_export_program import example_tensors
from xport.convert.torch_exported import FlatProgram
from xport.convert.torch_flat import flat_module
from xport.convert.torch_loading import load_module
from xport.convert.torch_probe import run
from xport.convert.torch_quiet import conversion
from xport.convert.torch_values import flatten_outputs
from xport.errors import ConversionError, XportError
from xport.signature import Signature

_OWN_OPERATORS = "xport::"


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a module as a TorchScript file.

    Args:
        source: A module, zoo model, state dict, pickled module or TorchScript file.
        target: The ``.pt`` file to write.
        signature: The interface.
        options: None are used.

    Raises:
        ConversionError: If it can be neither traced nor scripted faithfully.
    """
    module = load_module(source)
    if isinstance(module, torch.jit.ScriptModule):
        script = module
    elif isinstance(module, FlatProgram):
        raise ConversionError("torch.jit does not take torch.export programs: a trace would fix their sizes.")
    else:
        script = script_module(source, module, signature)
    with conversion("torch.jit.save"):
        torch.jit.save(script, str(target))  # type: ignore[no-untyped-call]


def script_module(source: Source, module: nn.Module, signature: Signature) -> torch.jit.ScriptModule:
    """Trace or script a module.

    A trace keeps the containers that ``forward`` returns if TorchScript knows them. It is used if it agrees with
    the module at a second setting of the dynamic dimensions.

    Args:
        source: The source.
        module: Its module.
        signature: Its signature.

    Returns:
        The scripted module.

    Raises:
        ConversionError: With the reasons of each attempt.
    """
    first, second = example_tensors(source, module, signature)
    reasons = []
    for keep_structure in (True, False):
        view = flat_module(module, signature, keep_structure=keep_structure)
        try:
            with conversion("torch.jit.trace"):
                script: torch.jit.ScriptModule = torch.jit.trace(view, tuple(first), strict=False, check_trace=False)
                _check(script, module, signature, second)
            return script
        except ConversionError as error:
            reasons.append(error.message)
    try:
        with conversion("torch.jit.script"):
            script = torch.jit.script(module)
            _check(script, module, signature, second)
        return script
    except XportError as error:
        reasons.append(error.message)
    raise ConversionError(" ".join(dict.fromkeys(reasons)))


def _check(
    script: torch.jit.ScriptModule, module: nn.Module, signature: Signature, tensors: list[torch.Tensor]
) -> None:
    """Refuse a script that depends on xport, or that gives other shapes, values or names than the module."""
    if _OWN_OPERATORS in str(script.inlined_graph):
        raise ConversionError("The model uses an operator of xport's own, which TorchScript files cannot carry.")
    inputs = {spec.name: tensor for spec, tensor in zip(signature.inputs, tensors, strict=True)}
    expected = [tensor for _, tensor in flatten_outputs(run(module, inputs))]
    found = [tensor for _, tensor in flatten_outputs(run(script, inputs))]
    if [t.shape for t in expected] != [t.shape for t in found]:
        raise ConversionError(
            f"The script's outputs have the shapes {[list(t.shape) for t in found]} at another size, "
            f"expected {[list(t.shape) for t in expected]}."
        )
    for spec, want, have in zip(signature.outputs, expected, found, strict=True):
        if not torch.allclose(want, have, rtol=1e-2, atol=1e-2 * _scale(want), equal_nan=True):
            raise ConversionError(f"The script's output {spec.name!r} is wrong at another size.")


def _scale(tensor: torch.Tensor) -> float:
    """The largest finite magnitude in a tensor, one at least."""
    finite = tensor.abs().double()
    finite = finite[finite.isfinite()]
    return max(1.0, float(finite.max())) if finite.numel() else 1.0
