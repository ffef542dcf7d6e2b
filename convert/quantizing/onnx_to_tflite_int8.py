"""QDQ ONNX to TFLite in integers: the scales and zero points are the source's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_to_savedmodel import OnnxFunction
from xport.convert.onnx_to_tflite import flatbuffer
from xport.convert.quantizing.int_graph import build
from xport.convert.quantizing.tflite_scales import keep_scales
from xport.convert.source import Source
from xport.errors import ConversionError
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a TFLite file whose quantized layers are int8.

    Args:
        source: A QDQ ONNX file, or one of QLinear operators.
        target: The file to write.
        signature: The interface to keep.
        options: ``select_tf_ops``: see `onnx_to_tflite`.

    Raises:
        UnsupportedError: If TFLite's int8 cannot express it with the source's scales.
        ConversionError: If TensorFlow's converter fails.
    """
    if source.path is None:
        raise ConversionError("This step converts an ONNX file.")
    graph = build(onnx_model.infer_shapes(onnx_model.load(source.path)))
    function = OnnxFunction(graph.model, signature, "tflite", integers=True)
    allow = bool(options.get("select_tf_ops"))
    made = flatbuffer(function, select_tf_ops=allow, folder=target.parent, configure=_integers)
    target.write_bytes(keep_scales(made, graph.weights, graph.scales))


def _integers(converter: Any) -> None:
    """Let the converter make integers of what has ranges, and nothing of what has none."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
