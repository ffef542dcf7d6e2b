"""What a client sends and understands, by protocol."""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.serve.protocols import v2_tensors
from xport.serve.protocols.v2_tensors import LENGTH_HEADER
from xport.signature import TensorSpec, dtype_name, numpy_dtype

Exchange = tuple[bytes, Mapping[str, str]]
"""The body and the headers of an answer."""
Send = Callable[[str, str, bytes | None, Mapping[str, str]], Exchange]
Tensors = dict[str, np.ndarray]
_ENUMS = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}


class Protocol(ABC):
    """A protocol over a way to send requests.

    Args:
        send: Sends method, path, body and headers.
    """

    def __init__(self, send: Send) -> None:
        self._send = send

    @abstractmethod
    def predict(self, model: str, version: int | None, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """Run a model once; its name is quoted already."""

    @abstractmethod
    def metadata(self, model: str, version: int | None) -> dict[str, Any]:
        """What the server tells about a model."""


class V2(Protocol):
    """The open inference protocol with raw tensors."""

    def predict(self, model: str, version: int | None, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """Run a model once."""
        raw = {name: v2_tensors.to_bytes(array) for name, array in inputs.items()}
        rows = [
            {
                "name": name,
                "datatype": v2_tensors.datatype(dtype_name(array.dtype)),
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(raw[name])},
            }
            for name, array in inputs.items()
        ]
        head = json.dumps({"inputs": rows, "parameters": {"binary_data_output": True}}).encode()
        headers = {LENGTH_HEADER: str(len(head)), "Content-Type": "application/octet-stream"}
        path = f"{_v2_path(model, version)}/infer"
        data, found = self._send("POST", path, head + b"".join(raw.values()), headers)
        return _read_v2(data, {key.lower(): value for key, value in found.items()}.get(LENGTH_HEADER.lower()))

    def metadata(self, model: str, version: int | None) -> dict[str, Any]:
        """What the server tells about a model."""
        found: dict[str, Any] = json.loads(self._send("GET", _v2_path(model, version), None, {})[0])
        return found


def _v2_path(model: str, version: int | None) -> str:
    return f"/v2/models/{model}" + (f"/versions/{version}" if version is not None else "")


def _read_v2(data: bytes, length: str | None) -> Tensors:
    size = int(length) if length is not None else len(data)
    start, found = size, {}
    for row in json.loads(data[:size])["outputs"]:
        spec = TensorSpec(row["name"], v2_tensors.dtype_of(row["datatype"]), None)
        raw = row.get("parameters", {}).get("binary_data_size")
        if raw is None:
            found[spec.name] = v2_tensors.from_json(row["data"], spec, row["shape"])
        else:
            found[spec.name] = v2_tensors.from_bytes(data[start : start + raw], spec, row["shape"]).copy()
            start += raw
    return found


class TfServing(Protocol):
    """TF Serving's REST in column form; dtypes come from the model's metadata, which is asked for once."""

    def __init__(self, send: Send) -> None:
        super().__init__(send)
        self._outputs: dict[tuple[str, int | None], dict[str, str]] = {}

    def predict(self, model: str, version: int | None, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """Run a model once."""
        dtypes = self._dtypes(model, version)
        body = json.dumps({"inputs": {name: _to_json(array) for name, array in inputs.items()}}).encode()
        data, _ = self._send("POST", f"{_tf_path(model, version)}:predict", body, {"Content-Type": "application/json"})
        outputs = json.loads(data)["outputs"]
        if len(dtypes) == 1:
            outputs = {next(iter(dtypes)): outputs}
        return {name: _from_json(value, dtypes[name]) for name, value in outputs.items()}

    def metadata(self, model: str, version: int | None) -> dict[str, Any]:
        """What the server tells about a model."""
        found: dict[str, Any] = json.loads(self._send("GET", f"{_tf_path(model, version)}/metadata", None, {})[0])
        return found

    def _dtypes(self, model: str, version: int | None) -> dict[str, str]:
        key = (model, version)
        if key not in self._outputs:
            signatures = self.metadata(model, version)["metadata"]["signature_def"]["signature_def"]
            definition = signatures.get("serving_default") or next(iter(signatures.values()))
            self._outputs[key] = {
                name: _ENUMS.get(info["dtype"], info["dtype"].removeprefix("DT_").lower())
                for name, info in definition["outputs"].items()
            }
        return self._outputs[key]


def _tf_path(model: str, version: int | None) -> str:
    return f"/v1/models/{model}" + (f"/versions/{version}" if version is not None else "")


def _to_json(array: np.ndarray) -> Any:
    if array.dtype.kind not in "OSU":
        if array.dtype.kind == "c":
            raise ServingError(f"JSON cannot carry {array.dtype.name}.", "Use protocol='v2'.")
        return array.tolist()
    items = [item if isinstance(item, bytes) else str(item).encode() for item in array.flat]
    coded = np.empty(len(items), object)
    coded[:] = [{"b64": base64.b64encode(item).decode()} for item in items]
    return coded.reshape(array.shape).tolist()


def _from_json(value: Any, dtype: str) -> np.ndarray:
    if dtype != "string":
        return np.array(value, numpy_dtype(dtype))
    array = np.array(value, object)
    coded = [base64.b64decode(item["b64"]) if isinstance(item, dict) else item.encode() for item in array.flat]
    flat = np.empty(len(coded), object)
    flat[:] = coded
    return flat.reshape(array.shape)


PROTOCOLS: Mapping[str, type[Protocol]] = {"v2": V2, "tf-serving": TfServing}
"""The protocol by its name."""
