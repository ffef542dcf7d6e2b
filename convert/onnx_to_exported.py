"""ONNX to a ``torch.export`` program (``.pt2``)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from xport.convert.onnx_to_module import to_module
from xport.convert.source import Source
from xport.convert.torch_export_program import export_dynamic
from xport.convert.torch_probe import probe_inputs, settings
from xport.convert.torch_quiet import conversion
from xport.errors import ConversionError
from xport.signature import Signature, TensorSpec, python_names


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a ``.pt2`` file.

    Args:
        source: An ONNX file.
        target: The ``.pt2`` file to write.
        signature: The interface to keep; names that Python cannot use become
            legal ones in the program, and stand in the record that the proof carries.
        options: None are used.

    Raises:
        UnsupportedError: If PyTorch cannot express an operator.
        ConversionError: If ``torch.export`` fails or would fix a dynamic dimension.
    """
    program = export(source, signature)
    with conversion("torch.export.save"), target.open("wb") as file:
        torch.export.save(program, file)


def export(source: Source, signature: Signature) -> torch.export.ExportedProgram:
    """Lower an ONNX file and export it with the signature's dynamic dimensions; see `convert`."""
    if source.path is None:
        raise ConversionError("This step converts an ONNX file.")
    module = named(to_module(source.path), signature)
    legal = Signature(identifiers(signature), signature.outputs)
    return export_dynamic(module, example_pairs(module, signature), legal)


def identifiers(signature: Signature) -> tuple[TensorSpec, ...]:
    """The inputs under names that Python can use, unique, as close as possible to the model's own."""
    names = python_names([spec.name for spec in signature.inputs])
    return tuple(TensorSpec(n, s.dtype, s.shape) for n, s in zip(names, signature.inputs, strict=True))


def named(module: torch.nn.Module, signature: Signature) -> torch.nn.Module:
    """Let the ``forward`` of a module that takes ``*inputs`` take them by name as well."""
    original = type(module)
    names = [spec.name for spec in identifiers(signature)]

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        return original.forward(self, *[given[name] for name in names])

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ["self", *names]]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    module.__class__ = type(original.__name__, (original,), {"forward": forward, "__module__": original.__module__})
    return module


def example_tensors(module: torch.nn.Module, signature: Signature, which: int = 0) -> tuple[torch.Tensor, ...]:
    """Inputs at a setting of the dynamic dimensions at which the module runs.

    Args:
        module: A module that takes the inputs in order.
        signature: Its signature.
        which: 0 or 1, for one of two different settings.

    Returns:
        Tensors in the signature's order.

    Raises:
        ConversionError: If it runs at none of the settings that are tried.
    """
    return next(example_pairs(module, signature))[which]


def example_pairs(module: torch.nn.Module, signature: Signature) -> Iterator[list[tuple[torch.Tensor, ...]]]:
    """Inputs at pairs of settings at which the module runs; see `example_tensors`."""
    failure: Exception | None = None
    found = False
    for pair in settings(signature.symbols):
        candidates = [tuple(probe_inputs(signature.inputs, sizes).values()) for sizes in pair]
        try:
            with torch.no_grad():
                for tensors in candidates:
                    module(*tensors)
        except Exception as error:  # whatever the model's own operations raise at sizes they do not take
            failure = error
            continue
        found = True
        yield candidates
    if not found:
        raise ConversionError(f"The lowered model runs at none of the sizes tried: {failure}") from failure
