"""Tensors from JSON values by TF Serving's rules.

Regular numbers take a fast way: their nesting is flattened level by level and checked by the set of types found.
Whatever is not regular is walked value by value, only to find the error that TF Serving would report.
Source of rules and texts: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import base64
import binascii
from itertools import chain
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.serve.protocols.json_values import kind, show
from xport.serve.protocols.tf_dtypes import DTYPE_WORDS
from xport.signature import TensorSpec, numpy_dtype

_FLOATS = ("float32", "float64")
_MAX_RANK = 32


def tensor(value: Any, spec: TensorSpec) -> np.ndarray:
    """A tensor from a JSON value.

    Args:
        value: A number, string, bool, or lists of them to any depth.
        spec: The input that it is for; only its dtype is used.

    Returns:
        The tensor; its shape is that of the lists.

    Raises:
        ServingError: In TF Serving's words, and the tensor's name behind them.
    """
    shape, flat = _flatten(value)
    if flat is not None:
        array = _convert(flat, shape, spec.dtype)
        if array is not None:
            return array
    try:
        items: list[Any] = []
        _walk(value, 0, _dense_shape(value), spec.dtype, items)
    except ServingError as error:
        raise ServingError(f"{error.message} (input {spec})", code=error.code) from error
    return _from_items(items, tuple(_dense_shape(value)), spec.dtype)


def is_base64(value: Any) -> bool:
    """Whether a value is ``{"b64": "…"}``."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _flatten(value: Any) -> tuple[tuple[int, ...], list[Any] | None]:
    """The shape and the values of lists of equal lengths; None for the values where the lists are ragged."""
    if not isinstance(value, list):
        return (), [value]
    shape, flat = [len(value)], value
    while flat and type(flat[0]) is list and len(shape) < _MAX_RANK:
        if set(map(type, flat)) != {list}:
            return (), None
        sizes = set(map(len, flat))
        if len(sizes) != 1:
            return (), None
        shape.append(sizes.pop())
        flat = list(chain.from_iterable(flat))
    return tuple(shape), flat


def _convert(flat: list[Any], shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """The tensor, if every value is of the right type and in range; otherwise None."""
    types = set(map(type, flat))
    if dtype in _FLOATS and types <= {int, float}:
        return _floats(flat, types, dtype, shape)
    if types <= {int} and numpy_dtype(dtype).kind in "iu":
        return _integers(flat, shape, dtype)
    if dtype == "bool" and types <= {bool}:
        return np.array(flat, np.bool_).reshape(shape)
    if dtype == "string" and types <= {str}:
        return _from_items(flat, shape, dtype)
    return None


def _floats(flat: list[Any], types: set[type], dtype: str, shape: tuple[int, ...]) -> np.ndarray | None:
    if int in types and any(type(v) is int and abs(v) > _largest_integer(dtype) for v in flat):
        return None
    wide = np.array(flat, np.float64)
    if dtype == "float64":
        return wide.reshape(shape)
    with np.errstate(over="ignore"):
        array = wide.astype(np.float32)
    finite = np.isfinite(array)
    if not finite.all() and not (finite == np.isfinite(wide)).all():
        return None  # finite, but not as a float32
    return array.reshape(shape)


def _largest_integer(dtype: str) -> int:
    return (1 << (24 if dtype == "float32" else 53)) - 1


def _integers(flat: list[Any], shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    limits = np.iinfo(numpy_dtype(dtype)) if dtype not in ("int4", "uint4", "int2", "uint2") else None
    if limits is None:
        return None
    if flat and not (limits.min <= min(flat) and max(flat) <= limits.max):
        return None
    return np.array(flat, numpy_dtype(dtype)).reshape(shape)


def _dense_shape(value: Any) -> list[int]:
    """The lengths along the first elements, as TF Serving takes them for the shape."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _walk(value: Any, level: int, shape: list[int], dtype: str, items: list[Any]) -> None:
    """Collect values; raise at the first that does not fit."""
    if not isinstance(value, list):
        if level != len(shape):
            raise ServingError(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        items.append(_value(value, dtype))
        return
    if level >= len(shape):
        raise ServingError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise ServingError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _walk(item, level + 1, shape, dtype, items)


def _value(value: Any, dtype: str) -> Any:
    """One value, checked."""
    wrong = ServingError(f"JSON Value: {show(value)} Type: {kind(value)} is not of expected type: {DTYPE_WORDS[dtype]}")
    if isinstance(value, dict):
        if dtype != "string":
            raise wrong
        return _from_base64(value)
    if dtype in _FLOATS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong
        if not _lossless(value, dtype):
            raise ServingError(
                f"Cannot convert JSON value: {show(value)} to {DTYPE_WORDS[dtype]} without loss of precision."
            )
        return value
    if dtype == "string":
        if not isinstance(value, str):
            raise wrong
        return value
    if dtype == "bool":
        if not isinstance(value, bool):
            raise wrong
        return value
    if numpy_dtype(dtype).kind in "iu" and dtype not in ("int4", "uint4", "int2", "uint2"):
        limits = np.iinfo(numpy_dtype(dtype))
        if type(value) is not int or not limits.min <= value <= limits.max:
            raise wrong
        return value
    raise ServingError(f"Conversion of JSON Value: {show(value)} to type: {DTYPE_WORDS[dtype]}", code="UNIMPLEMENTED")


def _lossless(value: float, dtype: str) -> bool:
    if isinstance(value, int):
        return abs(value) <= _largest_integer(dtype)
    return not np.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)


def _from_base64(value: dict[str, Any]) -> bytes:
    if not is_base64(value):
        raise ServingError(f"JSON Value: {show(value)} not formatted correctly for base64 data")
    text = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServingError("Unable to base64 decode") from error


def _from_items(items: list[Any], shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "string":
        array = np.empty(len(items), object)
        array[:] = [item if isinstance(item, bytes) else item.encode("utf-8", "surrogatepass") for item in items]
        return array.reshape(shape)
    return np.array(items, numpy_dtype(dtype)).reshape(shape)
