"""``torch.export`` of a module by its signature, and the quiet in which exporters run."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from xport.convert.source import Source
from xport.convert.torch_flat import flat_module
from xport.convert.torch_inputs import examples
from xport.convert.torch_probe import probe_inputs
from xport.convert.torch_signature import probe_sizes
from xport.errors import ConversionError, XportError
from xport.signature import Signature

_LOGGERS = ("torch", "torch.export", "torch.onnx", "onnxscript", "onnx_ir")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep a framework's warnings, log lines and prints from the user."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def conversion(what: str) -> Iterator[None]:
    """Run an exporter quietly and turn whatever it raises into a short `ConversionError`.

    Args:
        what: The exporter, as the message calls it.

    Yields:
        Nothing.

    Raises:
        ConversionError: With the innermost reason, chained to the original.
    """
    try:
        with quiet(), torch.no_grad():
            yield
    except XportError:
        raise
    except Exception as error:  # exporters raise anything
        raise ConversionError(f"{what} failed: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The innermost cause of an error in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:3])[:400]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def example_tensors(source: Source, module: nn.Module, signature: Signature) -> tuple[list[torch.Tensor], ...]:
    """Two lists of tensors in the signature's order, at two settings of its dynamic dimensions.

    Args:
        source: The source, for the user's examples.
        module: Its module.
        signature: Its signature.

    Returns:
        The inputs at the first and at the second setting.

    Raises:
        UsageError: If the module does not run.
    """
    given = examples(source, module)
    return tuple(
        list(probe_inputs(signature.inputs, sizes, examples=given).values())
        for sizes in probe_sizes(module, signature.inputs, given)
    )


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
        raise ConversionError("torch.export does not take TorchScript.")
    tensors = example_tensors(source, module, signature)[0]
    view = flat_module(module, signature, keep_structure=keep_structure)
    with conversion("torch.export"):
        return torch.export.export(view, tuple(tensors), dynamic_shapes=dynamic_shapes(signature), strict=False)


def dynamic_shapes(signature: Signature) -> dict[str, dict[int, Any]]:
    """The signature's dynamic dimensions as ``torch.export`` wants them; it must not fix any of them."""
    return {
        spec.name: {
            axis: torch.export.Dim.DYNAMIC for axis, dim in enumerate(spec.shape or ()) if isinstance(dim, str)
        }
        for spec in signature.inputs
    }
