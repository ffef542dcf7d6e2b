"""Programs of ``torch.export``: open one safely, call one with plain tensors, read its inputs."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from xport.convert.torch_screen import harmless_guard, screen
from xport.convert.torch_values import dtype_of
from xport.errors import UnreadableModelError, UsageError
from xport.signature import Dim, TensorSpec


def load_program(path: Path, *, trust_pickle: bool = False) -> torch.export.ExportedProgram:
    """Load a ``.pt2`` file.

    Args:
        path: The file.
        trust_pickle: Skip the check for code in the file.

    Returns:
        The program.

    Raises:
        UnreadableModelError: If the file is broken or from an incompatible PyTorch.
        UntrustedCodeError: If opening it could run code that it carries.
    """
    if not trust_pickle:
        screen(path)
    from xport.models import nms  # noqa: F401  registers the zoo's own operator, which programs may use

    _register_quantized()

    try:
        with path.open("rb") as file:  # a file, not a path: torch insists on the ending .pt2
            program = torch.export.load(file)
    except Exception as error:  # torch raises anything from KeyError to SerializeError
        lines = str(error).splitlines() or [type(error).__name__]
        raise UnreadableModelError(
            f"{path} cannot be read as a torch.export program: {lines[0][:300]}",
            "It may be broken, or saved by another PyTorch version; export the model again with this one.",
        ) from error
    if not trust_pickle:
        program._guards_code = [guard for guard in program._guards_code if harmless_guard(guard)]
    return program


def _register_quantized() -> None:
    """Register ``torch.ops.quantized_decomposed``, which programs of PyTorch 2 export quantization use.

    PyTorch does so only where its quantizer, or torchao's, was imported.
    """
    with contextlib.suppress(ImportError):  # gone from this PyTorch: then loading names the operator that is missing
        importlib.import_module("torch.ao.quantization.fx._decomposed")


class FlatProgram(nn.Module):
    """An exported program that takes its tensors one by one, in order or by name, whatever containers they came in.

    Attributes:
        program: The program as a module.
        inputs: Its inputs as the program records them.
        limits: The smallest and largest size of dynamic dimensions, by the input's name and the position.

    Args:
        program: The program.

    Raises:
        UsageError: If the program takes something other than tensors and constants.
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.program = program.module(check_guards=False)
        self._in_spec = program.call_spec.in_spec
        self._slots = _slots(program)
        own = [slot for slot in self._slots if isinstance(slot, str)]
        self.names = _argument_names(self.program, self._slots) or own
        self.inputs = _inputs(program, self.names)
        self.limits = _bounds(program, self.names)
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in self.names])

    def forward(self, *args: torch.Tensor, **kwargs: torch.Tensor) -> Any:
        """Call the program."""
        tensors = iter(self.__signature__.bind(*args, **kwargs).args)
        leaves = [next(tensors) if isinstance(slot, str) else slot.value for slot in self._slots]
        if self._in_spec is None:
            return self.program(*leaves)
        positional, keywords = pytree.tree_unflatten(leaves, self._in_spec)
        return self.program(*positional, **keywords)


class _Constant:
    """An input that the program has fixed (None, a number, a flag)."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _slots(program: torch.export.ExportedProgram) -> list[str | _Constant]:
    """One entry a leaf of the program's arguments: a tensor's name, or the constant that belongs there."""
    slots: list[str | _Constant] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is not torch.export.graph_signature.InputKind.USER_INPUT:
            continue
        if isinstance(spec.arg, torch.export.graph_signature.TensorArgument):
            slots.append(spec.arg.name)
        elif isinstance(spec.arg, torch.export.graph_signature.ConstantArgument):
            slots.append(_Constant(spec.arg.value))
        else:
            raise UsageError(
                f"The program takes {spec.arg.name!r}, which is not a tensor.", "Export it with tensors only."
            )
    return slots


def _argument_names(module: nn.Module, slots: list[str | _Constant]) -> list[str]:
    """The arguments of the original ``forward``; empty if they are not one tensor each."""
    names = list(inspect.signature(module.forward).parameters)
    return names if len(names) == len(slots) and all(isinstance(slot, str) for slot in slots) else []


def _inputs(program: torch.export.ExportedProgram, names: list[str]) -> tuple[TensorSpec, ...]:
    """A program's inputs as it records them.

    The file does not keep the names of dynamic dimensions: a symbol is named ``batch`` if it is an input's first
    dimension (the first such symbol), otherwise after the input and position where it first appears.

    """
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    own = [slot for slot in _slots(program) if isinstance(slot, str)]
    symbols: dict[str, str] = {}
    specs = []
    for name, node_name in zip(names, own, strict=True):
        tensor = values[node_name]
        dims = tuple(_dim(size, i, name, symbols) for i, size in enumerate(tensor.shape))
        specs.append(TensorSpec(name, dtype_of(tensor), dims))
    return tuple(specs)


def _bounds(program: torch.export.ExportedProgram, names: list[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """The smallest and largest size of each dynamic dimension, by the input's name and the position."""
    bounds = {str(symbol): _limits(limits) for symbol, limits in program.range_constraints.items()}
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    own = [slot for slot in _slots(program) if isinstance(slot, str)]
    return {
        (name, axis): bounds[str(size)]
        for name, node_name in zip(names, own, strict=True)
        for axis, size in enumerate(values[node_name].shape)
        if str(size) in bounds
    }


def _limits(bounds: Any) -> tuple[int, int]:
    def number(value: Any, default: int) -> int:
        try:
            return int(value) if math.isfinite(float(value)) else default
        except (TypeError, ValueError, OverflowError, AttributeError):  # sympy's infinities
            return default

    return number(bounds.lower, 0), number(bounds.upper, 2**31)


def _dim(size: Any, position: int, name: str, symbols: dict[str, str]) -> Dim:
    if isinstance(size, int):
        return size
    if size.node.expr.is_number:  # a symbol that turned out to have one value
        return int(size)
    expression = str(size)
    if expression not in symbols:
        first = position == 0 and "batch" not in symbols.values()
        symbols[expression] = "batch" if first else f"{name}_dim{position}"
    return symbols[expression]
