"""The handler inside a ``.mar``: what TorchServe's worker calls. With `torchserve_tensors` it stands alone.

A request's body is JSON in the form of TF Serving (``instances`` or ``inputs``) or of the Open Inference Protocol V2,
``.npy`` bytes for a model with one input, or ``.npz`` bytes; the answer has the form of the question. Requests that
TorchServe hands over together are judged one by one: a bad one gets its own 400 and harms no neighbour.

Sources: https://docs.pytorch.org/serve/custom_service.html; ts/context.py;
https://www.tensorflow.org/tfx/serving/api_rest; Open Inference Protocol, REST.
"""

from __future__ import annotations

import inspect
import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xport.serve.torchserve_tensors import (
    V2_NAMES,
    V2_TYPES,
    BadRequestError,
    is_v2,
    json_array,
    npy_bytes,
    parse,
    read_npy,
    read_npz,
    shape_fits,
)

DESCRIPTION = "xport-model.json"
"""The member of the archive that describes the model."""
Tensors = dict[str, np.ndarray]


@dataclass
class Request:
    """A request that was understood.

    Attributes:
        inputs: Arrays by input name.
        reply: Makes the body of the answer from arrays by output name; returns it with its content type.
    """

    inputs: Tensors
    reply: Callable[[Tensors], tuple[bytes | str, str]]


def handle(data: Sequence[Mapping[str, Any]] | None, context: Any) -> list[bytes | str] | None:
    """What TorchServe calls: once without data to load the model, then with the requests of a batch."""
    if not _served:
        _served.append(Served(Path(context.system_properties["model_dir"])))
    return None if data is None else _served[0].answer(data, context)


