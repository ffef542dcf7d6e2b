"""The messages of TF Serving's prediction service, without tensorflow-serving-api.

Sources: tensorflow_serving/apis/{model,predict,prediction_log,get_model_metadata,get_model_status}.proto and
tensorflow_serving/util/status.proto; names and numbers are theirs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xport.errors import InputsError, UnsupportedError
from xport.signature import dtype_name, numpy_dtype
from xport.tf_protos import DATA_TYPES, DTYPE_OF_DATA_TYPE, Messages, framework

serving = Messages(
    "tensorflow.serving",
    {
        # google.protobuf.Int64Value and Any, declared here: only the numbers of their fields go over the wire.
        "Int64Value": "value int64 1",
        "Any": "type_url string 1, value bytes 2",
        "ModelSpec": "name string 1, version Int64Value 2, signature_name string 3, version_label string 4",
        "PredictRequest": "model_spec ModelSpec 1, inputs TensorProto{} 2, output_filter string[] 3",
        "PredictResponse": "outputs TensorProto{} 1, model_spec ModelSpec 2",
        "PredictLog": "request PredictRequest 1, response PredictResponse 2",
        "PredictionLog": "predict_log PredictLog 6",
        "SignatureDefMap": "signature_def SignatureDef{} 1",
        "GetModelMetadataRequest": "model_spec ModelSpec 1, metadata_field string[] 2",
        "GetModelMetadataResponse": "model_spec ModelSpec 1, metadata Any{} 2",
        "StatusProto": "error_code int32 1, error_message string 2",
        "ModelVersionStatus": "version int64 1, state int32 2, status StatusProto 3",
        "GetModelStatusRequest": "model_spec ModelSpec 1",
        "GetModelStatusResponse": "model_version_status ModelVersionStatus[] 1",
    },
    base=framework,
)
"""The messages of TF Serving that xport uses."""


def to_tensor_proto(array: np.ndarray) -> Any:
    """An array as a ``tensorflow.TensorProto``.

    Args:
        array: A numpy array; strings as objects of bytes or str.

    Returns:
        The message: raw little-endian bytes for numbers, ``string_val`` for strings.

    Raises:
        UnsupportedError: If TensorFlow has no such dtype.
    """
    name = dtype_name(array.dtype)
    if name not in DATA_TYPES:
        raise UnsupportedError(f"TensorFlow has no dtype {name}.", "Cast the tensor in the model.")
    proto = framework.TensorProto(dtype=DATA_TYPES[name])
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if name == "string":
        proto.string_val.extend(s if isinstance(s, bytes) else str(s).encode() for s in array.flat)
    else:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    return proto


_VALUES = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val"}
_VALUES |= {"float16": "half_val", "bfloat16": "half_val", "uint32": "uint32_val", "uint64": "uint64_val"}
_VALUES |= dict.fromkeys(("int32", "int16", "int8", "uint16", "uint8"), "int_val")


def from_tensor_proto(proto: Any, *, limit: int = 2**30) -> np.ndarray:
    """The array of a ``tensorflow.TensorProto``: raw bytes, or values of which the last fills what is left.

    Args:
        proto: The message.
        limit: The most bytes that the array may have; a few bytes may declare any number of equal values.

    Returns:
        The array; strings as objects of bytes.

    Raises:
        InputsError: If its values do not fit its shape, or it is too large.
        UnsupportedError: If the dtype cannot be read.
    """
    dtype = DTYPE_OF_DATA_TYPE.get(proto.dtype, "")
    if dtype != "string" and dtype not in _VALUES:
        raise UnsupportedError(f"A tensor of DataType {proto.dtype} cannot be read.", "Send another dtype.")
    shape, kind = [dim.size for dim in proto.tensor_shape.dim], numpy_dtype(dtype)
    # numpy refuses sizes whose product overflows even where another size is zero, so that a zero counts as one.
    declared = math.prod(max(1, size) for size in shape) * kind.itemsize
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape) or len(shape) > 32 or declared > limit:
        raise InputsError(f"A tensor declares the shape {shape}, which is unknown or too large.")
    count = math.prod(shape)
    if proto.tensor_content and dtype != "string":
        if len(proto.tensor_content) != count * kind.itemsize:
            raise InputsError(f"A tensor has {len(proto.tensor_content)} bytes, {dtype}{shape} wants otherwise.")
        return np.frombuffer(proto.tensor_content, kind).reshape(shape)
    values = list(proto.string_val if dtype == "string" else getattr(proto, _VALUES[dtype]))
    if len(values) > count:
        raise InputsError(f"A tensor has {len(values)} values, its shape {shape} wants {count}.")
    try:
        return _array(values, dtype, count).reshape(shape)
    except OverflowError as error:
        raise InputsError(f"A value does not fit into {dtype}.") from error


def _array(values: list[Any], dtype: str, count: int) -> np.ndarray:
    """Values of which the last is repeated; a missing one is zero or empty, as in TensorFlow."""
    array = np.empty(count, numpy_dtype(dtype))
    if dtype in ("float16", "bfloat16"):
        bits: list[Any] = [value & 0xFFFF for value in values]
        array.view(np.uint16)[: len(values)] = bits
    else:
        array[: len(values)] = values
    array[len(values) :] = array[len(values) - 1] if values else b"" if dtype == "string" else 0
    return array
