"""ONNX Runtime.

Graph optimisations stay at their default: what is measured is what a user gets.
Sources: https://onnxruntime.ai/docs/api/python/api_summary.html.
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from xport import onnx_file
from xport.convert.source import Source
from xport.errors import UnsupportedError
from xport.formats import Format
from xport.runtimes import require
from xport.signature import Signature, TensorSpec, numpy_dtype
from xport.validate.runners.base import BaseRunner, Placement, brief, no_cuda
from xport.validate.runners.interface import reconcile, shape_from

_DTYPES = {"float": "float32", "double": "float64", "float8e4m3fn": "float8_e4m3fn"}
_DTYPES |= {
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
}
# onnx.proto, TensorProto.DataType, of what numpy itself does not know: given to the runtime by their bits.
_BY_BITS = {
    "bfloat16": 16,
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
}
# Makes the session remember which provider got which node; runtimes before it ignore unknown entries.
_RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeRunner(BaseRunner):
    """Runs an ONNX file."""

    runtime = "ONNX Runtime"

    def __init__(self, source: Source, *, device: str, threads: int | None) -> None:
        super().__init__(source, device=device, threads=threads)
        self._ort = require("onnxruntime")
        onnx_file.check_external_data(self.path)
        self._session: Any = self._open()
        inputs = tuple(map(self._spec, self._session.get_inputs()))
        outputs = tuple(map(self._spec, self._session.get_outputs()))
        self.signature = source.interface or reconcile(Signature(inputs, outputs), self.path, Format.ONNX)
        self._by_bits = any(spec.dtype in _BY_BITS for spec in inputs + outputs)
        # The session's order, which is not the signature's if a proof says otherwise.
        self._outputs = [spec.name for spec in outputs]

    def _open(self) -> Any:
        if _PROVIDERS[self.device] not in self._ort.get_available_providers():
            raise no_cuda(self.runtime)
        if self.device == "cuda" and hasattr(self._ort, "preload_dlls"):
            self._ort.preload_dlls()  # finds the CUDA libraries that pip installed
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self.threads or 0
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        options.add_session_config_entry(_RECORD_ASSIGNMENT, "1")
        # TF32 keeps ten bits of a float32's 23: fine to use, but not to compare with.
        settings = {"use_tf32": "0"} if self.device == "cuda" else {}
        try:
            session = self._ort.InferenceSession(
                str(self.path), options, providers=[_PROVIDERS[self.device]], provider_options=[settings]
            )
        except Exception as error:  # the runtime's exceptions share no root
            if type(error).__name__ == "NotImplemented":
                raise UnsupportedError(f"{self.runtime} cannot run {self.path}: {brief(error)}") from error
            raise self._unreadable(error) from error
        session.disable_fallback()
        if session.get_providers()[0] != _PROVIDERS[self.device]:
            raise no_cuda(self.runtime)
        return session

    def _spec(self, argument: Any) -> TensorSpec:
        """One input or output; the runtime writes types as ``tensor(float)``."""
        match = re.fullmatch(r"tensor\((\w+)\)", argument.type)
        if match is None:
            raise UnsupportedError(
                f"{self.path}: {argument.name!r} is a {argument.type}, not a tensor.",
                "Models that take or return sequences, maps or optionals cannot be run.",
            )
        dtype = _DTYPES.get(match[1], match[1])
        shape: tuple[int | str, ...] | None = shape_from(argument.name, argument.shape)
        if not shape and not onnx_file.has_shape(self.path, argument.name):
            shape = None  # the runtime reports an unknown rank like a scalar's
        return TensorSpec(argument.name, dtype, shape)

    def _call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._by_bits:
            return self._call_by_bits(inputs)
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))

    def _call_by_bits(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Like `_call`, for dtypes that the runtime's numpy bridge lacks."""
        feeds = {name: self._to_value(array) for name, array in inputs.items()}
        values = self._session.run_with_ort_values(self._outputs, feeds)
        return {name: _to_array(value, self._dtype_of(name)) for name, value in zip(self._outputs, values, strict=True)}

    def _to_value(self, array: np.ndarray) -> Any:
        kind = _BY_BITS.get(array.dtype.name)
        if kind is None:
            return self._ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
        bits = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(array.shape)
        return self._ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, kind)

    def _dtype_of(self, output: str) -> str:
        return next(spec.dtype for spec in self.signature.outputs if spec.name == output)

    def placement(self, inputs: Mapping[str, np.ndarray]) -> Placement:
        """The session's providers in use, and how many nodes each got; shape arithmetic on the CPU is no fallback."""
        providers = self._session.get_providers()
        device = next((name for name, provider in _PROVIDERS.items() if provider == providers[0]), providers[0])
        counts = self._node_counts()
        evidence = f"providers in use: {', '.join(providers)}"
        if counts:
            evidence += "; nodes: " + ", ".join(f"{name} {count}" for name, count in counts.most_common())
            if providers[0] not in counts:
                device = next((name for name, provider in _PROVIDERS.items() if provider in counts), "unknown")
        return Placement(device, evidence)

    def _node_counts(self) -> Counter[str]:
        """Nodes by provider; empty where the runtime is too old to tell."""
        tell = getattr(self._session, "get_provider_graph_assignment_info", None)
        counts: Counter[str] = Counter()
        for part in tell() if tell is not None else ():
            counts[part.ep_name] += len(part.get_nodes())
        return counts

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _to_array(value: Any, dtype: str) -> np.ndarray:
    if dtype not in _BY_BITS:
        array: np.ndarray = value.numpy()
        return array
    shape = tuple(value.shape())
    size = int(np.prod(shape)) * numpy_dtype(dtype).itemsize
    data = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(data, numpy_dtype(dtype)).reshape(shape)
