"""The bodies of V2's ``infer`` over HTTP: a JSON object, and raw tensors behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.serve.protocols import v2_tensors
from xport.serve.protocols.json_text import parse, write
from xport.serve.protocols.json_values import is_finite
from xport.serve.protocols.v2_tensors import LENGTH_HEADER
from xport.signature import Signature, dtype_name


@dataclass(frozen=True)
class InferBody:
    """A parsed body.

    Attributes:
        document: Its JSON object.
        raw: What stands behind it.
    """

    document: Mapping[str, Any]
    raw: memoryview


@dataclass(frozen=True)
class Wanted:
    """An output that a request asks for."""

    name: str
    binary: bool


def read_body(body: bytes, json_length: str | None) -> InferBody:
    """Take a body apart.

    Args:
        body: All of it.
        json_length: The header `LENGTH_HEADER`; None if there is none.

    Raises:
        ServingError: If it has another form.
    """
    size = len(body)
    if json_length is not None:
        if not json_length.isascii() or not json_length.isdigit() or int(json_length) > len(body):
            raise ServingError(f"{LENGTH_HEADER} is {json_length!r}, the body has {len(body)} bytes.")
        size = int(json_length)
    document = parse(body[:size])
    if not isinstance(document, dict):
        raise ServingError("The body must be a JSON object.")
    if not isinstance(document.get("inputs"), list) or not all(isinstance(t, dict) for t in document["inputs"]):
        raise ServingError("'inputs' must be a list of objects.")
    if not isinstance(document.get("id", ""), str):
        raise ServingError("'id' must be a string.")
    return InferBody(document, memoryview(body)[size:])


def tensors(body: InferBody, signature: Signature) -> dict[str, np.ndarray]:
    """The inputs that a body holds.

    Raises:
        ServingError: Naming the tensor at fault.
    """
    found: dict[str, np.ndarray] = {}
    start = 0
    for entry in body.document["inputs"]:
        name, shape = _head(entry)
        spec = v2_tensors.find_spec(signature, name, entry["datatype"], shape, found)
        size = _parameters(entry, f"Input {name!r}").get("binary_data_size")
        if size is None:
            if "data" not in entry:
                raise ServingError(f"Input {name!r} has no 'data'.")
            found[name] = v2_tensors.from_json(entry["data"], spec, shape)
            continue
        if type(size) is not int or size < 0 or "data" in entry:
            raise ServingError(f"Input {name!r}: 'binary_data_size' must be a number of bytes, without 'data'.")
        if start + size > len(body.raw):
            raise ServingError(f"Input {name!r} has {size} bytes, {len(body.raw) - start} follow.")
        found[name] = v2_tensors.from_bytes(body.raw[start : start + size], spec, shape)
        start += size
    if start != len(body.raw):
        raise ServingError(f"{len(body.raw) - start} bytes behind the tensors belong to none.")
    return found


def _head(entry: Mapping[str, Any]) -> tuple[str, list[int]]:
    name, shape = entry.get("name"), entry.get("shape")
    if not isinstance(name, str) or not name:
        raise ServingError("An input has no 'name'.")
    if not isinstance(entry.get("datatype"), str):
        raise ServingError(f"Input {name!r} has no 'datatype'.")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise ServingError(f"Input {name!r}: 'shape' must be a list of whole numbers.")
    return name, shape


def _parameters(entry: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ServingError(f"{where}: 'parameters' must be an object.")
    return parameters


def wanted(document: Mapping[str, Any], signature: Signature) -> list[Wanted]:
    """The outputs that a body asks for; all if it names none.

    Raises:
        ServingError: If one does not exist or is asked for in a form that there is not.
    """
    known = [spec.name for spec in signature.outputs]
    default = _parameters(document, "The request").get("binary_data_output", False) is True
    asked = document.get("outputs")
    if not asked:
        return [Wanted(name, default) for name in known]
    if not isinstance(asked, list) or not all(isinstance(t, dict) for t in asked):
        raise ServingError("'outputs' must be a list of objects.")
    found = []
    for entry in asked:
        name = entry.get("name")
        if name not in known:
            raise ServingError(f"Unknown output {name!r}. The outputs are {', '.join(known)}.")
        parameters = _parameters(entry, f"Output {name!r}")
        if "classification" in parameters:
            raise ServingError(f"Output {name!r}: the classification extension is not served.", code="UNIMPLEMENTED")
        found.append(Wanted(name, parameters.get("binary_data", default) is True))
    return found


def answer(
    outputs: Mapping[str, np.ndarray], asked: list[Wanted], model: str, version: int, request_id: str
) -> tuple[bytes, int | None]:
    """The body of an answer.

    Returns:
        The body, and how many of its bytes are JSON; None if all are.
    """
    rows: list[dict[str, Any]] = []
    raw: list[bytes] = []
    shown = []
    for want in asked:
        array = outputs[want.name]
        row: dict[str, Any] = {
            "name": want.name,
            "datatype": v2_tensors.datatype(dtype_name(array.dtype)),
            "shape": list(array.shape),
        }
        if want.binary:
            raw.append(v2_tensors.to_bytes(array))
            row["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            row["data"] = v2_tensors.to_json(array)
            shown.append(array)
        rows.append(row)
    document: dict[str, Any] = {"model_name": model, "model_version": str(version)}
    if request_id:
        document["id"] = request_id
    head = write(document | {"outputs": rows}, finite=is_finite(shown))
    return (head + b"".join(raw), len(head)) if raw else (head, None)
