"""TF Serving's protocol as a client speaks it: REST in column and row form, and gRPC.

KServe's V1 is the row form without metadata; it is spoken where the interface is known otherwise.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from xport.errors import InputsError, ServingError, UnsupportedError
from xport.serve.clients.base import Description, Protocol, Request, Target, Tensors, read_message, read_object
from xport.serve.clients.interface import from_tf, from_tf_proto
from xport.serve.clients.v2 import model_names, to_json
from xport.signature import Signature, numpy_dtype

DEFAULT_SIGNATURE = "serving_default"


class TfServing(Protocol):
    """TF Serving's REST; the dtypes of outputs come from the model's metadata, which is asked for once."""

    name = "tf-serving"
    forms = ("column", "row")

    def __init__(self, send: Any, *, form: str = "") -> None:
        super().__init__(send, form=form)
        self._interfaces: dict[Target, Signature] = {}

    @property
    def written(self) -> bool:
        """Whether answers are numbers in decimal."""
        return True

    def encode(self, target: Target, inputs: Mapping[str, np.ndarray]) -> Request:
        """The request that has a model run once."""
        document: dict[str, Any] = {"signature_name": target.signature} if target.signature else {}
        if self.form == "row":
            document["instances"] = _rows(inputs)
        else:
            document["inputs"] = {name: to_json(array) for name, array in inputs.items()}
        headers = {"Content-Type": "application/json"}
        return Request("POST", f"{_path(target)}:predict", json.dumps(document).encode(), headers)

    def decode(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Tensors:
        """The outputs in an answer."""
        return read_outputs(read_object(body, "The server"), self._interface(target), rows=self.form == "row")

    def metadata(self, target: Target) -> dict[str, Any]:
        """What the server tells about a model, in the words of the protocol."""
        return read_object(self._send("GET", f"{_path(target)}/metadata", None, {})[0], "The server")

    def describe(self, target: Target) -> Description:
        """What the server tells about a model; KServe's V1 tells no interface."""
        status = read_object(self._send("GET", _path(target), None, {})[0], "The server")
        rows = status.get("model_version_status")
        if not isinstance(rows, list):
            return Description(None, (), "KServe V1" if "ready" in status else "")
        told = [row for row in rows if isinstance(row, dict) and row.get("state") == "AVAILABLE"]
        versions = tuple(str(row.get("version", "")) for row in told)
        return Description(self._told(target), versions)

    def listing(self) -> list[str]:
        """The models of the server; none where it does not tell, as TF Serving itself."""
        try:
            return model_names(json.loads(self._send("GET", "/v1/models", None, {})[0]))
        except (ServingError, ValueError):
            return []

    def _interface(self, target: Target) -> Signature:
        if self.known is not None:
            return self.known
        if target not in self._interfaces:
            self._interfaces[target] = self._told(target)
        return self._interfaces[target]

    def _told(self, target: Target) -> Signature:
        found = self.metadata(target)
        try:
            definitions = found["metadata"]["signature_def"]["signature_def"]
        except (KeyError, TypeError) as error:
            raise ServingError("The server's metadata has no signature_def.", code="INTERNAL") from error
        return from_tf(definitions[_choose(list(definitions), target)])


def _choose(names: list[str], target: Target) -> str:
    wanted = target.signature or (DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in names else next(iter(names), ""))
    if wanted not in names:
        known = ", ".join(sorted(names)) or "none"
        raise ServingError(
            f"The model has no signature {wanted!r}; it has {known}.",
            "Name one with --signature.",
            code="FAILED_PRECONDITION",
        )
    return wanted


def _path(target: Target) -> str:
    base = f"/v1/models/{quote(target.model, safe='')}"
    if target.version:
        return f"{base}/versions/{target.version}"
    return f"{base}/labels/{quote(target.label, safe='')}" if target.label else base


