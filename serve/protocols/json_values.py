"""Values of JSON: tensors as values, and values as errors show them. No package beyond numpy is needed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from xport.signature import dtype_name

_SHOWN = 1000  # characters of a value in an error; TF Serving shows all, whatever the size


def is_finite(arrays: Iterable[np.ndarray]) -> bool:
    """Whether orjson can write these arrays: it has no NaN and no Infinity."""
    return all(bool(np.isfinite(array).all()) for array in arrays if array.dtype.kind in "fV")


def plain(array: np.ndarray, *, as_bytes: bool = False) -> Any:
    """An array in a form that `write` writes as TF Serving would: shortest digits, NaN and Infinity by name.

    Args:
        array: Numbers, bools, or strings as objects.
        as_bytes: Write strings as ``{"b64": …}``.
    """
    if array.dtype.kind == "O":
        return _strings(array.tolist(), as_bytes)
    name = dtype_name(array.dtype)
    if array.dtype.kind == "V" or name in ("float16", "bfloat16"):
        array = array.astype(np.float32)
    elif name in ("int4", "uint4", "int2", "uint2"):
        array = array.astype(np.int8)
    return np.ascontiguousarray(array) if array.ndim else array[()]  # orjson writes scalars, but no array without axes


def _strings(value: Any, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_strings(item, as_bytes) for item in value]
    data = value if isinstance(value, bytes) else str(value).encode()
    if not as_bytes:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass  # JSON has no other way to carry it unharmed
    return {"b64": base64.b64encode(data).decode()}


def show(value: Any) -> str:
    """A value as TF Serving's errors show it: rapidjson's pretty form, cut where it is long."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def kind(value: Any) -> str:
    """What rapidjson calls a value's type."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    return {"dict": "Object", "list": "Array", "str": "String"}.get(type(value).__name__, "Number")