class Served:
    """The model of an archive.

    Args:
        folder: Where TorchServe has unpacked the archive.
    """

    def __init__(self, folder: Path) -> None:
        self.description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        self.inputs: list[dict[str, Any]] = self.description["signature"]["inputs"]
        self.outputs: list[dict[str, Any]] = self.description["signature"]["outputs"]
        opener = _open_onnx if self.description["format"] == "onnx" else _open_torch
        self._call = opener(folder / self.description["file"], self.description)

    def answer(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[bytes | str]:
        """Answer the requests of a batch, each for itself."""
        requests: dict[int, Request] = {}
        answers: dict[int, bytes | str] = {}
        for index, row in enumerate(data):
            try:
                requests[index] = self.read(row)
            except BadRequestError as error:
                answers[index] = _refuse(context, index, str(error))
            except RecursionError:
                answers[index] = _refuse(context, index, "The request is nested too deeply.")
        for group in self._groups(requests):
            for index, outcome in self._run_group(group).items():
                try:
                    if isinstance(outcome, BadRequestError):
                        raise outcome
                    answers[index], content_type = requests[index].reply(outcome)
                    context.set_response_content_type(index, content_type)
                except BadRequestError as error:
                    answers[index] = _refuse(context, index, str(error))
        return [answers[index] for index in range(len(data))]

    def _groups(self, requests: Mapping[int, Request]) -> list[dict[int, Tensors]]:
        """Requests that may be joined: of one shape behind the first axis, if the model was proven to allow it."""
        groups: dict[Any, dict[int, Tensors]] = {}
        for index, request in requests.items():
            joinable = self.description["batching"]
            key = tuple(array.shape[1:] for array in request.inputs.values()) if joinable else index
            groups.setdefault(key, {})[index] = request.inputs
        return list(groups.values())

    def _run_group(self, group: dict[int, Tensors]) -> dict[int, Tensors | BadRequestError]:
        if len(group) == 1:
            ((index, inputs),) = group.items()
            return {index: self._run_alone(inputs)}
        names = [spec["name"] for spec in self.inputs]
        try:
            joined = self.run({name: np.concatenate([inputs[name] for inputs in group.values()]) for name in names})
        except Exception:  # whoever is to blame finds out alone; the others get their answers
            return {index: self._run_alone(inputs) for index, inputs in group.items()}
        ends = np.cumsum([inputs[names[0]].shape[0] for inputs in group.values()])[:-1]
        parts = {name: np.split(array, ends) for name, array in joined.items()}
        return {index: {name: parts[name][place] for name in parts} for place, index in enumerate(group)}

    def _run_alone(self, inputs: Tensors) -> Tensors | BadRequestError:
        try:
            return self.run(inputs)
        except Exception as error:  # the runtimes' exceptions share no root
            shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in inputs.items())
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            return BadRequestError(f"The model refused {shapes}: {first[:300]}")

    def run(self, inputs: Tensors) -> Tensors:
        """Run the model on arrays by input name; returns arrays by output name."""
        arrays = self._call([inputs[spec["name"]] for spec in self.inputs])
        if len(arrays) != len(self.outputs):
            raise ValueError(f"the model returned {len(arrays)} tensors, expected {len(self.outputs)}")
        return {spec["name"]: array for spec, array in zip(self.outputs, arrays, strict=True)}

    def read(self, row: Mapping[str, Any]) -> Request:
        """Understand one request.

        Args:
            row: What TorchServe made of it: the body under ``body`` or ``data``.

        Returns:
            The request.

        Raises:
            BadRequestError: If it does not fit the model.
        """
        body = row.get("body", row.get("data"))
        if body is None:
            raise BadRequestError("The request has no body. Send JSON, or a .npy or .npz file.")
        if isinstance(body, bytes | bytearray | memoryview):
            raw = bytes(body)
            if raw.startswith(b"\x93NUMPY"):
                return self._read_npy(raw)
            if raw.startswith(b"PK\x03\x04"):
                return self._read_npz(raw)
            body = raw
        return self._read_json(parse(body))

    def _read_npy(self, raw: bytes) -> Request:
        if len(self.inputs) != 1:
            raise BadRequestError(f"The model has {len(self.inputs)} inputs: send .npz with {self._names()}.")
        inputs = {self.inputs[0]["name"]: read_npy(raw, self.inputs[0]["name"])}
        return Request(self._checked(inputs), self._npy_reply)

    def _npy_reply(self, outputs: Tensors) -> tuple[bytes, str]:
        if len(outputs) != 1:
            return _npz_reply(outputs)
        return npy_bytes(*outputs.items()), "application/x-npy"

    def _read_npz(self, raw: bytes) -> Request:
        return Request(self._checked(read_npz(raw)), _npz_reply)

    def _read_json(self, body: Any) -> Request:
        if not isinstance(body, dict):
            raise BadRequestError("Expected a JSON object with 'instances' or 'inputs'.")
        if "instances" in body and "inputs" in body:
            raise BadRequestError("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
        if "instances" in body:
            return self._read_rows(body["instances"])
        if "inputs" not in body:
            raise BadRequestError("Missing 'inputs' or 'instances' key")
        if is_v2(body["inputs"]):
            return self._read_v2(body)
        return self._read_columns(body["inputs"])

    def _read_rows(self, rows: Any) -> Request:
        if not isinstance(rows, list):
            raise BadRequestError("'instances' must be a list")
        if not rows:
            raise BadRequestError("No values in 'instances' array")
        names = [spec["name"] for spec in self.inputs]
        if all(isinstance(row, dict) and set(row) != {"b64"} for row in rows):
            wrong = next((row for row in rows if set(row) != set(names)), None)
            if wrong is not None:
                raise BadRequestError(
                    f"Expected objects with {self._names()}, got {', '.join(map(repr, wrong)) or 'none'}."
                )
            values = {name: [row[name] for row in rows] for name in names}
        elif len(names) == 1 and not any(isinstance(row, dict) and set(row) != {"b64"} for row in rows):
            values = {names[0]: rows}
        else:
            raise BadRequestError(f"Expected a list of objects with {self._names()}.")
        return Request(self._from_values(values), self._row_reply)

    def _read_columns(self, columns: Any) -> Request:
        names = {spec["name"] for spec in self.inputs}
        if isinstance(columns, dict) and set(columns) != {"b64"}:
            if set(columns) != names:
                raise BadRequestError(f"Expected {self._names()}, got {', '.join(map(repr, columns)) or 'none'}.")
            return Request(self._from_values(columns), _column_reply)
        if len(names) != 1:
            raise BadRequestError(f"The model has {len(names)} inputs: send an object with {self._names()}.")
        return Request(self._from_values({names.pop(): columns}), _column_reply)

    def _read_v2(self, body: dict[str, Any]) -> Request:
        inputs: Tensors = {}
        wanted = {spec["name"]: spec for spec in self.inputs}
        for tensor in body["inputs"]:
            name = tensor["name"]
            if not isinstance(name, str) or name not in wanted or name in inputs:
                raise BadRequestError(f"Unknown or repeated input {name!r}; the inputs are {self._names()}.")
            spec, shape = wanted[name], tensor.get("shape")
            if V2_TYPES.get(str(tensor.get("datatype"))) != spec["dtype"]:
                expected = V2_NAMES[spec["dtype"]]
                raise BadRequestError(f"Input {name!r} has datatype {tensor.get('datatype')!r}, expected {expected}.")
            if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
                raise BadRequestError(f"Input {name!r} has no valid 'shape'.")
            if "data" not in tensor:
                raise BadRequestError(f"Input {name!r} has no 'data'.")
            values = json_array(tensor["data"], spec["dtype"], name)
            count = math.prod(shape)
            if values.size != count:
                raise BadRequestError(f"Input {name!r} has {values.size} values, but shape {shape} needs {count}.")
            try:
                inputs[name] = values.reshape(shape)
            except (ValueError, OverflowError) as error:  # a zero beside sizes that overflow
                raise BadRequestError(f"Input {name!r} cannot have shape {shape}: {error}.") from error
        return Request(self._checked(inputs), self._v2_reply(body.get("id")))

    def _v2_reply(self, request_id: Any) -> Callable[[Tensors], tuple[str, str]]:
        def reply(outputs: Tensors) -> tuple[str, str]:
            rows = [
                {
                    "name": spec["name"],
                    "shape": list(outputs[spec["name"]].shape),
                    "datatype": V2_NAMES[spec["dtype"]],
                    "data": _listed(outputs[spec["name"]].reshape(-1)),
                }
                for spec in self.outputs
            ]
            answer: dict[str, Any] = {"model_name": self.description["name"], "outputs": rows}
            if isinstance(request_id, str):
                answer["id"] = request_id
            return json.dumps(answer), "application/json"

        return reply

    def _row_reply(self, outputs: Tensors) -> tuple[str, str]:
        sizes = {array.shape[0] if array.ndim else None for array in outputs.values()}
        if len(sizes) != 1 or None in sizes:
            raise BadRequestError(
                "The outputs do not share their first dimension: ask with 'inputs' instead of 'instances'."
            )
        if len(outputs) == 1:
            rows = _listed(next(iter(outputs.values())))
        else:
            columns = {name: _listed(array) for name, array in outputs.items()}
            rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return json.dumps({"predictions": rows}), "application/json"

    def _from_values(self, values: Mapping[str, Any]) -> Tensors:
        return self._checked(
            {spec["name"]: json_array(values[spec["name"]], spec["dtype"], spec["name"]) for spec in self.inputs}
        )

    def _checked(self, inputs: Tensors) -> Tensors:
        """The inputs in the signature's order, if names, dtypes and shapes fit."""
        wanted = [spec["name"] for spec in self.inputs]
        if missing := [name for name in wanted if name not in inputs]:
            raise BadRequestError(f"Input {missing[0]!r} is missing; the inputs are {self._names()}.")
        if unknown := [name for name in inputs if name not in wanted]:
            raise BadRequestError(f"Unknown input {unknown[0]!r}; the inputs are {self._names()}.")
        sizes: dict[str, int] = {}
        for spec in self.inputs:
            array, name = inputs[spec["name"]], spec["name"]
            found = "string" if array.dtype.kind in "OSU" else array.dtype.name
            if found != spec["dtype"]:
                raise BadRequestError(f"Input {name!r} has dtype {found}, expected {spec['dtype']}.")
            if not shape_fits(array.shape, spec["shape"], sizes):
                raise BadRequestError(f"Input {name!r} has shape {list(array.shape)}, expected {spec['shape']}.")
        return {name: inputs[name] for name in wanted}

    def _names(self) -> str:
        return ", ".join(repr(spec["name"]) for spec in self.inputs)


_served: list[Served] = []


def _open_torch(path: Path, description: Mapping[str, Any]) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    import torch

    exported = description["format"] == "exported"
    module = _exported(path) if exported else torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    names: list[str] = description["arguments"]

    def call(arrays: list[np.ndarray]) -> list[np.ndarray]:
        # A tensor must not share memory with an array that may be read-only.
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in zip(names, arrays, strict=True)}
        with torch.no_grad():
            return [tensor.detach().cpu().numpy() for tensor in _tensors(module(**tensors))]

    return call


