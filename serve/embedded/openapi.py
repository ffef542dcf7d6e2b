"""The OpenAPI document: every path of the server, with the tensors of the models that it has now.

Source: https://spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xport import __version__
from xport.serve.embedded.servable import Servable
from xport.serve.embedded.store import Store
from xport.serve.protocols.v2_tensors import datatype
from xport.signature import TensorSpec

_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
    "additionalProperties": False,
}
_REFUSED = {
    "4XX": "The request is at fault; the message names the tensor.",
    "501": "Not served.",
    "503": "No worker could answer; try again.",
    "504": "The deadline is exceeded.",
}
_PLAIN = {"bool": {"type": "boolean"}, "string": {"type": "string"}}


def document(store: Store) -> dict[str, Any]:
    """The document for the models that a server has."""
    paths: dict[str, Any] = {
        "/v1/models": _get("Every model and the state of its versions."),
        "/v2": _get("The server's metadata."),
        "/v2/health/live": _get("Whether the server runs."),
        "/v2/health/ready": _get("Whether every model takes requests.", "503"),
        "/metrics": _get("Prometheus metrics.", media="text/plain"),
    }
    for model in store.models.values():
        if model.latest is not None:
            paths |= _model(model.latest)
    return {
        "openapi": "3.1.0",
        "info": {"title": "xport serve", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _model(servable: Servable) -> Mapping[str, Any]:
    _, endpoint = servable.endpoint()
    inputs, outputs = endpoint.signature.inputs, endpoint.signature.outputs
    name = servable.name
    return {
        f"/v1/models/{name}": _get("The state of its versions."),
        f"/v1/models/{name}/metadata": _get("Its signatures."),
        f"/v1/models/{name}:predict": _post("Predict, as TF Serving does.", _tf_request(inputs), _tf_answer()),
        f"/v2/models/{name}": _get("Its inputs and outputs."),
        f"/v2/models/{name}/ready": _get("Whether it takes requests."),
        f"/v2/models/{name}/infer": _post("Predict by the open inference protocol.", _v2_request(inputs), _v2(outputs)),
    }


def _get(summary: str, *statuses: str, media: str = "application/json") -> dict[str, Any]:
    schema = {"type": "object"} if media == "application/json" else {"type": "string"}
    ok = {"description": "Here it is.", "content": {media: {"schema": schema}}}
    return {"get": {"summary": summary, "responses": {"200": ok, **dict.fromkeys(statuses, ok), **_refusals("4XX")}}}


def _post(summary: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    ok = {"description": "The answer.", "content": {"application/json": {"schema": answer}}}
    body = {"required": True, "content": {"application/json": {"schema": request}}}
    return {"post": {"summary": summary, "requestBody": body, "responses": {"200": ok, **_refusals(*_REFUSED)}}}


def _refusals(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": _REFUSED[status], "content": content} for status in statuses}


def _element(spec: TensorSpec) -> dict[str, Any]:
    if spec.dtype in _PLAIN:
        return dict(_PLAIN[spec.dtype])
    return {"type": "number" if "float" in spec.dtype else "integer"}


def _array(spec: TensorSpec, shape: Iterable[int | str]) -> dict[str, Any]:
    schema = _element(spec)
    for dim in reversed(list(shape)):
        sizes = {"minItems": dim, "maxItems": dim} if isinstance(dim, int) else {}
        schema = {"type": "array", "items": schema, **sizes}
    return schema


def _tf_request(inputs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    columns = _object({s.name: _array(s, s.shape or ()) for s in inputs})
    rows = _object({s.name: _array(s, (s.shape or ())[1:]) for s in inputs})
    signature = {"signature_name": {"const": "serving_default"}}
    return {
        "oneOf": [
            _object({"instances": {"type": "array", "items": rows, "minItems": 1}}, signature),
            _object({"inputs": columns}, signature),
        ]
    }


def _tf_answer() -> dict[str, Any]:
    return {"oneOf": [_object({"predictions": {"type": "array"}}), _object({"outputs": {}})]}


def _v2_request(inputs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    tensors = [
        _object(
            {
                "name": {"const": s.name},
                "datatype": {"const": datatype(s.dtype)},
                "shape": {
                    "type": "array",
                    "prefixItems": [_size(d) for d in s.shape or ()],
                    "items": {"type": "integer"},
                },
                "data": {"type": "array", "items": _element(s)},
            }
        )
        for s in inputs
    ]
    return _object(
        {"inputs": {"type": "array", "prefixItems": tensors, "minItems": len(tensors), "maxItems": len(tensors)}},
        {"id": {"type": "string"}},
    )


def _size(dim: int | str) -> dict[str, Any]:
    return {"const": dim} if isinstance(dim, int) else {"type": "integer", "minimum": 0}


def _v2(outputs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    tensor = _object(
        {
            "name": {"enum": [s.name for s in outputs]},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array"},
        }
    )
    named = {"model_name": {"type": "string"}, "model_version": {"type": "string"}}
    return _object({**named, "outputs": {"type": "array", "items": tensor}}, {"id": {"type": "string"}})


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
