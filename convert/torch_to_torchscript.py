"""PyTorch modules and exported programs to TorchScript: traced where a trace holds, otherwise compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.jit._trace import TracerWarning

from xport.convert.exported_to_torchscript import script_program
from xport.convert.source import Source
from xport.convert.torch_export_program import export_program
from xport.convert.torch_exported import FlatProgram
from xport.convert.torch_flat import argument_names, flat_module
from xport.convert.torch_inputs import examples
from xport.convert.torch_loading import load_module
from xport.convert.torch_probe import probe_inputs, run
from xport.convert.torch_quiet import conversion
from xport.convert.torch_signature import probe_sizes
from xport.convert.torch_values import flatten_outputs
from xport.errors import ConversionError, UnsupportedError, XportError
from xport.signature import Signature

_OWN_OPERATORS = "xport::"


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a module as a TorchScript file.

    Args:
        source: A module, zoo model, state dict, pickled module, ``.pt2`` or TorchScript file.
        target: The ``.pt`` file to write.
        signature: The interface.
        options: None are used.

    Raises:
        ConversionError: If it can be neither traced nor compiled faithfully.
    """
    module = load_module(source)
    script = module if isinstance(module, torch.jit.ScriptModule) else script_module(source, module, signature)
    save_script(script, target)


def save_script(script: torch.jit.ScriptModule, target: Path) -> None:
    """Write a TorchScript file.

    Raises:
        UnsupportedError: If a name of an input, a weight or a layer is not ASCII: such files cannot be read again.
    """
    names = [*argument_names(script), *script.state_dict(), *(name for name, _ in script.named_modules())]
    foreign = [name for name in names if not name.isascii()]
    if foreign:
        raise UnsupportedError(
            f"TorchScript files cannot hold names that are not ASCII: {', '.join(map(repr, foreign[:5]))}.",
            "Rename them in the model, or choose another format: --to pt2",
        )
    with conversion("torch.jit.save"):
        torch.jit.save(script, str(target))


def script_module(source: Source, module: nn.Module, signature: Signature) -> torch.jit.ScriptModule:
    """Trace or compile a module; whatever is used agrees with it at another setting and on other values.

    A trace keeps the containers that ``forward`` returns if TorchScript knows them. A module whose Python code
    branches on values is compiled if that is possible, because a trace follows one branch only. Exported programs are
    always compiled.

    Args:
        source: The source.
        module: Its module.
        signature: Its signature.

    Returns:
        The scripted module.

    Raises:
        ConversionError: With the reasons of each attempt.
    """
    given = examples(source, module)
    first, second = probe_sizes(module, signature.inputs, given)
    example = list(probe_inputs(signature.inputs, first, examples=given).values())
    checks = [probe_inputs(signature.inputs, second, examples=given, blank=blank) for blank in (False, True)]
    attempts: tuple[_Attempt, ...] = (
        ("torch.jit.trace", lambda: _trace(flat_module(module, signature, keep_structure=True), example)),
        ("torch.jit.trace", lambda: _trace(flat_module(module, signature), example)),
        ("torch.jit.script", lambda: torch.jit.script(module)),
    )
    if isinstance(module, FlatProgram):
        program = module
        attempts = (("torch.jit.script", lambda: script_program(program)),)
    elif _warns(flat_module(module, signature), example) and not _exports(source, module, signature):
        attempts = (attempts[2], *attempts[:2])
    return _first_that_agrees(attempts, module, signature, checks)


_Attempt = tuple[str, Callable[[], torch.jit.ScriptModule]]


def _first_that_agrees(
    attempts: Sequence[_Attempt],
    module: nn.Module,
    signature: Signature,
    checks: Sequence[dict[str, torch.Tensor]],
) -> torch.jit.ScriptModule:
    reasons: dict[str, None] = {}
    for what, attempt in attempts:
        try:
            with conversion(what):
                script = attempt()
                for inputs in checks:
                    _check(script, module, signature, inputs)
            return script
        except XportError as error:
            reasons[error.message] = None
    raise ConversionError(" ".join(reasons))


def _trace(view: nn.Module, tensors: list[torch.Tensor]) -> torch.jit.ScriptModule:
    script: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
        view, tuple(tensors), strict=False, check_trace=False
    )
    return script


def _warns(view: nn.Module, tensors: list[torch.Tensor]) -> bool:
    """Whether a trace warns that Python code depends on tensors' values or sizes; it cannot tell which."""
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        try:
            _trace(view, tensors)
        except Exception:  # whatever it is, the attempt that counts will report it
            return True
    return any(
        issubclass(warning.category, TracerWarning) and "to a Python" in str(warning.message) for warning in caught
    )


def _exports(source: Source, module: nn.Module, signature: Signature) -> bool:
    """Whether ``torch.export`` takes the module, which it does not if Python code depends on values."""
    try:
        export_program(source, module, signature)
    except ConversionError:
        return False
    return True


def _check(
    script: torch.jit.ScriptModule, module: nn.Module, signature: Signature, inputs: dict[str, torch.Tensor]
) -> None:
    """Refuse a script that depends on xport, or that gives other shapes or values than the module."""
    if _OWN_OPERATORS in str(script.inlined_graph):
        raise ConversionError("The model uses an operator of xport's own, which TorchScript files cannot carry.")
    expected = [tensor for _, tensor in flatten_outputs(run(module, inputs))]
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # specialising costs seconds
        found = [tensor for _, tensor in flatten_outputs(run(script, inputs))]
    if [t.shape for t in expected] != [t.shape for t in found]:
        raise ConversionError(
            f"The script's outputs have the shapes {[list(t.shape) for t in found]} at another size, "
            f"expected {[list(t.shape) for t in expected]}."
        )
    for spec, want, have in zip(signature.outputs, expected, found, strict=True):
        if want.dtype != have.dtype or not _close(want, have):
            raise ConversionError(f"The script's output {spec.name!r} is wrong at another size or on other values.")


def _close(want: torch.Tensor, have: torch.Tensor) -> bool:
    """Whether two tensors are about the same; rounding is the gate's business."""
    kind = torch.complex128 if want.is_complex() else torch.float64
    want, have = want.to(kind), have.to(kind)
    size = want.abs()[want.abs().isfinite()]
    scale = max(1.0, float(size.max())) if size.numel() else 1.0
    return torch.allclose(want, have, rtol=1e-2, atol=1e-2 * scale, equal_nan=True)
