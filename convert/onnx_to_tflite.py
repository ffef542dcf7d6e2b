"""ONNX to TFLite: the same traced function as for SavedModel, through TensorFlow's own TFLite converter."""

from __future__ import annotations

import gc
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_ir as ir
import tensorflow as tf

from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_to_savedmodel import OnnxFunction, write
from xport.convert.source import Source
from xport.convert.tflite_names import rename
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
    model = onnx_model.load(source.path)
    _refuse_beyond_limit(weights_bytes(model))  # before any of them is read
    allow = bool(options.get("select_tf_ops"))
    functions = [OnnxFunction(onnx_model.infer_shapes(model), signature, "tflite")]
    del model
    target.write_bytes(flatbuffer(functions.pop(), select_tf_ops=allow, folder=target.parent))


def flatbuffer(
    function: OnnxFunction,
    *,
    select_tf_ops: bool = False,
    folder: Path | None = None,
    configure: Callable[[Any], None] | None = None,
) -> bytes:
    """Convert a traced function.

    Args:
        function: The function, traced with the flavor ``tflite``.
        select_tf_ops: See `convert`.
        folder: Where a temporary SavedModel may be put; the system's own place if None.
        configure: Told TensorFlow's converter before it converts, to ask for a lower precision.

    Returns:
        The TFLite file's content, with the model's own names.

    Raises:
        UnsupportedError: If the weights exceed TFLite's limit.
        ConversionError: If TensorFlow's converter fails.
    """
    _refuse_beyond_limit(sum(v.shape.num_elements() * v.dtype.size for v in function.weights))
    with tempfile.TemporaryDirectory(dir=folder) as saved:
        write(function, Path(saved))
        inputs, outputs = function.input_names, function.output_names
        del function  # its weights lie in the SavedModel now, and the converter needs room for several copies
        gc.collect()
        converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=["serving_default"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        # By default an infinite constant, such as an attention mask holds, becomes the largest finite number.
        converter.canonicalizing_inf_as_min_max_float = False
        if select_tf_ops:
            converter.target_spec.supported_ops.append(tf.lite.OpsSet.SELECT_TF_OPS)
        if configure is not None:
            configure(converter)
        try:
            model = bytes(converter.convert())
        except Exception as error:  # the converter raises its own, undocumented types
            if missing := _missing(str(error)):
                raise UnsupportedError(
                    f"TensorFlow Lite has no built-in operator for {missing}.",
                    "--select-tf-ops lets TensorFlow's own kernels run them.",
                ) from error
            raise ConversionError(
                f"TensorFlow's TFLite converter refused the model: {_reason(str(error))}",
                "If it names operators, --select-tf-ops lets TensorFlow's own kernels run them.",
            ) from error
    return rename(model, inputs, outputs)


def weights_bytes(model: ir.Model) -> int:
    """The bytes of the initializers that nodes use, found without reading them."""
    used = [
        v for graph in model.graphs() for v in graph.initializers.values() if v.uses() and v.const_value is not None
    ]
    return sum(v.const_value.nbytes for v in used if v.const_value is not None)


def _refuse_beyond_limit(size: int) -> None:
    if size > LIMIT:
        raise UnsupportedError(
            f"The weights take {size / 1e9:.1f} GB, and a TFLite file holds at most {LIMIT / 1e9:.0f} GB.",
            "Convert to savedmodel, or to a smaller type.",
        )


def _missing(text: str) -> str:
    """The operations, with types, that the converter says need TensorFlow's own kernels; empty if it says none."""
    illegal = re.findall(r"'tfl\.(\w+)' op (?:operand|result) #\d+ must be .*?, but got '([^']*)'", text)
    if illegal:  # the converter made an operator itself that its own checks turn down
        return "; ".join(dict.fromkeys(f"{name} of {type_}" for name, type_ in illegal))
    if "ERROR_NEEDS_FLEX_OPS" not in text and "ERROR_NEEDS_CUSTOM_OPS" not in text:
        return ""
    details = re.findall(r"^\s+(tf\.\w+\(.*?\) -> \(.*?\)) :", text, re.MULTILINE)
    return "; ".join(dict.fromkeys(details)) or "an operation"


def _reason(text: str) -> str:
    """The telling lines of the converter's message, which quotes whole stack traces."""
    lines = [line.strip() for line in text.splitlines() if "error:" in line or "Op" in line]
    return "; ".join(dict.fromkeys(lines[:3])) or text[:300]
