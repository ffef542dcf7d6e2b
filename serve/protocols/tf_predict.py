"""The bodies of TF Serving's ``:predict``: row form and column form, requests and answers.

Source of rules and texts: tensorflow_serving/util/json_tensor.cc and
https://www.tensorflow.org/tfx/serving/api_rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.serve.protocols.json_text import write
from xport.serve.protocols.json_values import is_finite, plain, show
from xport.serve.protocols.tf_tensors import is_base64, tensor
from xport.signature import Signature, TensorSpec

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class PredictBody:
    """A parsed body.

    Attributes:
        signature: The signature asked for; empty for the default one.
        rows: Whether it is in row form (``instances``), else in column form (``inputs``).
        value: The instances or the inputs.
    """

    signature: str
    rows: bool
    value: Any


def read_body(document: Any) -> PredictBody:
    """What a body asks for, before its tensors are looked at.

    Raises:
        ServingError: If it has another form.
    """
    if not isinstance(document, dict):
        raise ServingError(f"JSON Value: {show(document)} Is not object")
    signature = signature_of(document)
    if "instances" in document and "inputs" in document:
        raise ServingError(
            f"JSON Value: {show(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise ServingError(f"JSON Value: {show(document)} Excepting 'instances' to be an list/array")
        if not instances:
            raise ServingError(f"JSON Value: {show(document)} No values in 'instances' array")
        return PredictBody(signature, True, instances)
    if "inputs" in document:
        return PredictBody(signature, False, document["inputs"])
    raise ServingError("Missing 'inputs' or 'instances' key")


def signature_of(document: Mapping[str, Any]) -> str:
    """The signature that a body names; empty if it names none.

    Raises:
        ServingError: If the name is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise ServingError(
            f"JSON Value: {show(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def tensors(body: PredictBody, signature: Signature) -> Tensors:
    """The inputs that a body holds.

    Raises:
        ServingError: Naming the tensor at fault.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    return _from_rows(body.value, specs) if body.rows else _from_columns(body.value, specs)


def _from_rows(instances: list[Any], specs: Mapping[str, TensorSpec]) -> Tensors:
    if not isinstance(instances[0], dict) and len(specs) > 1:
        raise ServingError(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            f"tensorinfo_map (inputs {', '.join(map(str, specs.values()))})"
        )
    if _is_object(instances[0]):
        return _from_objects(instances, specs)
    for index, item in enumerate(instances):
        if _is_object(item):
            raise ServingError(f"Expecting value/list but got object at item {index} of input list")
    name, spec = next(iter(specs.items()))
    return {name: _stack([(item, "") for item in instances], spec)}


def _from_objects(instances: list[Any], specs: Mapping[str, TensorSpec]) -> Tensors:
    columns: dict[str, list[tuple[Any, str]]] = {name: [] for name in specs}
    for index, item in enumerate(instances):
        if not _is_object(item):
            raise ServingError(f"Expecting object but got list at item {index} of input list")
        for name, value in item.items():
            if name not in specs:
                raise ServingError(
                    f"Failed to process element: {index} key: {name} of 'instances' list. Error: INVALID_ARGUMENT: "
                    f"JSON object: does not have named input: {name}"
                )
            columns[name].append((value, f" key: {name}"))
        if len(item) != len(specs):
            missing = ", ".join(name for name in specs if name not in item)
            raise ServingError(
                f"Failed to process element: {index} of 'instances' list. JSON object: {show(item)} keys must be "
                f"equal to: {','.join(sorted(specs))} (missing {missing})"
            )
    return {name: _stack(values, specs[name]) for name, values in columns.items()}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _stack(values: list[tuple[Any, str]], spec: TensorSpec) -> np.ndarray:
    """One tensor of one value an instance; as a whole if it can be, value by value to name the one at fault."""
    try:
        return tensor([value for value, _ in values], spec)
    except ServingError:
        first: np.ndarray | None = None
        for index, (value, key) in enumerate(values):
            try:
                array = tensor(value, spec)
                _check_same(first, array, spec)
            except ServingError as error:
                status = error.code
                raise ServingError(
                    f"Failed to process element: {index}{key} of 'instances' list. Error: {status}: {error.message}"
                ) from error
            first = array if first is None else first
        raise


def _check_same(first: np.ndarray | None, array: np.ndarray, spec: TensorSpec) -> None:
    if first is None or first.shape == array.shape:
        return
    if first.size != array.size:
        raise ServingError(f"Expecting tensor size: {first.size} but got: {array.size} (input {spec})")
    shapes = [str(list(a.shape)).replace(" ", "") for a in (first, array)]
    raise ServingError(f"Expecting shape {shapes[0]} but got: {shapes[1]} (input {spec})")


def _from_columns(value: Any, specs: Mapping[str, TensorSpec]) -> Tensors:
    if not _is_object(value):
        if len(specs) > 1:
            raise ServingError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                f"tensorinfo_map (inputs {', '.join(map(str, specs.values()))})"
            )
        name, spec = next(iter(specs.items()))
        return {name: tensor(value, spec)}
    for name in specs:
        if name not in value:
            raise ServingError(f"Missing named input: {name} in 'inputs' object.")
    for name in value:
        if name not in specs:
            raise ServingError(f"Unknown named input: {name} in 'inputs' object; expecting {','.join(sorted(specs))}.")
    return {name: tensor(value[name], spec) for name, spec in specs.items()}


def answer(outputs: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """The body of an answer in the form of its request.

    Raises:
        ServingError: If the row form is asked for and the outputs have no common first axis, or JSON cannot carry a
            dtype.
    """
    for name, array in outputs.items():
        if array.dtype.kind == "c":
            raise ServingError(f"Failed to write JSON value for tensor type: {array.dtype.name} (output {name!r})")
    if rows:
        _check_rows(outputs)
    values = {n: plain(a, as_bytes=a.dtype.kind == "O" and n.endswith("_bytes")) for n, a in outputs.items()}
    finite = is_finite(outputs.values())
    if len(values) == 1:
        return write({"predictions" if rows else "outputs": next(iter(values.values()))}, finite=finite)
    if not rows:
        return write({"outputs": values}, finite=finite)
    count = len(next(iter(outputs.values())))
    predictions = [{name: value[i] for name, value in values.items()} for i in range(count)]
    return write({"predictions": predictions}, finite=finite)


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    expected: int | None = None
    for name, array in sorted(outputs.items()):
        if array.ndim == 0:
            raise ServingError(f"Tensor name: {name} has no shape information ")
        if expected is not None and len(array) != expected:
            raise ServingError(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {expected}")
        expected = len(array)
