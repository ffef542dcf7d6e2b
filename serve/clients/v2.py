"""The open inference protocol (V2) as a client speaks it: over REST with raw tensors or JSON, and over gRPC."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from xport.errors import ServingError
from xport.serve.clients.base import Description, Protocol, Request, Target, Tensors, lowered, read_message, read_object
from xport.serve.clients.interface import from_v2
from xport.serve.protocols import v2_tensors
from xport.serve.protocols.v2_tensors import LENGTH_HEADER
from xport.signature import TensorSpec, dtype_name

BINARY = "binary_tensor_data"
"""The extension of the protocol for raw tensors in HTTP bodies."""


class V2(Protocol):
    """V2 over REST."""

    name = "v2"
    forms = ("binary", "json")

    @property
    def written(self) -> bool:
        """Whether answers are numbers in decimal."""
        return self.form == "json"

    def encode(self, target: Target, inputs: Mapping[str, np.ndarray]) -> Request:
        """The request that has a model run once."""
        rows: list[dict[str, Any]] = [
            {"name": name, "datatype": v2_tensors.datatype(dtype_name(a.dtype)), "shape": list(a.shape)}
            for name, a in inputs.items()
        ]
        path = f"{_path(target)}/infer"
        if self.form == "json":
            document = {"inputs": [{**row, "data": _listed(inputs[row["name"]])} for row in rows]}
            return Request("POST", path, json.dumps(document).encode(), {"Content-Type": "application/json"})
        raw = [v2_tensors.to_bytes(array) for array in inputs.values()]
        sized = [{**row, "parameters": {"binary_data_size": len(d)}} for row, d in zip(rows, raw, strict=True)]
        head = json.dumps({"inputs": sized, "parameters": {"binary_data_output": True}}).encode()
        headers = {LENGTH_HEADER: str(len(head)), "Content-Type": "application/octet-stream"}
        return Request("POST", path, head + b"".join(raw), headers)

    def decode(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Tensors:
        """The outputs in an answer."""
        length = lowered(headers).get(LENGTH_HEADER.lower())
        found: Tensors = {}
        try:
            size = int(length) if length is not None else len(body)
            start = size
            for row in read_object(body[:size], "The server")["outputs"]:
                spec = TensorSpec(row["name"], v2_tensors.dtype_of(row["datatype"]), None)
                raw = (row.get("parameters") or {}).get("binary_data_size")
                if raw is None:
                    found[spec.name] = v2_tensors.from_json(row["data"], spec, row["shape"])
                else:
                    found[spec.name] = v2_tensors.from_bytes(body[start : start + raw], spec, row["shape"]).copy()
                    start += raw
        except (KeyError, TypeError, ValueError) as error:
            raise ServingError(f"The answer has no outputs as V2 writes them: {error!r}", code="INTERNAL") from error
        return found

    def metadata(self, target: Target) -> dict[str, Any]:
        """What the server tells about a model, in the words of the protocol."""
        return read_object(self._send("GET", _path(target), None, {})[0], "The server")

    def describe(self, target: Target) -> Description:
        """What the server tells about a model."""
        found = self.metadata(target)
        versions = tuple(str(version) for version in found.get("versions") or ())
        return Description(from_v2(found), versions, str(found.get("platform", "")))

    def extensions(self) -> list[str]:
        """What the server adds to the protocol."""
        return list(read_object(self._send("GET", "/v2", None, {})[0], "The server").get("extensions") or ())

    def listing(self) -> list[str]:
        """The models of the server; none where it does not tell: the protocol has no list, Triton and KServe do."""
        for method, path in (("POST", "/v2/repository/index"), ("GET", "/v2/models"), ("GET", "/v1/models")):
            try:
                body, _ = self._send(method, path, b"{}" if method == "POST" else None, {})
                names = model_names(json.loads(body))
            except (ServingError, ValueError):
                continue
            if names:
                return names
        return []


def model_names(document: Any) -> list[str]:
    """The names in a list of models as Triton, KServe, TorchServe or this server writes it."""
    rows = document.get("models", []) if isinstance(document, dict) else document
    names = [
        str(row.get("name") or row.get("modelName") or "") if isinstance(row, dict) else str(row)
        for row in (rows if isinstance(rows, list) else [])
    ]
    return sorted({name for name in names if name})


def _path(target: Target) -> str:
    base = f"/v2/models/{quote(target.model, safe='')}"
    return f"{base}/versions/{target.version}" if target.version else base


def _listed(array: np.ndarray) -> list[Any]:
    """The elements in row-major order."""
    if array.dtype.kind in "OSU":
        return [item.decode() if isinstance(item, bytes) else str(item) for item in array.flat]
    if array.dtype.kind in "cV":
        raise ServingError(f"JSON cannot carry {array.dtype.name}.", "Use raw tensors (the form binary), or gRPC.")
    items: list[Any] = array.reshape(-1).tolist()
    return items


def to_json(array: np.ndarray) -> Any:
    """An array as nested lists, as TF Serving and TorchServe take them; text as base64."""
    if array.dtype.kind not in "OSU":
        if array.dtype.kind in "cV":
            raise ServingError(f"JSON cannot carry {array.dtype.name}.", "Use protocol='v2', or gRPC.")
        return array.tolist()
    items = [item if isinstance(item, bytes) else str(item).encode() for item in array.flat]
    coded = np.empty(len(items), object)
    coded[:] = [{"b64": base64.b64encode(item).decode()} for item in items]
    return coded.reshape(array.shape).tolist()


class V2Grpc(Protocol):
    """V2 over gRPC, with raw contents."""

    name = "v2"
    forms = ("grpc",)
    _service = "/inference.GRPCInferenceService/"

    def encode(self, target: Target, inputs: Mapping[str, np.ndarray]) -> Request:
        """The request that has a model run once."""
        from xport.serve.protocols.v2_protos import infer_request

        message = infer_request(target.model, target.version, inputs)
        return Request("POST", self._service + "ModelInfer", message.SerializeToString())

    def decode(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Tensors:
        """The outputs in an answer."""
        from xport.serve.protocols.v2_protos import inference, outputs

        return outputs(read_message(inference.ModelInferResponse, body))

    def metadata(self, target: Target) -> dict[str, Any]:
        """What the server tells about a model, in the words of the protocol."""
        from xport.serve.protocols.v2_protos import inference

        request = inference.ModelMetadataRequest(name=target.model, version=target.version)
        body, _ = self._send("POST", self._service + "ModelMetadata", request.SerializeToString(), {})
        found = read_message(inference.ModelMetadataResponse, body)
        return {
            "name": found.name,
            "versions": list(found.versions),
            "platform": found.platform,
            **{
                side: [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in getattr(found, side)]
                for side in ("inputs", "outputs")
            },
        }

    def describe(self, target: Target) -> Description:
        """What the server tells about a model."""
        found = self.metadata(target)
        return Description(from_v2(found), tuple(found["versions"]), found["platform"])
