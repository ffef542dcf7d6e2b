"""The messages of V2's gRPC service, in a private descriptor pool, and tensors from and to them.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/open_inference_grpc.proto; names and
numbers are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.serve.protocols import v2_tensors
from xport.signature import Signature, TensorSpec, dtype_name, numpy_dtype
from xport.tf_protos import Messages

inference = Messages(
    "inference",
    {
        "ServerLiveRequest": "",
        "ServerLiveResponse": "live bool 1",
        "ServerReadyRequest": "",
        "ServerReadyResponse": "ready bool 1",
        "ModelReadyRequest": "name string 1, version string 2",
        "ModelReadyResponse": "ready bool 1",
        "ServerMetadataRequest": "",
        "ServerMetadataResponse": "name string 1, version string 2, extensions string[] 3",
        "ModelMetadataRequest": "name string 1, version string 2",
        "TensorMetadata": "name string 1, datatype string 2, shape int64[] 3",
        "ModelMetadataResponse": "name string 1, versions string[] 2, platform string 3, inputs TensorMetadata[] 4,"
        "outputs TensorMetadata[] 5",
        "InferParameter": "bool_param bool 1, int64_param int64 2, string_param string 3",
        "InferTensorContents": "bool_contents bool[] 1, int_contents int32[] 2, int64_contents int64[] 3,"
        "uint_contents uint32[] 4, uint64_contents uint64[] 5, fp32_contents float[] 6, fp64_contents double[] 7,"
        "bytes_contents bytes[] 8",
        "InferInputTensor": "name string 1, datatype string 2, shape int64[] 3, parameters InferParameter{} 4,"
        "contents InferTensorContents 5",
        "InferRequestedOutputTensor": "name string 1, parameters InferParameter{} 2",
        "ModelInferRequest": "model_name string 1, model_version string 2, id string 3, parameters InferParameter{} 4,"
        "inputs InferInputTensor[] 5, outputs InferRequestedOutputTensor[] 6, raw_input_contents bytes[] 7",
        "InferOutputTensor": "name string 1, datatype string 2, shape int64[] 3, parameters InferParameter{} 4,"
        "contents InferTensorContents 5",
        "ModelInferResponse": "model_name string 1, model_version string 2, id string 3, parameters InferParameter{} 4,"
        "outputs InferOutputTensor[] 5, raw_output_contents bytes[] 6",
    },
)
"""The messages of ``inference.GRPCInferenceService``."""

_CONTENTS: Mapping[str, str] = {
    "bool": "bool_contents",
    "int8": "int_contents",
    "int16": "int_contents",
    "int32": "int_contents",
    "int64": "int64_contents",
    "uint8": "uint_contents",
    "uint16": "uint_contents",
    "uint32": "uint_contents",
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "string": "bytes_contents",
}


def tensors(request: Any, signature: Signature) -> dict[str, np.ndarray]:
    """The inputs of a ``ModelInferRequest``, raw or typed.

    Raises:
        ServingError: Naming the tensor at fault.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise ServingError(f"{len(request.inputs)} inputs have {len(raw)} raw contents.")
    found: dict[str, np.ndarray] = {}
    for index, entry in enumerate(request.inputs):
        shape = list(entry.shape)
        spec = v2_tensors.find_spec(signature, entry.name, entry.datatype, shape, found)
        if raw and entry.HasField("contents"):
            raise ServingError(f"Input {entry.name!r} has raw and typed contents.")
        found[entry.name] = v2_tensors.from_bytes(raw[index], spec, shape) if raw else _typed(entry, spec, shape)
    return found


def _typed(entry: Any, spec: TensorSpec, shape: Sequence[int]) -> np.ndarray:
    if spec.dtype not in _CONTENTS:
        raise ServingError(f"Input {spec.name!r}: {entry.datatype} goes into raw_input_contents only.")
    values = list(getattr(entry.contents, _CONTENTS[spec.dtype]))
    count = int(np.prod(shape))
    if len(values) != count:
        raise ServingError(f"Input {spec.name!r} has {len(values)} elements, its shape {list(shape)} wants {count}.")
    array = np.empty(count, numpy_dtype(spec.dtype))
    try:
        array[:] = values
    except OverflowError as error:
        raise ServingError(f"Input {spec.name!r} has a number that does not fit into {spec.dtype}.") from error
    return array.reshape(shape)


def response(request: Any, outputs: Mapping[str, np.ndarray], name: str, version: int) -> Any:
    """The ``ModelInferResponse``, with raw contents.

    Raises:
        ServingError: If an output that is asked for does not exist.
    """
    answer = inference.ModelInferResponse(model_name=name, model_version=str(version), id=request.id)
    for wanted in [entry.name for entry in request.outputs] or list(outputs):
        if wanted not in outputs:
            raise ServingError(f"Unknown output {wanted!r}. The outputs are {', '.join(outputs)}.")
        array = outputs[wanted]
        kind = v2_tensors.datatype(dtype_name(array.dtype))
        answer.outputs.add(name=wanted, datatype=kind, shape=array.shape)
        answer.raw_output_contents.append(v2_tensors.to_bytes(array))
    return answer


def infer_request(name: str, version: str, inputs: Mapping[str, np.ndarray]) -> Any:
    """The ``ModelInferRequest`` for arrays by input name, with raw contents."""
    request = inference.ModelInferRequest(model_name=name, model_version=version)
    for key, array in inputs.items():
        request.inputs.add(name=key, datatype=v2_tensors.datatype(dtype_name(array.dtype)), shape=array.shape)
        request.raw_input_contents.append(v2_tensors.to_bytes(array))
    return request


def outputs(answer: Any) -> dict[str, np.ndarray]:
    """The outputs of a ``ModelInferResponse``, raw or typed.

    Raises:
        ServingError: If it contradicts itself.
    """
    raw = answer.raw_output_contents
    if raw and len(raw) != len(answer.outputs):
        raise ServingError(f"{len(answer.outputs)} outputs have {len(raw)} raw contents.", code="INTERNAL")
    found = {}
    for index, entry in enumerate(answer.outputs):
        spec, shape = TensorSpec(entry.name, v2_tensors.dtype_of(entry.datatype), None), list(entry.shape)
        found[entry.name] = v2_tensors.from_bytes(raw[index], spec, shape).copy() if raw else _typed(entry, spec, shape)
    return found
