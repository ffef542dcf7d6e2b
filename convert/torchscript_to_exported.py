"""TorchScript to a ``torch.export`` program: the graph is rebuilt operator by operator, then exported.

It takes what traces hold; control flow that a script kept is beyond it. The converter is torch's own and private
(``torch._export.converter``, present in torch 2.4 to 2.13), so that a torch without it is an ordinary failure.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from xport.convert.torch_exported import FlatProgram
from xport.convert.torch_quiet import conversion
from xport.errors import ConversionError
from xport.signature import Signature


def program_of_script(
    script: torch.jit.ScriptModule, signature: Signature, tensors: list[torch.Tensor]
) -> torch.export.ExportedProgram:
    """Rebuild a scripted module as an exported program with the signature's input names.

    Sizes that the module leaves open are dynamic, also where the signature fixes them.

    Args:
        script: The scripted module.
        signature: Its signature.
        tensors: Inputs in the signature's order, each dynamic dimension of its own size.

    Returns:
        The program.

    Raises:
        ConversionError: If an operator has no counterpart, or a dynamic dimension would become fixed.
    """
    with conversion("torch._export.converter"):
        from torch._export.converter import TS2EPConverter

        class Converter(TS2EPConverter):  # type: ignore[misc, unused-ignore]
            def retrace_as_exported_program(self, gm: torch.fx.GraphModule, name_to_constant: Any) -> Any:
                _name_inputs(gm, [spec.name for spec in signature.inputs])
                return super().retrace_as_exported_program(gm, name_to_constant)

        program: torch.export.ExportedProgram = Converter(script, tuple(tensors)).convert()
    _check_dynamic(program, signature)
    return program


def _name_inputs(module: torch.fx.GraphModule, names: list[str]) -> None:
    """Give the rebuilt graph's inputs their names back: TorchScript numbers them (``x.1``)."""
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    if len(placeholders) != len(names):
        raise ConversionError(f"The rebuilt graph takes {len(placeholders)} inputs, expected {', '.join(names)}.")
    for node in module.graph.nodes:
        if node not in placeholders and node.name in names:
            node._rename(f"{node.name}_inner")
    for node, name in zip(placeholders, names, strict=True):
        node.target = name
        node._rename(name)
    module.recompile()
    found = list(inspect.signature(module.forward).parameters)
    if found != names:
        raise ConversionError(f"The rebuilt graph's inputs are {', '.join(found)}, expected {', '.join(names)}.")


def _check_dynamic(program: torch.export.ExportedProgram, signature: Signature) -> None:
    for spec, found in zip(signature.inputs, FlatProgram(program).inputs, strict=True):
        for axis, (dim, size) in enumerate(zip(spec.shape or (), found.shape or (), strict=True)):
            if isinstance(dim, str) and isinstance(size, int):
                raise ConversionError(
                    f"torch.export fixed dimension {axis} of {spec.name!r} at {size}, expected the dynamic {dim!r}."
                )
