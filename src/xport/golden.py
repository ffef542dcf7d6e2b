"""Golden cases: a few inputs with the source's outputs, kept in an artifact so that it can always be checked.

They are one npz archive of plain arrays: no pickle in it, none accepted. What numpy cannot store by itself
is stored as bytes beside a manifest: the types of ml_dtypes as raw bytes, strings as UTF-8 with their
lengths.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xport.archives import BROKEN
from xport.errors import UnreadableModelError, UsageError
from xport.signature import dtype_name, numpy_dtype

Tensors = dict[str, np.ndarray]
Case = tuple[Tensors, Tensors]
"""Inputs and the source's outputs."""

TOTAL_LIMIT = 16 * 2**20
"""The most bytes that all cases of an artifact may have together…"""
SINGLE_LIMIT = 64 * 2**20
"""…unless the smallest alone has more; up to this one it is kept nevertheless."""

_BROKEN: tuple[type[Exception], ...] = (*BROKEN, AttributeError, UsageError)
_MANIFEST = "manifest"
_MEMBER_COUNT_LIMIT = 10_000
_TOTAL_READ_LIMIT = 2 * SINGLE_LIMIT


def select(cases: Sequence[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]) -> list[Case]:
    """Choose the cases to keep: the smallest ones, in their order, within the limits.

    Args:
        cases: Inputs and outputs by name.

    Returns:
        Those to keep; none if even the smallest has more than `SINGLE_LIMIT` bytes.
    """
    sizes = [sum(_size(array) for part in case for array in part.values()) for case in cases]
    kept: list[int] = []
    total = 0
    for index in sorted(range(len(cases)), key=sizes.__getitem__):
        if total + sizes[index] > (TOTAL_LIMIT if kept else SINGLE_LIMIT):
            break
        total += sizes[index]
        kept.append(index)
    return [(dict(cases[i][0]), dict(cases[i][1])) for i in sorted(kept)]


def encode(cases: Sequence[Case]) -> bytes:
    """The cases as the bytes of an npz archive.

    Args:
        cases: Inputs and outputs by name.

    Returns:
        The archive's bytes; equal cases give equal bytes.
    """
    arrays: dict[str, np.ndarray] = {}
    manifest = [[_pack(part, arrays) for part in case] for case in cases]
    arrays[_MANIFEST] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            # A fixed date, unlike numpy's: the same cases give the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return stream.getvalue()


def decode(data: bytes) -> list[Case]:
    """Read what `encode` wrote.

    Args:
        data: The archive's bytes, possibly hostile.

    Returns:
        Inputs and outputs by name.

    Raises:
        UnreadableModelError: If the archive is broken, too large, or holds objects.
    """
    try:
        arrays = _arrays(data)
        manifest = json.loads(arrays[_MANIFEST].tobytes())
        cases = [tuple(_unpack(part, arrays) for part in case) for case in manifest]
        return [(inputs, outputs) for inputs, outputs in cases]
    except _BROKEN as error:
        raise UnreadableModelError(
            f"The golden inputs and outputs are broken: {error}", "Convert the model again."
        ) from error


def _size(array: np.ndarray) -> int:
    return sum(len(_bytes(item)) for item in array.flat) if array.dtype.kind in "OSUT" else int(array.nbytes)


def _bytes(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def _pack(tensors: Mapping[str, np.ndarray], arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Put tensors among the arrays; return what the manifest says about them."""
    rows = []
    for name, tensor in tensors.items():
        array = np.asarray(tensor)
        key, dtype = f"a{len(arrays)}", dtype_name(array.dtype)
        row: dict[str, Any] = {"name": name, "dtype": dtype, "shape": list(array.shape), "data": key}
        if dtype == "string":
            items = [_bytes(item) for item in array.flat]
            row["lengths"] = f"{key}_lengths"
            row["text"] = all(not isinstance(item, bytes) for item in array.flat)
            arrays[key] = np.frombuffer(b"".join(items), np.uint8)
            arrays[row["lengths"]] = np.array([len(item) for item in items], np.int64)
        else:
            arrays[key] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        rows.append(row)
    return rows


def _unpack(rows: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]) -> Tensors:
    tensors: Tensors = {}
    for row in rows:
        data, shape = arrays[row["data"]], tuple(row["shape"])
        if row["dtype"] == "string":
            ends = np.cumsum(arrays[row["lengths"]])
            pieces = [data[a:b].tobytes() for a, b in zip([0, *ends[:-1]], ends, strict=False)]
            flat = np.empty(len(pieces), object)
            flat[:] = [piece.decode() for piece in pieces] if row["text"] else pieces
            tensors[row["name"]] = flat.reshape(shape)
        else:
            tensors[row["name"]] = data.view(numpy_dtype(row["dtype"])).reshape(shape).copy()
    return tensors


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an npz archive, sizes checked before anything is unpacked or allocated."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        total = sum(info.file_size for info in infos)
        if len(infos) > _MEMBER_COUNT_LIMIT or total > _TOTAL_READ_LIMIT:
            raise ValueError(f"{len(infos)} members of {total} bytes are more than xport writes.")
        return {info.filename.removesuffix(".npy"): _array(archive.read(info)) for info in infos}


def _array(data: bytes) -> np.ndarray:
    """One ``.npy`` member. ``np.load`` would allocate what the header claims before looking at the data.

    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
    """
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"npy version {version} is not what xport writes.")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype not in (np.uint8, np.int64) or len(shape) != 1:
        raise ValueError(f"an array of {dtype} with shape {shape} is not what xport writes.")
    return np.frombuffer(data, dtype, count=shape[0], offset=stream.tell())
