"""Tensors of the open inference protocol (V2): from and to JSON, raw bytes, and typed lists.

Sources: https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md and
inference_grpc.md) and, for raw bytes in HTTP bodies, Triton's protocol/extension_binary_data.md.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.serve.protocols.json_values import kind, plain
from xport.signature import Signature, TensorSpec, numpy_dtype

_NAMES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}
_DTYPES = {word: name for name, word in _NAMES.items()}
LENGTH_HEADER = "Inference-Header-Content-Length"
"""Says how many bytes of an HTTP body are JSON; the rest is raw tensors."""
_LENGTH = struct.Struct("<I")
_JSON_TYPES: Mapping[str, tuple[set[type], str]] = {
    "f": ({int, float}, "numbers"),
    "i": ({int}, "whole numbers"),
    "u": ({int}, "whole numbers"),
    "b": ({bool}, "true and false"),
    "O": ({str}, "strings"),
}


def datatype(dtype: str) -> str:
    """The protocol's name of a dtype.

    Raises:
        ServingError: ``UNIMPLEMENTED`` if it has none.
    """
    if dtype not in _NAMES:
        raise ServingError(f"The protocol has no datatype for {dtype}.", code="UNIMPLEMENTED")
    return _NAMES[dtype]


def dtype_of(word: str) -> str:
    """The dtype of the protocol's name.

    Raises:
        ServingError: If there is none.
    """
    if word not in _DTYPES:
        raise ServingError(f"There is no datatype {word!r}.")
    return _DTYPES[word]


def specs(signature: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """Inputs or outputs as metadata: -1 is a size that varies."""
    return [
        {
            "name": spec.name,
            "datatype": _NAMES.get(spec.dtype, spec.dtype.upper()),
            "shape": [d if isinstance(d, int) else -1 for d in spec.shape or ()],
        }
        for spec in signature
    ]


def find_spec(signature: Signature, name: str, given: str, shape: Sequence[int], seen: Mapping[str, Any]) -> TensorSpec:
    """The input that a request's tensor is for, its datatype and shape checked before anything is allocated.

    Raises:
        ServingError: Naming the tensor.
    """
    spec = next((s for s in signature.inputs if s.name == name), None)
    if spec is None:
        raise ServingError(f"Unknown input {name!r}. The inputs are {', '.join(map(str, signature.inputs))}.")
    if name in seen:
        raise ServingError(f"Input {name!r} is given twice.")
    if given != datatype(spec.dtype):
        raise ServingError(f"Input {name!r} has datatype {given}, expected {datatype(spec.dtype)}.")
    if any(size < 0 for size in shape):
        raise ServingError(f"Input {name!r} has shape {list(shape)}, which has a negative size.")
    # A zero counts as one: numpy refuses the others' product when that overflows, whatever the zero makes of it.
    if len(shape) > 32 or math.prod(max(1, size) for size in shape) >= 2**40:
        raise ServingError(f"Input {name!r} declares a shape that no request can fill.")
    return spec


def from_json(data: Any, spec: TensorSpec, shape: Sequence[int]) -> np.ndarray:
    """A tensor from its elements in row-major order, nested or not.

    Raises:
        ServingError: Naming the tensor.
    """
    if not isinstance(data, list):
        raise ServingError(f"Input {spec.name!r}: 'data' must be a list, got {kind(data)}.")
    flat = _flat(data, spec.name)
    if len(flat) != math.prod(shape):
        raise ServingError(
            f"Input {spec.name!r} has {len(flat)} elements, its shape {list(shape)} wants {math.prod(shape)}."
        )
    dtype = numpy_dtype(spec.dtype)
    allowed, words = _JSON_TYPES["f" if spec.dtype == "bfloat16" else dtype.kind]
    if not set(map(type, flat)) <= allowed:
        wrong = next(item for item in flat if type(item) not in allowed)
        raise ServingError(f"Input {spec.name!r} takes {words}, got {kind(wrong)} {wrong!r:.100}.")
    if dtype.kind == "O":
        return _objects([item.encode("utf-8", "surrogatepass") for item in flat], shape)
    return _numbers(flat, dtype, spec.name).reshape(shape)


def _flat(data: list[Any], name: str) -> list[Any]:
    """The elements of nested lists; at each level all are lists or none is."""
    for _ in range(33):
        if not data or type(data[0]) is not list:
            return data
        if set(map(type, data)) != {list} or len(set(map(len, data))) != 1:
            raise ServingError(f"Input {name!r}: the lists in 'data' are ragged.")
        data = list(chain.from_iterable(data))
    raise ServingError(f"Input {name!r}: 'data' is nested too deeply.")


def _numbers(flat: list[Any], dtype: np.dtype[Any], name: str) -> np.ndarray:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        outside = next((v for v in flat if not limits.min <= v <= limits.max), None)
        if outside is not None:
            raise ServingError(f"Input {name!r}: {outside} does not fit into {dtype.name}.")
        return np.array(flat, dtype)
    try:
        wide = np.array(flat, np.float64 if dtype.kind in "fV" else dtype)
    except OverflowError as error:
        raise ServingError(f"Input {name!r} has a number that does not fit into {dtype.name}.") from error
    with np.errstate(over="ignore"):
        array = wide.astype(dtype)
    if wide.dtype != dtype and (np.isinf(array.astype(np.float64)) & np.isfinite(wide)).any():
        raise ServingError(f"Input {name!r} has a number that does not fit into {dtype.name}.")
    return array


def from_bytes(data: bytes | memoryview, spec: TensorSpec, shape: Sequence[int]) -> np.ndarray:
    """A tensor from raw little-endian bytes; strings each behind their length.

    Raises:
        ServingError: Naming the tensor.
    """
    count, dtype = math.prod(shape), numpy_dtype(spec.dtype)
    if dtype.kind == "O":
        return _objects(_strings(bytes(data), count, spec.name), shape)
    if len(data) != count * dtype.itemsize:
        raise ServingError(
            f"Input {spec.name!r} has {len(data)} bytes, {spec.dtype}{list(shape)} wants {count * dtype.itemsize}."
        )
    if dtype.kind == "b" and count and np.frombuffer(data, np.uint8).max() > 1:
        raise ServingError(f"Input {spec.name!r}: a BOOL is the byte 0 or 1.")
    return np.frombuffer(data, dtype).reshape(shape)


def _strings(data: bytes, count: int, name: str) -> list[bytes]:
    items: list[bytes] = []
    position = 0
    while position + _LENGTH.size <= len(data) and len(items) < count:
        start = position + _LENGTH.size
        position = start + _LENGTH.unpack_from(data, position)[0]
        items.append(data[start:position])
    if len(items) != count or position != len(data):
        raise ServingError(f"Input {name!r}: its bytes are not {count} strings, each behind its length in four bytes.")
    return items


def _objects(items: list[bytes], shape: Sequence[int]) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def to_json(array: np.ndarray) -> Any:
    """The elements in row-major order."""
    return plain(array.reshape(-1))


def to_bytes(array: np.ndarray) -> bytes:
    """Raw little-endian bytes; strings each behind their length."""
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array).tobytes()
    items = [item if isinstance(item, bytes) else str(item).encode() for item in array.flat]
    return b"".join(_LENGTH.pack(len(item)) + item for item in items)
