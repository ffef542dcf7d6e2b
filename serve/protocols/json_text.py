"""JSON in and out: fast where it can be, and with NaN and Infinity, which TF Serving takes and gives.

orjson knows no NaN and json no speed: what orjson refuses, json reads; what is not finite, json writes.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson

from xport.errors import ServingError


def parse(body: bytes) -> Any:
    """Read a request's body.

    Raises:
        ServingError: If it is no JSON.
    """
    if not body:
        raise ServingError("JSON Parse error: The document is empty")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        position = error.pos
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ServingError("JSON Parse error: The document is nested too deeply") from error
    except json.JSONDecodeError as error:
        if not body.strip():
            raise ServingError("JSON Parse error: The document is empty") from error
        raise ServingError(f"JSON Parse error: Invalid value. at offset: {_offset(error)}") from error
    except ValueError as error:  # not UTF-8, or a number of more digits than Python reads
        raise ServingError(f"JSON Parse error: Invalid encoding in string. at offset: {position}") from error


def _offset(error: json.JSONDecodeError) -> int:
    """The byte at which something else was expected; Python 3.13 and later point at a comma that is one too many."""
    before = error.doc[: error.pos]
    if error.msg.startswith("Illegal trailing comma"):
        after = error.doc[error.pos + 1 :]
        before = error.doc[: len(error.doc) - len(after.lstrip())]
    return len(before.encode(errors="surrogatepass"))


def write(value: Any, *, finite: bool = True) -> bytes:
    """An answer's body.

    Args:
        value: What `plain` has treated may stand anywhere in it.
        finite: Whether every array in it is; see `is_finite`.
    """
    if finite:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_from_numpy).encode()


def _from_numpy(value: Any) -> Any:
    """Lists for json, with a float32's own digits."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f":
            return value.tolist()
        return np.array([float(str(v)) for v in value.reshape(-1)], object).reshape(value.shape).tolist()
    return float(str(value)) if isinstance(value, np.floating) else value.item()
