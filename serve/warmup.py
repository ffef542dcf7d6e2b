"""TF Serving's warm-up file: requests that a server answers by itself before it takes traffic.

``assets.extra/tf_serving_warmup_requests`` is a TFRecord file of ``tensorflow.serving.PredictionLog``
messages, at most 1000. Sources: https://www.tensorflow.org/tfx/serving/saved_model_warmup;
tensorflow/core/lib/io/record_writer.h for TFRecord: length (uint64), masked CRC-32C of the length, data,
masked CRC-32C of the data.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from xport.serve.checksum import masked_crc32c
from xport.serve.tf_serving_protos import serving, to_tensor_proto

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
"""Where TF Serving looks for it inside a SavedModel."""


def write(savedmodel: Path, inputs: Sequence[Mapping[str, np.ndarray]], *, model_name: str = "") -> None:
    """Write the warm-up file of a SavedModel, in place of the one it had.

    Args:
        savedmodel: The SavedModel's folder.
        inputs: The inputs of each request by name; none removes the file.
        model_name: The name that the requests ask for; TF Serving does not compare it. By default the
            folder's, or its parent's where the folder is a version number.
    """
    target = savedmodel / FILE
    if not inputs:
        target.unlink(missing_ok=True)
        return
    name = model_name or (savedmodel.parent.name if savedmodel.name.isdigit() else savedmodel.name)
    target.parent.mkdir(exist_ok=True)
    with target.open("wb") as file:
        for tensors in inputs:
            file.write(_record(_request(tensors, name)))


def _request(tensors: Mapping[str, np.ndarray], model_name: str) -> bytes:
    log = serving.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = model_name
    request.model_spec.signature_name = "serving_default"
    for name, array in tensors.items():
        request.inputs[name].CopyFrom(to_tensor_proto(np.asarray(array)))
    return bytes(log.SerializeToString(deterministic=True))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))))
