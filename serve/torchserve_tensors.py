"""What comes in a request to TorchServe, as arrays, and back; a part of the handler inside a ``.mar``.

It stands alone, without xport. Nothing is allocated for sizes that a request only claims.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Sequence
from tokenize import TokenError
from typing import Any

import numpy as np

BYTES_LIMIT = 2**30
"""The most bytes that a compressed request may unpack to."""
_UNPACKING: tuple[type[Exception], ...] = (zipfile.BadZipFile, zlib.error)
try:
    from lzma import LZMAError

    _UNPACKING += (LZMAError,)
except ImportError:  # a Python without lzma; `zipfile` refuses such members by a RuntimeError
    pass
_BROKEN: tuple[type[Exception], ...] = (
    *(*_UNPACKING, struct.error, EOFError, OSError, TokenError, SyntaxError, TypeError, OverflowError),
    *(ValueError, KeyError, IndexError, RuntimeError, MemoryError),
)
"""What reading a broken archive raises; the same as `xport.archives.BROKEN`, which is not at hand here."""

V2_TYPES: dict[str, str] = {
    **{f"{kind.upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{"BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64", "BYTES": "string"},
}
"""The dtype by the Open Inference Protocol's name for it."""
V2_NAMES = {name: datatype for datatype, name in V2_TYPES.items()}
"""…and the other way round."""
DTYPES = tuple(V2_NAMES)
"""The dtypes that requests can carry."""


class BadRequestError(ValueError):
    """A request that does not fit the model; the text goes to the client."""


def parse(body: Any) -> Any:
    """JSON from bytes or text; what TorchServe has decoded already is taken as it is."""
    if not isinstance(body, bytes | str):
        return body
    if not body.strip():
        raise BadRequestError("JSON Parse error: The document is empty")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"JSON Parse error: {error}") from error


def is_v2(inputs: Any) -> bool:
    """Whether ``inputs`` is the list of tensors of the Open Inference Protocol, not a column of values."""
    return isinstance(inputs, list) and bool(inputs) and all(isinstance(i, dict) and "name" in i for i in inputs)


def shape_fits(shape: Sequence[int], wanted: Sequence[int | str] | None, sizes: dict[str, int]) -> bool:
    """Whether a shape is one of those wanted; the sizes of named dimensions are kept in ``sizes``."""
    if wanted is None:
        return True
    if len(shape) != len(wanted):
        return False
    return all(
        size == (sizes.setdefault(dim, size) if isinstance(dim, str) else dim)
        for size, dim in zip(shape, wanted, strict=True)
    )


def read_npy(raw: bytes, name: str) -> np.ndarray:
    """A ``.npy`` file; nothing is allocated for a shape that its bytes cannot fill."""
    stream = io.BytesIO(raw)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, dtype = readers[np.lib.format.read_magic(stream)](stream)
        count = 1
        for size in shape:
            count *= size
        if dtype.hasobject or count * dtype.itemsize != len(raw) - stream.tell():
            raise ValueError("its shape and dtype do not fit its size")
        # Big-endian files are as good as others: what counts is the values.
        values = np.frombuffer(raw, dtype, count=count, offset=stream.tell()).astype(dtype.newbyteorder("="))
        return values.reshape(shape, order="F" if fortran else "C")
    except _BROKEN as error:
        raise BadRequestError(f"Input {name!r} is no .npy file that can be read: {error}") from error


def read_npz(raw: bytes) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name, sizes checked before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if sum(info.file_size for info in archive.infolist()) > BYTES_LIMIT:
                raise BadRequestError(f"The .npz file unpacks to more than {BYTES_LIMIT} bytes.")
            members = {info.filename.removesuffix(".npy"): archive.read(info) for info in archive.infolist()}
    except BadRequestError:
        raise
    except _BROKEN as error:
        raise BadRequestError(f"The .npz file is broken: {error}") from error
    return {name: read_npy(data, name) for name, data in members.items()}


def npy_bytes(output: tuple[str, np.ndarray]) -> bytes:
    """A named array as a ``.npy`` file."""
    name, array = output
    if array.dtype.hasobject:
        raise BadRequestError(f"Output {name!r} is text, which .npy cannot hold: send JSON.")
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    return stream.getvalue()


def json_array(value: Any, dtype: str, name: str) -> np.ndarray:
    """A JSON value as an array of a dtype: floats take integers, integers and flags take only their own."""
    if dtype == "string":
        return _texts(value, name)
    if _has_flags(value) != (dtype == "bool") and not _is_empty(value):
        raise BadRequestError(f"Input {name!r} holds values that are no {dtype}.")
    try:
        found = np.asarray(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise BadRequestError(f"Input {name!r} is ragged or too deep: its rows differ in length.") from error
    if found.dtype.kind not in {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[np.dtype(dtype).kind] and found.size:
        raise BadRequestError(f"Input {name!r} holds values that are no {dtype}.")
    wanted = np.dtype(dtype)
    if wanted.kind in "iu" and found.size:
        limits = np.iinfo(wanted)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise BadRequestError(f"Input {name!r} holds values that {dtype} cannot.")
    with np.errstate(over="ignore"):
        values = found.astype(wanted)
    if wanted.kind == "f" and np.isinf(values).sum() != np.isinf(found).sum():
        raise BadRequestError(f"Input {name!r} holds values that {dtype} cannot.")
    return values


def _has_flags(value: Any) -> bool:
    """Whether some leaf is true or false: numpy would silently count them as numbers."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item) if item and isinstance(item[0], list) else stack.extend(set(map(type, item)))
        elif item is bool or isinstance(item, bool):
            return True
    return False


def _is_empty(value: Any) -> bool:
    return isinstance(value, list) and all(_is_empty(item) for item in value)


def _texts(value: Any, name: str) -> np.ndarray:
    """Text, or ``{"b64": …}``, as an array of objects."""

    def text(item: Any) -> Any:
        if isinstance(item, list):
            return [text(part) for part in item]
        if isinstance(item, dict) and set(item) == {"b64"}:
            try:
                return base64.b64decode(item["b64"], validate=True).decode()
            except (ValueError, TypeError) as error:
                raise BadRequestError(f"Input {name!r} holds invalid base64.") from error
        if isinstance(item, str):
            return item
        raise BadRequestError(f"Input {name!r} holds values that are no string.")

    ragged = f"Input {name!r} is ragged or too deep: its rows differ in length."
    try:
        found = np.asarray(text(value), dtype=object)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(ragged) from error
    if any(isinstance(item, list) for item in found.flat):
        raise BadRequestError(ragged)
    return found
