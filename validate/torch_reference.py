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
from xport.signature import Signature
from xport.validate.figures import to_float64

_NARROW = (torch.float32, torch.float16, torch.bfloat16)
_COMPLEX = (torch.complex64, torch.complex32)


class Widen(TorchDispatchMode):
    """Makes every operator work in double precision, also where the model asks for float32 by name.

    ``module.double()`` alone leaves casts (``x.float()``, ``softmax(dtype=torch.float32)``), factories with a
    dtype, and the constants of frozen or traced graphs in single precision.
    """

    def __torch_dispatch__(  # type: ignore[override]
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator on widened tensors and dtypes."""
        if func is torch.ops.aten._assert_tensor_metadata.default:
            return None  # exported programs assert the dtypes that they were traced with
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
def double_precision() -> Iterator[None]:
    """Everything PyTorch computes in this block is computed in double precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Widen():
            yield
    finally:
        torch.set_default_dtype(before)


def wide_module(source: Source) -> nn.Module:
    """The source's module with double precision weights.

    Args:
        source: A source of the PyTorch family, or an ONNX model if its lowering to PyTorch is there.

    Returns:
        The module; a live one is copied first.
    """
    if source.format is Format.ONNX:
        from xport.convert import onnx_to_torch

        module: nn.Module = onnx_to_torch.to_module(source.path, dtype="float64")
        return module
    module = load_module(source)
    if source.live:
        module = copy.deepcopy(module)
    return module.double()


def run_wide(
    module: nn.Module, signature: Signature, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Run what `wide_module` returned.

    Args:
        module: The module.
        signature: The source's signature.
        inputs: Arrays by name in the signature's dtypes; floating point ones are widened.

    Returns:
        Arrays by output name, floating point ones in float64.
    """
    wide = {name: _wide_array(array) for name, array in inputs.items()}
    with double_precision():
        return call_module(module, signature, wide)


def _wide_array(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    if array.dtype.kind == "f" or array.dtype.name.startswith(("bfloat", "float")):
        return to_float64(array)
    return array


_open: dict[str, Any] = {}
"""What this worker process holds: the module and its signature."""


def open_here(source: Source, signature: Signature) -> None:
    """Open a source in this process, a worker; `run_here` runs it."""
    _open.update(module=wide_module(source), signature=signature)


def run_here(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run what `open_here` opened."""
    return run_wide(_open["module"], _open["signature"], inputs)
