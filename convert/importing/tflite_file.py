"""A TFLite file, opened and checked. Source: tensorflow/lite/schema/schema.fbs."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from xport.errors import UnreadableModelError, UnsupportedError
from xport.runtimes import require
from xport.signature import DTYPES, numpy_dtype

_BROKEN = (struct.error, IndexError, TypeError, AttributeError, ValueError, OverflowError, MemoryError, KeyError)
_PACKED = {"int4": 2, "uint4": 2, "int2": 4}
_IN_FILE = 1
"""A buffer whose data lies behind the flatbuffer has an offset greater than this."""


@dataclass(frozen=True)
class Quantization:
    """How integers stand for real numbers: ``(q - zero) * scale``.

    Attributes:
        dtype: The dtype of the integers.
        scale: One number, or one for each slice along ``axis``.
        zero: Likewise.
        axis: The axis of the slices.
    """

    dtype: str
    scale: np.ndarray
    zero: np.ndarray
    axis: int = 0

    def same(self, other: Quantization | None) -> bool:
        """Whether two quantizations give the same numbers."""
        return (
            other is not None
            and self.dtype == other.dtype
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero, other.zero)
        )


class File:
    """A TFLite model in memory.

    Attributes:
        path: Where it is.
        model: The schema's own ``ModelT``.

    Raises:
        UnreadableModelError: If the file is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        schema = require("ai_edge_litert.schema_py_generated")
        self._data = path.read_bytes()
        try:
            self.model: Any = schema.ModelT.InitFromPackedBuf(self._data, 0)
            self._check_ends()
        except _BROKEN as error:
            raise self.broken(f"{type(error).__name__}: {error}") from error
        self._builtins = _names(schema.BuiltinOperator)
        self._types = {number: name.lower() for number, name in _names(schema.TensorType).items()}
        self.activations = _names(schema.ActivationFunctionType)

    def broken(self, why: str) -> UnreadableModelError:
        """The error for a file that makes no sense."""
        return UnreadableModelError(
            f"{self.path} is a broken TFLite file: {why}.", "It may be truncated; copy or convert it again."
        )

    def _check_ends(self) -> None:
        """Every number that points at something must point at something that is there."""
        buffers, codes = len(self.model.buffers), len(self.model.operatorCodes or ())
        if not self.model.subgraphs:
            raise ValueError("it holds no graph")
        for graph in self.model.subgraphs:
            count = len(graph.tensors)
            for tensor in graph.tensors:
                if not 0 <= tensor.buffer < buffers:
                    raise ValueError("a tensor's buffer is missing")
            for op in graph.operators or ():
                used = [i for part in (op.inputs, op.outputs) if part is not None for i in part]
                if not 0 <= op.opcodeIndex < codes or any(not -1 <= i < count for i in used):
                    raise ValueError("an operator names tensors that are missing")
            if any(not 0 <= i < count for part in (graph.inputs, graph.outputs) if part is not None for i in part):
                raise ValueError("an input or output is missing")
        for signature in self.model.signatureDefs or ():
            if not 0 <= signature.subgraphIndex < len(self.model.subgraphs):
                raise ValueError("a signature's graph is missing")
            count = len(self.model.subgraphs[signature.subgraphIndex].tensors)
            entries = [*(signature.inputs or ()), *(signature.outputs or ())]
            if any(not 0 <= entry.tensorIndex < count for entry in entries):
                raise ValueError("a signature names tensors that are missing")

    def operator(self, op: Any) -> str:
        """The name of an operator; custom ones are written ``CUSTOM:name``."""
        code = self.model.operatorCodes[op.opcodeIndex]
        # Codes beyond 127 are in the newer field only: schema.fbs, table OperatorCode.
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = self._builtins.get(number, str(number))
        return f"CUSTOM:{text(code.customCode)}" if name == "CUSTOM" else name

    def dtype(self, tensor: Any) -> str:
        """The signature's name of a tensor's dtype.

        Raises:
            UnsupportedError: If xport lacks it.
        """
        name = self._types.get(tensor.type, str(tensor.type))
        if name not in DTYPES:
            raise UnsupportedError(f"{self.path}: {text(tensor.name)!r} has the dtype {name}, which xport lacks.")
        return name

    def sizes(self, tensor: Any) -> list[int]:
        """A tensor's sizes, -1 where they may vary."""
        if tensor.shapeSignature is not None and len(tensor.shapeSignature):
            return [int(d) for d in tensor.shapeSignature]
        if tensor.shape is None or not len(tensor.shape):
            return []
        return [int(d) for d in tensor.shape]

    def has_data(self, tensor: Any) -> bool:
        """Whether a tensor is a constant."""
        buffer = self.model.buffers[tensor.buffer]
        return tensor.buffer != 0 and bool((buffer.data is not None and len(buffer.data)) or buffer.offset > _IN_FILE)

    def array(self, tensor: Any) -> np.ndarray:
        """A constant's content.

        Raises:
            UnreadableModelError: If the file ends before it.
            UnsupportedError: If it is stored as a sparse tensor.
        """
        if tensor.sparsity is not None:
            raise UnsupportedError(f"{self.path}: {text(tensor.name)!r} is sparse, which ONNX does not have.")
        buffer = self.model.buffers[tensor.buffer]
        data: Any = buffer.data
        if buffer.offset > _IN_FILE:
            data = memoryview(self._data)[buffer.offset : buffer.offset + buffer.size]
        dtype = self.dtype(tensor)
        shape = tuple(int(d) for d in (tensor.shape if tensor.shape is not None else ()))
        if dtype == "string":
            return _strings(bytes(bytearray(data))).reshape(shape)
        count = math.prod(shape)
        raw = np.frombuffer(bytes(data), np.uint8)
        if dtype in _PACKED:
            return _unpacked(raw, dtype, count).reshape(shape)
        kind = numpy_dtype(dtype)
        if raw.nbytes < count * kind.itemsize:
            raise self.broken(f"the data of {text(tensor.name)!r} is cut short")
        return raw[: count * kind.itemsize].view(kind).reshape(shape)

    def quantization(self, tensor: Any) -> Quantization | None:
        """How a tensor's integers stand for real numbers; None if they are plain."""
        found = tensor.quantization
        if found is None or found.scale is None or not len(found.scale) or not np.any(found.scale):
            return None
        dtype = self.dtype(tensor)
        if not dtype.startswith(("int", "uint")) or (dtype == "int64" and not self.has_data(tensor)):
            return None  # only biases, whose products are of int16, are quantized as int64
        scale = np.asarray(found.scale, np.float32)
        zero = np.zeros(len(scale), np.int64)
        if found.zeroPoint is not None and len(found.zeroPoint):
            zero = np.broadcast_to(np.asarray(found.zeroPoint, np.int64), scale.shape)
        return Quantization(dtype, scale, zero, int(found.quantizedDimension))


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def text(data: Any) -> str:
    """A string of the file."""
    return (data or b"").decode(errors="replace") if isinstance(data, bytes) or data is None else str(data)


def _unpacked(raw: np.ndarray, dtype: str, count: int) -> np.ndarray:
    """Small integers that share bytes, the lower bits first."""
    per_byte = _PACKED[dtype]
    bits = 8 // per_byte
    parts = [(raw >> (bits * i)) & ((1 << bits) - 1) for i in range(per_byte)]
    values = np.stack(parts, axis=1).reshape(-1)[:count].astype(np.int8)
    if dtype.startswith("int"):
        values = np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(np.int8)
    return values.astype(numpy_dtype("int8" if dtype.startswith("int") else "uint8"))


def _strings(data: bytes) -> np.ndarray:
    """The strings of a tensor: their number, where each begins and the last ends, then their bytes."""
    (count,) = struct.unpack_from("<i", data)
    ends = struct.unpack_from(f"<{count + 1}i", data, 4)
    return np.array([data[a:b] for a, b in pairwise(ends)], dtype=object)
