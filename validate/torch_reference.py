"""A PyTorch model in float64, without its author's help."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from xport.convert.source import Source
from xport.convert.torch_loading import load_module
from xport.convert.torch_signature import call_module
from xport.formats import Format
from xport.signature import Signature, python_names
from xport.validate.figures import to_float64

_NARROW = (torch.float32, torch.float16, torch.bfloat16)
_COMPLEX = (torch.complex64, torch.complex32)


class Widen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Makes every operator work in double precision, also where the model asks for float32 by name.

    ``module.double()`` alone leaves casts (``x.float()``, ``softmax(dtype=torch.float32)``), factories with a
    dtype, and the constants of frozen or traced graphs in single precision.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator on widened tensors and dtypes."""
        if func is torch.ops.aten._assert_tensor_metadata.default:
            return None  # exported programs assert the dtypes that they were traced with
        if func is torch.ops.aten.view.dtype and not args[0].is_floating_point():
            return func(*args)  # bits that stand for a narrow float; they are widened when they are computed with
        if any(argument.alias_info and argument.alias_info.is_write for argument in func._schema.arguments):
            # What is written to must stay the same tensor.
            return func(*tree_map(_wide_dtype, args), **tree_map(_wide_dtype, kwargs or {}))
        return func(*tree_map(_wide, args), **tree_map(_wide, kwargs or {}))


def _wide_dtype(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return torch.float64 if value in _NARROW else torch.complex128 if value in _COMPLEX else value
    return value


def _wide(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        wide = _wide_dtype(value.dtype)
        return value if wide is value.dtype else value.to(wide)
    return _wide_dtype(value)


@contextlib.contextmanager
def double_precision(mode: Widen | None = None) -> Iterator[None]:
    """Everything PyTorch computes in this block is computed in double precision, as a mode says."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mode or Widen():  # type: ignore[no-untyped-call]
            yield
    finally:
        torch.set_default_dtype(before)


def wide_module(source: Source, signature: Signature) -> nn.Module:
    """The source's module with double precision weights.

    Args:
        source: A source of the PyTorch family, or an ONNX model.
        signature: The source's inputs and outputs.

    Returns:
        The module; a live one is copied first.

    Raises:
        XportError: If the source cannot be opened as a PyTorch module.
    """
    if source.format is Format.ONNX and source.path is not None:
        from xport.convert.onnx_to_module import to_module

        return ByName(to_module(source.path).double(), signature)
    module = load_module(source)
    if source.live:
        module = copy.deepcopy(module)
    return module.double()


def run_wide(
    module: nn.Module, signature: Signature, inputs: Mapping[str, np.ndarray], mode: Widen | None = None
) -> dict[str, np.ndarray]:
    """Run what `wide_module` returned.

    Args:
        module: The module.
        signature: The source's signature.
        inputs: Arrays by name in the signature's dtypes; floating point ones are widened.
        mode: Double precision of another kind, for one run.

    Returns:
        Arrays by output name, floating point ones in float64.
    """
    wide = {spec.name: _wide_array(inputs[spec.name]) for spec in signature.inputs}
    with double_precision(mode):
        return call_module(module, signature, wide)


class ByName(nn.Module):
    """Calls a module that takes its inputs by position with inputs by name."""

    def __init__(self, module: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.module = module
        self.names = python_names([spec.name for spec in signature.inputs])  # as `call_module` passes them

    def forward(self, **inputs: torch.Tensor) -> Any:
        """Call the module."""
        return self.module(*(inputs[name] for name in self.names))


def _wide_array(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    if array.dtype.kind == "f" or array.dtype.name.startswith(("bfloat", "float")):
        return to_float64(array)
    return array


_open: dict[int, tuple[nn.Module, Signature]] = {}
"""The modules that this process, a worker, holds, by number."""


def open_here(source: Source, signature: Signature) -> int:
    """Open a source in this process; returns the number that `run_here` and `close_here` take."""
    number = max(_open, default=0) + 1
    _open[number] = (wide_module(source, signature), signature)
    return number


def run_here(number: int, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run what `open_here` opened."""
    return run_wide(*_open[number], inputs)


def close_here(number: int) -> None:
    """Free what `open_here` opened."""
    _open.pop(number, None)
