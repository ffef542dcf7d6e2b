"""Tensors and arrays: dtypes, conversions both ways, and the tensors inside whatever a model returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from xport.errors import UsageError
from xport.signature import DTYPES, numpy_dtype

_BITS = {1: (torch.uint8, np.uint8), 2: (torch.int16, np.int16)}
"""By item size: integer types to carry the bits of dtypes that plain numpy lacks."""


def dtype_of(tensor: torch.Tensor) -> str:
    """The signature's name of a tensor's dtype.

    Raises:
        UsageError: If no other format knows the dtype (quantized tensors, for example).
    """
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise UsageError(
            f"A tensor of dtype {name} cannot be carried over; known are {', '.join(DTYPES)}.",
            "Convert it inside the model, for example with .dequantize() or .float().",
        )
    return name


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype for a signature's dtype name.

    Raises:
        UsageError: If PyTorch has no such dtype.
    """
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise UsageError(f"PyTorch has no dtype {name!r}.", "Use one that torch has, for example float32 or int64.")
    return dtype


def to_tensor(array: Any) -> torch.Tensor:
    """A CPU tensor with the values of an array (or tensor), of the same dtype.

    Raises:
        UsageError: If PyTorch has no such dtype.
    """
    if isinstance(array, torch.Tensor):
        return array.detach().cpu()
    array = np.asarray(array)
    # copy: a tensor must not share memory with an array that may be read-only
    if array.dtype.name.startswith(("bfloat16", "float8")):
        bits = _BITS[array.dtype.itemsize][1]
        return torch.from_numpy(np.array(array).view(bits)).view(torch_dtype(array.dtype.name))
    torch_dtype(array.dtype.name)
    return torch.from_numpy(np.array(array))


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """An array with the values of a tensor, of the same dtype (ml_dtypes for bfloat16 and float8)."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    name = dtype_of(tensor)
    if name.startswith(("bfloat16", "float8")):
        bits = _BITS[tensor.element_size()][0]
        return tensor.contiguous().view(bits).numpy().view(numpy_dtype(name))
    return tensor.numpy()


def flatten_outputs(value: Any) -> list[tuple[str | None, torch.Tensor]]:
    """The tensors in what a model returned, in order, with the names they have there.

    Dicts, dataclasses, named tuples, tuples and lists nest at will; None is left out. A tensor in plain tuples has
    no name; one below a key has the keys on its way (and the positions after the first key), joined by ``_``.

    Args:
        value: What ``forward`` returned.

    Returns:
        Pairs of a name or None, and a tensor. Names are unique.

    Raises:
        UsageError: If there is something that is not a tensor, or no tensor at all.
    """
    found: list[tuple[str | None, torch.Tensor]] = []
    seen: set[str] = set()
    for path, tensor in _leaves(value, ()):
        start = next((i for i, part in enumerate(path) if isinstance(part, str)), len(path))
        name = "_".join(map(str, path[start:])) or None
        while name is not None and name in seen:
            name += "_"
        if name is not None:
            seen.add(name)
        found.append((name, tensor))
    if not found:
        raise UsageError("The model returns no tensor.", "Return at least one tensor from forward.")
    return found


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], torch.Tensor]]:
    if value is None:
        return
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    for key, item in _children(value, path):
        yield from _leaves(item, (*path, key))


def _children(value: Any, path: tuple[str | int, ...]) -> list[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(str(key), item) for key, item in zip(value._fields, value, strict=True)]
    if isinstance(value, tuple | list):
        return list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    where = "The output" if not path else f"Output {'.'.join(map(str, path))!r}"
    raise UsageError(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, expected tensors.",
        "Return tensors, or tuples, lists, dicts or dataclasses of them: torch.tensor(value) for a number.",
    )
