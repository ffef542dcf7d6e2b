"""``torch.export`` of a module by its signature."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from xport.convert.source import Source
from xport.convert.torch_flat import flat_module
from xport.convert.torch_inputs import examples
from xport.convert.torch_probe import probe_inputs
from xport.convert.torch_quiet import conversion, quiet, reason
from xport.convert.torch_signature import probe_sizes, working_sizes
from xport.convert.torch_standins import standins
from xport.convert.torchscript_to_exported import program_of_script
from xport.errors import ConversionError
from xport.signature import Signature

Tensors = tuple[torch.Tensor, ...]


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
    if isinstance(module, torch.jit.ScriptModule):
        return program_of_script(module, signature, example_tensors(source, module, signature))
    view = flat_module(module, signature, keep_structure=keep_structure)
    given = examples(source, module)
    pairs = working_sizes(module, signature.inputs, given)
    drawn = ([tuple(probe_inputs(signature.inputs, s, examples=given).values()) for s in pair] for pair in pairs)
    return export_dynamic(view, drawn, signature)


def export_dynamic(
    view: nn.Module, examples: Iterable[Sequence[Tensors]], signature: Signature
) -> torch.export.ExportedProgram:
    """Export a module at the first example whose sizes do not become part of the program.

    ``torch.export`` fixes what is 0 or 1 in the example, also inside the model: a strided convolution's single frame,
    for instance. The program must therefore run at a second size.

    Args:
        view: The module, with the signature's interface.
        examples: Inputs at two settings of the dynamic dimensions, better ones first.
        signature: The signature.

    Returns:
        The program.

    Raises:
        ConversionError: If ``torch.export`` fails, or the program runs at one setting only, whichever is taken.
    """
    view = _tied(view, signature)
    failure: Exception | None = None
    for first, second in examples:
        with conversion("torch.export"), standins():
            shapes = dynamic_shapes(signature)
            program = torch.export.export(view, first, dynamic_shapes=shapes, strict=False)
        failure = _failure_at(program, second) if signature.symbols else None
        if failure is None:
            return program
    raise ConversionError(f"torch.export fixed a size that varies: {reason(failure) if failure else 'no example'}")


def _tied(view: nn.Module, signature: Signature) -> nn.Module:
    """The view, saying which sizes of its inputs are equal: ``torch.export`` lets vary apart what nothing compares."""
    places: dict[str, list[tuple[int, int]]] = {}
    for position, spec in enumerate(signature.inputs):
        for axis, dim in enumerate(spec.shape or ()):
            if isinstance(dim, str):
                places.setdefault(dim, []).append((position, axis))
    if all(len(found) == 1 for found in places.values()):
        return view
    original: Any = type(view)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        tensors = [*args, *kwargs.values()]
        for (first, its_axis), *others in places.values():
            for position, axis in others:
                size: Any = tensors[position].shape[axis]
                torch._check(size == tensors[first].shape[its_axis])  # type: ignore[no-untyped-call]
        return original.forward(self, *args, **kwargs)

    forward.__signature__ = inspect.signature(original.forward)  # type: ignore[attr-defined]
    view.__class__ = type(original.__name__, (original,), {"forward": forward, "__module__": original.__module__})
    return view


def _failure_at(program: torch.export.ExportedProgram, tensors: Tensors) -> Exception | None:
    """What a program raises on inputs; None if it takes them."""
    try:
        with quiet(), torch.no_grad():
            program.module()(*tensors)
    except Exception as error:  # a guard's AssertionError, or whatever an operation at a fixed size raises
        return error
    return None


def dynamic_shapes(signature: Signature) -> dict[str, dict[int, Any]]:
    """The signature's dynamic dimensions as ``torch.export`` wants them; it must not fix any of them."""
    return {
        spec.name: {axis: torch.export.Dim.DYNAMIC for axis, dim in enumerate(spec.shape or ()) if isinstance(dim, str)}
        for spec in signature.inputs
    }
