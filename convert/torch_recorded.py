"""The shapes that a TorchScript archive was traced with, for a message that shows what to type."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

from xport.signature import TensorSpec

_STORAGE_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


def traced_inputs(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Dtypes and shapes that a TorchScript archive was traced with, in the order of ``forward``.

    Args:
        path: The archive.

    Returns:
        One pair a tensor; empty for scripted modules, older archives, and inputs that are not plain tensors.
    """
    data = _member(path, "traced_inputs.pkl")
    if not data:
        return []
    try:
        examples = _ShapeReader(io.BytesIO(data)).load().get("forward", [])
    except (pickle.UnpicklingError, AttributeError, ValueError, TypeError, IndexError, KeyError):
        return []  # only a hint: another layout of the record means there is none
    return examples if all(isinstance(e, tuple) and len(e) == 2 for e in examples) else []


def example_specs(path: Path, names: list[str]) -> list[TensorSpec]:
    """Specs like those an archive was traced with, for a message that shows what to type.

    Args:
        path: A TorchScript archive.
        names: The arguments of ``forward``.

    Returns:
        One spec an argument, with ``batch`` for a first dimension; made up where nothing is recorded.
    """
    traced = traced_inputs(path)
    if len(traced) > len(names) or not traced:
        return [TensorSpec(name, "float32", ("batch", 3, 224, 224)) for name in names]
    return [
        TensorSpec(name, dtype, ("batch", *shape[1:]) if shape else ())
        for name, (dtype, shape) in zip(names, traced, strict=False)
    ]


def _member(path: Path, ending: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.partition("/")[2] == ending:
                return archive.read(name)
    return b""


class _ShapeReader(pickle.Unpickler):
    """Reads the dtype and shape of tensors; no class of the file is ever imported."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        known = {"_rebuild_tensor_v2": _shape, "restore_type_tag": _value, "OrderedDict": dict}
        if name not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not a tensor.")
        return known[name]

    def persistent_load(self, pid: Any) -> Any:
        return pid[1]


def _shape(dtype: str, _offset: int, shape: tuple[int, ...], *_: Any) -> tuple[str, tuple[int, ...]]:
    return dtype, tuple(shape)


def _value(value: Any, _tag: str) -> Any:
    return value