def _exported(path: Path) -> Callable[..., Any]:
    """A ``torch.export`` program that takes its tensors by name, whatever containers they came in."""
    import torch
    from torch.export.graph_signature import InputKind, TensorArgument
    from torch.utils import _pytree as pytree

    with path.open("rb") as file:  # a file, not a path: torch insists on an ending
        program = torch.export.load(file)
    module = program.module(check_guards=False)
    slots = [spec.arg for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    given = list(inspect.signature(module.forward).parameters)
    plain = len(given) == len(slots) and all(isinstance(slot, TensorArgument) for slot in slots)
    names = given if plain else [slot.name for slot in slots]

    def call(**tensors: Any) -> Any:
        leaves = [
            tensors[name] if isinstance(slot, TensorArgument) else getattr(slot, "value", None)
            for name, slot in zip(names, slots, strict=True)
        ]
        if program.call_spec.in_spec is None:
            return module(*leaves)
        positional, keywords = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
        return module(*positional, **keywords)

    return call


def _tensors(value: Any) -> list[Any]:
    """The tensors in what a module returned, in order."""
    if value is None:
        return []
    if hasattr(value, "detach"):
        return [value]
    return [tensor for item in (value.values() if isinstance(value, Mapping) else value) for tensor in _tensors(item)]


def _open_onnx(path: Path, description: Mapping[str, Any]) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import, or it is too late
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = [spec["name"] for spec in description["signature"]["inputs"]]
    outputs = [spec["name"] for spec in description["signature"]["outputs"]]

    def call(arrays: list[np.ndarray]) -> list[np.ndarray]:
        results: list[np.ndarray] = session.run(outputs, dict(zip(inputs, arrays, strict=True)))
        return results

    return call


def _refuse(context: Any, index: int, message: str) -> str:
    context.set_response_status(code=400, phrase="Bad Request", idx=index)
    context.set_response_content_type(index, "application/json")
    return json.dumps({"error": message})


def _npz_reply(outputs: Tensors) -> tuple[bytes, str]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:  # not np.savez: an output may be called "file"
        for output in outputs.items():
            archive.writestr(f"{output[0]}.npy", npy_bytes(output))
    return stream.getvalue(), "application/x-npz"


def _column_reply(outputs: Tensors) -> tuple[str, str]:
    columns = {name: _listed(array) for name, array in outputs.items()}
    value = next(iter(columns.values())) if len(columns) == 1 else columns
    return json.dumps({"outputs": value}), "application/json"


def _listed(array: np.ndarray) -> Any:
    return array.tolist()
