"""The bodies of TF Serving's ``:classify`` and ``:regress``: examples in, labels with scores or values out.

Sources: tensorflow_serving/util/json_tensor.cc, tensorflow_serving/servables/tensorflow/{classifier,regressor}.cc,
tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.serve.protocols.json_text import write
from xport.serve.protocols.json_values import kind, show
from xport.serve.protocols.tf_predict import signature_of
from xport.serve.protocols.tf_tensors import is_base64, tensor
from xport.signature import Signature, TensorSpec
from xport.tf_protos import Messages

_METHODS = {
    "classify": ("classification", "tensorflow/serving/classify"),
    "regress": ("regression", "tensorflow/serving/regress"),
}
_INT64 = range(-(2**63), 2**63)
_FLOAT_MAX = float(np.finfo(np.float32).max)

examples = Messages(
    "tensorflow",
    {
        "BytesList": "value bytes[] 1",
        "FloatList": "value float[] 1",
        "Int64List": "value int64[] 1",
        "Feature": "bytes_list BytesList 1, float_list FloatList 2, int64_list Int64List 3",
        "Features": "feature Feature{} 1",
        "Example": "features Features 1",
    },
)
"""``tf.train.Example`` and its parts."""


@dataclass(frozen=True)
class ExamplesBody:
    """A parsed body.

    Attributes:
        signature: The signature asked for; empty for the default one.
        examples: Serialized ``tf.train.Example`` messages, the context merged into each.
    """

    signature: str
    examples: list[bytes]


def read_body(document: Any) -> ExamplesBody:
    """What a body asks for.

    Raises:
        ServingError: Naming the feature at fault.
    """
    if not isinstance(document, dict):
        raise ServingError(f"JSON Value: {show(document)} Is not object")
    signature = signature_of(document)
    context = _features(document["context"]) if "context" in document else {}
    if "examples" not in document:
        raise ServingError(
            f"JSON Value: {show(document)} When method is classify, key 'examples' is expected and was not found"
        )
    rows = document["examples"]
    if not isinstance(rows, list):
        raise ServingError(f"JSON Value: {show(document)} Expecting 'examples' value to be an list/array")
    if not rows:
        raise ServingError(f"JSON Value: {show(document)} 'examples' value is an empty array")
    return ExamplesBody(signature, [_serialize({**context, **_features(row)}) for row in rows])


def _features(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ServingError(f"Example must be JSON object but got JSON {kind(value)}")
    return {
        name: _feature(name, content if isinstance(content, list) else [content]) for name, content in value.items()
    }


def _feature(name: str, values: list[Any]) -> Any:
    feature = examples.Feature()
    chosen = ""
    for value in values:
        field, item = _item(name, value)
        if chosen and field != chosen:
            raise ServingError(
                f"Unexpected element type in feature: {name} expecting type: {chosen.removesuffix('_list')}"
            )
        chosen = field
        getattr(feature, field).value.append(item)
    return feature


def _item(name: str, value: Any) -> tuple[str, Any]:
    """The list that a value belongs to, and what is put there."""
    if isinstance(value, bool):
        return "int64_list", int(value)
    if isinstance(value, int):
        if value not in _INT64:
            raise ServingError(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64_list", value
    if isinstance(value, float):
        if np.isfinite(value) and abs(value) > _FLOAT_MAX:
            raise ServingError(f"Cannot convert JSON value: {show(value)} to float without loss of precision.")
        return "float_list", value
    if isinstance(value, str):
        return "bytes_list", value.encode("utf-8", "surrogatepass")
    if is_base64(value):
        return "bytes_list", tensor(value, TensorSpec(name, "string", ())).item()
    raise ServingError(f"Feature: {name} has element with unexpected JSON type: {kind(value)}")


def _serialize(features: Mapping[str, Any]) -> bytes:
    message = examples.Example()
    for name, feature in features.items():
        message.features.feature[name].CopyFrom(feature)
    return bytes(message.SerializeToString(deterministic=True))


def tensors(body: ExamplesBody, signature: Signature, method: str, action: str) -> dict[str, np.ndarray]:
    """The one input of a classification or regression signature.

    Args:
        body: The parsed body.
        signature: The signature's interface.
        method: Its ``method_name``.
        action: ``classify`` or ``regress``.

    Raises:
        ServingError: If the signature is not of that kind.
    """
    word, wanted = _METHODS[action]
    if method != wanted:
        raise ServingError(f"Expected {word} signature method_name to be {wanted}. Was: {method}")
    if len(signature.inputs) != 1 or signature.inputs[0].dtype != "string":
        raise ServingError(f"Expected one input Tensor of serialized examples, the signature takes {signature.inputs}.")
    array = np.empty(len(body.examples), object)
    array[:] = body.examples
    return {signature.inputs[0].name: array}


def answer(outputs: Mapping[str, np.ndarray], count: int, action: str) -> bytes:
    """The body of an answer: pairs of label and score, or values.

    Args:
        outputs: What the model gave.
        count: How many examples there were.
        action: ``classify`` or ``regress``.

    Raises:
        ServingError: If the outputs do not fit the method.
    """
    return _regressions(outputs, count) if action == "regress" else _classifications(outputs, count)


def _regressions(outputs: Mapping[str, np.ndarray], count: int) -> bytes:
    if "outputs" not in outputs:
        raise ServingError(
            "Expected output 'outputs' of a regression signature is missing.", code="FAILED_PRECONDITION"
        )
    values = outputs["outputs"]
    if values.shape not in ((count,), (count, 1)):
        raise ServingError(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {list(values.shape)}",
        )
    flat = np.ascontiguousarray(values.reshape(-1))
    return write({"results": flat}, finite=bool(np.isfinite(flat).all()))


def _classifications(outputs: Mapping[str, np.ndarray], count: int) -> bytes:
    classes, scores = outputs.get("classes"), outputs.get("scores")
    for name, array in (("classes", classes), ("scores", scores)):
        if array is not None and (array.ndim != 2 or len(array) != count):
            raise ServingError(f"Expected Tensor shape: [{count} num_classes] but got {list(array.shape)} ({name})")
    if classes is None and scores is None:
        raise ServingError("Expected classification signature outputs to contain at least one of 'classes', 'scores'.")
    shape = (classes if classes is not None else scores).shape  # type: ignore[union-attr]
    labels = classes if classes is not None else np.full(shape, "", object)
    numbers = scores if scores is not None else np.zeros(shape, np.float32)
    results = [
        [
            [label.decode(errors="replace") if isinstance(label, bytes) else str(label), float(str(score))]
            for label, score in zip(*row, strict=True)
        ]
        for row in zip(labels, numbers, strict=True)
    ]
    return write({"results": results}, finite=bool(np.isfinite(numbers).all()))
