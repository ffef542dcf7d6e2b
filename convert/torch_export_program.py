"""``torch.export`` of a module by its signature."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from xport.convert.source import Source
from xport.convert.torch_flat import flat_module
from xport.convert.torch_inputs import examples
from xport.convert.torch_probe import probe_inputs
from xport.convert.torch_quiet import conversion
from xport.convert.torch_signature import probe_sizes
from xport.convert.torchscript_to_exported import program_of_script
from xport.signature import Signature


def example_tensors(source: Source, module: nn.Module, signature: Signature) -> list[torch.Tensor]:
    """Tensors in the signature's order that a module has been run on, each dynamic dimension of its own size.

    Args:
        source: The source, for the user's examples.
        module: Its module.
        signature: Its signature.

    Returns:
        One tensor an input.

    Raises:
        UsageError: If the module does not run.
    """
    given = examples(source, module)
    sizes, _ = probe_sizes(module, signature.inputs, given, first_only=True)
    return list(probe_inputs(signature.inputs, sizes, examples=given).values())


def export_program(
    source: Source, module: nn.Module, signature: Signature, *, keep_structure: bool = False
) -> torch.export.ExportedProgram:
    """Export a module with the signature's dynamic dimensions.

    Args:
        source: The source.
        module: Its module.
        signature: Its signature.
        keep_structure: Keep the containers that ``forward`` returns instead of a tuple of tensors.

    Returns:
        The program.

    Raises:
        ConversionError: If ``torch.export`` cannot do it, or would fix a dynamic dimension.
    """
    tensors = example_tensors(source, module, signature)
    if isinstance(module, torch.jit.ScriptModule):
        return program_of_script(module, signature, tensors)
    view = flat_module(module, signature, keep_structure=keep_structure)
    with conversion("torch.export"):
        return torch.export.export(view, tuple(tensors), dynamic_shapes=dynamic_shapes(signature), strict=False)


def dynamic_shapes(signature: Signature) -> dict[str, dict[int, Any]]:
    """The signature's dynamic dimensions as ``torch.export`` wants them; it must not fix any of them."""
    return {
        spec.name: {axis: torch.export.Dim.DYNAMIC for axis, dim in enumerate(spec.shape or ()) if isinstance(dim, str)}
        for spec in signature.inputs
    }