def _rows(inputs: Mapping[str, np.ndarray]) -> list[Any]:
    sizes = {array.shape[:1] for array in inputs.values()}
    if len(sizes) != 1 or () in sizes:
        shown = ", ".join(f"{name}{list(array.shape)}" for name, array in inputs.items())
        raise ServingError(f"Row form needs inputs with one common first dimension, got {shown}.", "Use column form.")
    columns = {name: to_json(array) for name, array in inputs.items()}
    if len(columns) == 1:
        rows: list[Any] = next(iter(columns.values()))
        return rows
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def read_outputs(document: Mapping[str, Any], interface: Signature, *, rows: bool) -> Tensors:
    """The outputs in a JSON answer of TF Serving's, KServe's V1 or xport's TorchServe handler's form.

    Raises:
        ServingError: If they are missing or not what the interface says.
    """
    key = "predictions" if rows else "outputs"
    if key not in document:
        raise ServingError(f"The answer has no {key!r}, only {', '.join(map(repr, document))}.", code="INTERNAL")
    found, dtypes = document[key], {spec.name: spec.dtype for spec in interface.outputs}
    if rows and isinstance(found, list) and found and isinstance(found[0], dict) and set(found[0]) != {"b64"}:
        found = {name: [row.get(name) for row in found] for name in found[0]}
    elif len(dtypes) == 1 and not (isinstance(found, dict) and set(found) == set(dtypes)):
        found = {next(iter(dtypes)): found}
    if not isinstance(found, dict):
        raise ServingError(f"{key!r} is a {type(found).__name__}, expected one of {', '.join(dtypes)}.")
    unknown = [name for name in found if name not in dtypes]
    if unknown:
        raise ServingError(f"The answer has the output {unknown[0]!r}; known are {', '.join(dtypes)}.", code="INTERNAL")
    return {name: _array(name, value, dtypes[name]) for name, value in found.items()}


def _array(name: str, value: Any, dtype: str) -> np.ndarray:
    try:
        if dtype != "string":
            wide = np.array(value)
            kind = numpy_dtype(dtype).kind
            if wide.size and (
                (kind in "iu" and wide.dtype.kind not in "iu") or (kind == "b") != (wide.dtype.kind == "b")
            ):
                raise ValueError(f"{wide.dtype.name} where {dtype} is declared")
            return wide.astype(numpy_dtype(dtype))
        array = np.array(value, object)
        flat = np.empty(array.size, object)
        flat[:] = [base64.b64decode(i["b64"]) if isinstance(i, dict) else i.encode() for i in array.flat]
        return flat.reshape(array.shape)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ServingError(f"The output {name!r} is no {dtype} tensor: {error}", code="INTERNAL") from error


class TfServingGrpc(Protocol):
    """TF Serving's ``PredictionService`` and ``ModelService``."""

    name = "tf-serving"
    forms = ("grpc",)
    _predict = "/tensorflow.serving.PredictionService/Predict"
    _metadata = "/tensorflow.serving.PredictionService/GetModelMetadata"
    _status = "/tensorflow.serving.ModelService/GetModelStatus"

    def encode(self, target: Target, inputs: Mapping[str, np.ndarray]) -> Request:
        """The request that has a model run once."""
        from xport.serve.tf_serving_protos import serving, to_tensor_proto

        message = serving.PredictRequest(model_spec=_spec(target))
        for name, array in inputs.items():
            message.inputs[name].CopyFrom(to_tensor_proto(array))
        return Request("POST", self._predict, message.SerializeToString())

    def decode(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Tensors:
        """The outputs in an answer."""
        from xport.serve.tf_serving_protos import from_tensor_proto, serving

        message = read_message(serving.PredictResponse, body)
        try:
            return {name: from_tensor_proto(proto).copy() for name, proto in message.outputs.items()}
        except (InputsError, UnsupportedError) as error:
            raise ServingError(f"The answer cannot be read: {error.message}", code="INTERNAL") from error

    def metadata(self, target: Target) -> dict[str, Any]:
        """What the server tells about a model: its signatures by name."""
        from xport.serve.tf_serving_protos import serving

        request = serving.GetModelMetadataRequest(model_spec=_spec(target, signature=False))
        request.metadata_field.append("signature_def")
        body, _ = self._send("POST", self._metadata, request.SerializeToString(), {})
        found = read_message(serving.GetModelMetadataResponse, body)
        return dict(read_message(serving.SignatureDefMap, found.metadata["signature_def"].value).signature_def)

    def describe(self, target: Target) -> Description:
        """What the server tells about a model."""
        from xport.serve.tf_serving_protos import serving

        definitions = self.metadata(target)
        request = serving.GetModelStatusRequest(model_spec=serving.ModelSpec(name=target.model))
        body, _ = self._send("POST", self._status, request.SerializeToString(), {})
        rows = read_message(serving.GetModelStatusResponse, body).model_version_status
        versions = tuple(str(row.version) for row in rows if row.state == _AVAILABLE)
        return Description(from_tf_proto(definitions[_choose(list(definitions), target)]), versions)


_AVAILABLE = 30  # ModelVersionStatus.State in get_model_status.proto


def _spec(target: Target, *, signature: bool = True) -> Any:
    from xport.serve.tf_serving_protos import serving

    spec = serving.ModelSpec(name=target.model, version_label=target.label)
    if target.version:
        spec.version.value = int(target.version)
    if signature and target.signature:
        spec.signature_name = target.signature
    return spec
