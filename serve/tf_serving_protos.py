"""The messages of TF Serving's prediction service, without tensorflow-serving-api.

Sources: tensorflow_serving/apis/{model,predict,prediction_log}.proto; names and numbers are theirs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.errors import UnsupportedError
from xport.signature import dtype_name
from xport.tf_protos import DATA_TYPES, Messages, framework

serving = Messages(
    "tensorflow.serving",
    {
        "ModelSpec": "name string 1, signature_name string 3, version_label string 4",
        "PredictRequest": "model_spec ModelSpec 1, inputs TensorProto{} 2, output_filter string[] 3",
        "PredictResponse": "outputs TensorProto{} 1, model_spec ModelSpec 2",
        "PredictLog": "request PredictRequest 1, response PredictResponse 2",
        "PredictionLog": "predict_log PredictLog 6",
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
