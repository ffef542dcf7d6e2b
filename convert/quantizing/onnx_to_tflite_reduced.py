"""Float ONNX to TFLite with smaller weights: dynamic range in int8, one scale a channel, or float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from xport.convert.onnx_to_savedmodel import trace
from xport.convert.onnx_to_tflite import flatbuffer
from xport.convert.source import Source
from xport.errors import ConversionError
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a TFLite file with smaller weights.

    Args:
        source: A float ONNX file.
        target: The file to write.
        signature: The interface to keep.
        options: ``precision``: ``dynamic`` or ``float16``; ``select_tf_ops``: see `onnx_to_tflite`.

    Raises:
        UnsupportedError: If TFLite cannot express an operator.
        ConversionError: If TensorFlow's converter fails.
    """
    if source.path is None:
        raise ConversionError("This step converts an ONNX file.")
    types = [tf.float16] if options["precision"] == "float16" else []

    def configure(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = types

    function = trace(source.path, signature, flavor="tflite")
    allow = bool(options.get("select_tf_ops"))
    target.write_bytes(flatbuffer(function, select_tf_ops=allow, folder=target.parent, configure=configure))
