"""ONNX to TFLite: the same traced function as for SavedModel, through TensorFlow's own TFLite converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from xport.convert.onnx_to_savedmodel import OnnxFunction, trace
from xport.convert.source import Source
from xport.errors import ConversionError, UnsupportedError
from xport.signature import Signature

LIMIT = 2_000_000_000
"""Bytes of weights beyond which a flatbuffer's 32-bit offsets do not reach."""


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a TFLite file made of built-in operators.

    Args:
        source: An ONNX file.
        target: The file to write.
        signature: The interface to keep.
        options: ``select_tf_ops``: allow operators that need TensorFlow's own kernels in the interpreter.

    Raises:
        UnsupportedError: If TFLite cannot express an operator, or the weights exceed its limit.
        ConversionError: If TensorFlow's converter fails.
    """
    if source.path is None:
        raise ConversionError("This step converts an ONNX file.")
    function = trace(source.path, signature, flavor="tflite")
    target.write_bytes(flatbuffer(function, select_tf_ops=bool(options.get("select_tf_ops"))))


def flatbuffer(function: OnnxFunction, *, select_tf_ops: bool = False) -> bytes:
    """Convert a traced function; see `convert`."""
    size = sum(v.shape.num_elements() * v.dtype.size for v in function.weights)
    if size > LIMIT:
        raise UnsupportedError(
            f"The weights take {size / 1e9:.1f} GB, and a TFLite file holds at most {LIMIT / 1e9:.0f} GB.",
            "Convert to savedmodel, or to a smaller type.",
        )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.concrete], function)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if select_tf_ops:
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.SELECT_TF_OPS)
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises its own, undocumented types
        raise ConversionError(
            f"TensorFlow's TFLite converter refused the model: {_reason(str(error))}",
            "If it names operators, --select-tf-ops lets TensorFlow's own kernels run them.",
        ) from error


def _reason(text: str) -> str:
    """The telling lines of the converter's message, which quotes whole stack traces."""
    lines = [line.strip() for line in text.splitlines() if "error:" in line or "Op" in line]
    return "; ".join(dict.fromkeys(lines[:3])) or text[:300]
