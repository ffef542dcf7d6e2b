"""PyTorch's side of what the interpreter needs: constants, shapes, reshapes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.weak import WeakTensorKeyDictionary

from xport.convert.lowering.registry import refuse
from xport.convert.lowering.target import Target
from xport.convert.lowering.values import HostVector
from xport.convert.primitives.narrow_types import FLOAT_CARRIERS, INTEGER_CARRIERS, carry
from xport.signature import numpy_dtype

TORCH_DTYPES = {
    name: getattr(torch, name)
    for name in [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
        "complex128",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
    ]
}
"""PyTorch's dtype by the signature's name; other types PyTorch does not have."""

CARRIED = {**INTEGER_CARRIERS, "float4_e2m1fn": FLOAT_CARRIERS["float4_e2m1fn"]}
"""ONNX types that PyTorch lacks, and what carries their values inside a graph."""

_DTYPE_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}


class TorchCore(Target):
    """See `Target`; the same code runs eagerly, under `torch.export` and under `torch.jit.trace`."""

    name = "torch"
    channels_last = False
    keeps_weights = True

    def __init__(self) -> None:
        self.weights: dict[int, Any] = {}
        """The registered parameter or buffer by the identity of its array."""
        self.device = torch.device("cpu")
        self._computes_now = False
        self._traced_sizes = WeakTensorKeyDictionary()
        """While `torch.jit.trace` records, every size is a tensor; here are the numbers that are known all the same."""

    def limit(self, error: Exception) -> str:
        # torch.fx.experimental.symbolic_shapes; by name, since PyTorch keeps the class to itself.
        if type(error).__name__ == "GuardOnDataDependentSymNode":
            return "a size is known only when the model runs, and torch.export has to know it"
        return ""

    def constant(self, array: np.ndarray, name: str = "", key: np.ndarray | None = None) -> Any:
        registered = self.weights.get(id(array if key is None else key))
        return registered if registered is not None else to_torch(carry(array, CARRIED)).to(self.device)

    def numpy(self, tensor: Any) -> np.ndarray:
        return to_numpy(tensor)

    def rank(self, tensor: Any) -> int | None:
        return int(tensor.dim())

    def shape(self, tensor: Any) -> list[Any]:
        if torch._C._get_tracing_state() is None:
            return list(tensor.shape)
        known = self._traced_sizes.get(tensor) or [None] * tensor.dim()  # type: ignore[no-untyped-call]
        return [size if number is None else number for size, number in zip(tensor.shape, known, strict=True)]

    def name_dims(self, tensor: Any, dims: Sequence[Any]) -> None:
        if torch._C._get_tracing_state() is None or not isinstance(tensor, torch.Tensor) or tensor.dim() != len(dims):
            return
        known = self._traced_sizes.get(tensor) or [None] * tensor.dim()  # type: ignore[no-untyped-call]
        numbers = [d if isinstance(d, int) and d >= 0 else k for d, k in zip(dims, known, strict=True)]
        self._traced_sizes[tensor] = numbers

    def dtype(self, tensor: Any) -> str:
        return _DTYPE_NAMES[tensor.dtype]

    def reshape(self, tensor: Any, sizes: Sequence[Any]) -> Any:
        result = tensor.reshape(list(sizes))
        self.name_dims(result, list(sizes))
        return result

    def transpose(self, tensor: Any, order: Sequence[int]) -> Any:
        result = tensor.permute(list(order))
        self.name_dims(result, [self.shape(tensor)[axis] for axis in order])
        return result

    def stack(self, vector: HostVector) -> Any:
        dtype = TORCH_DTYPES[vector.dtype]
        if vector.static:
            return torch.tensor(vector.array().tolist(), dtype=dtype, device=self.device)
        items = [
            i.to(dtype) if isinstance(i, torch.Tensor) else torch.scalar_tensor(i, dtype=dtype, device=self.device)
            for i in vector.items
        ]
        return items[0] if vector.scalar else torch.stack(items)

    def unstack(self, tensor: Any, what: str) -> list[Any]:
        if tensor.dim() > 1:
            raise refuse(what, f"a vector is expected, found rank {tensor.dim()}")
        if torch._C._get_tracing_state() is not None:  # a number would be the example's for ever
            return list(tensor.reshape(-1).unbind(0))
        return [item.item() for item in tensor.reshape(-1)]

    @contextlib.contextmanager
    def eager(self) -> Iterator[None]:
        # Known values are computed for real even while torch.export traces with fake tensors, weights among them.
        weights, self.weights = self.weights, {}
        outer, self._computes_now = self._computes_now, True
        try:
            with _disable_current_modes(), torch.no_grad():
                yield
        finally:
            self.weights, self._computes_now = weights, outer

    def graph_key(self) -> Any:
        # A loop's body is handed even its known values as operands, which are fake while torch.export traces.
        return self._computes_now


def to_torch(array: np.ndarray) -> Any:
    """An array as a PyTorch tensor of its own, bit for bit.

    Raises:
        UnsupportedError: If PyTorch has no such dtype.
    """
    name = array.dtype.name if array.dtype != object else "string"
    if name not in TORCH_DTYPES:
        raise refuse(f"dtype {name}", "PyTorch has no such type")
    if name == "bfloat16" or name.startswith("float8"):
        carrier = {1: np.uint8, 2: np.int16}[array.dtype.itemsize]
        return torch.tensor(np.ascontiguousarray(array).view(carrier).reshape(array.shape)).view(TORCH_DTYPES[name])
    return torch.tensor(np.ascontiguousarray(array).reshape(array.shape))


def to_numpy(tensor: Any) -> np.ndarray:
    """A PyTorch tensor as an array, bit for bit; bfloat16 and float8 as ml_dtypes types."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    name = _DTYPE_NAMES[tensor.dtype]
    if name == "bfloat16" or name.startswith("float8"):
        carrier = torch.int16 if name == "bfloat16" else torch.uint8
        return np.asarray(tensor.view(carrier).numpy()).view(numpy_dtype(name))
    return np.asarray(tensor.numpy())
