"""ONNX to a TensorFlow SavedModel: a plain `tf.Module` with Variables and one traced function."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Any

import onnx_ir as ir
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from xport.convert.lowering import model as onnx_model
from xport.convert.lowering.interpreter import Interpreter
from xport.convert.primitives.tf_core import legal_name, tf_dtype
from xport.convert.primitives.tf_target import TensorflowTarget
from xport.convert.source import Source
from xport.errors import ConversionError
from xport.signature import Signature


class OnnxFunction(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """An ONNX graph as a traced TensorFlow function.

    Args:
        model: The model, shapes inferred.
        signature: The interface to give it.
        flavor: ``tflite`` for a function that TFLite's converter takes next.
        integers: Whether that converter will make integers of it, whose sums are exact.

    Raises:
        UnsupportedError: If TensorFlow cannot express an operator.
    """

    def __init__(self, model: ir.Model, signature: Signature, flavor: str = "", *, integers: bool = False) -> None:
        super().__init__(name="model")
        onnx_model.check_operators(model, "tensorflow")
        target = TensorflowTarget(flavor, integers=integers)
        interpreter = Interpreter(model, target)
        inputs, outputs = [s.name for s in signature.inputs], [s.name for s in signature.outputs]
        if flavor == "tflite":
            self.input_keys, self.output_keys = ordered_keys(inputs, "x"), ordered_keys(outputs, "y")
        else:
            self.input_keys, self.output_keys = argument_keys(inputs), outputs
        self.input_names = dict(zip(self.input_keys, inputs, strict=True))
        self.output_names = dict(zip(self.output_keys, outputs, strict=True))

        def run(*tensors: Any) -> dict[str, Any]:
            outputs = interpreter.run(tensors)
            return {
                key: tf.identity(tensor, name=legal_name(key))
                for key, tensor in zip(self.output_keys, outputs, strict=True)
            }

        specs = [
            tf.TensorSpec([d if isinstance(d, int) else None for d in spec.shape or ()], tf_dtype(spec.dtype), name=key)
            for spec, key in zip(signature.inputs, self.input_keys, strict=True)
        ]
        # Only the concrete function is kept: saving a tf.function would trace it once more.
        self.concrete = tf.function(run, input_signature=specs, autograph=False).get_concrete_function()
        self.weights = list(target.variables.values())


def trace(path: Path, signature: Signature, flavor: str = "") -> OnnxFunction:
    """Open an ONNX file and trace it as a TensorFlow function.

    Raises:
        UnsupportedError: If TensorFlow cannot express an operator.
    """
    return OnnxFunction(onnx_model.infer_shapes(onnx_model.load(path)), signature, flavor)


def ordered_keys(names: list[str], prefix: str) -> list[str]:
    """Keys that stay in the model's order when TFLite's converter sorts them: its own names if they do.

    Args:
        names: The model's names.
        prefix: What numbered keys begin with; the model's own names are put back afterwards.

    Returns:
        One key a name.
    """
    legal = all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) and not keyword.iskeyword(name) for name in names)
    distinct = len({name.lower() for name in names}) == len(names)
    if legal and distinct and names == sorted(names):
        return list(names)
    return [f"{prefix}{i:04d}" for i in range(len(names))]


def argument_keys(names: list[str]) -> list[str]:
    """Names that TensorFlow accepts for arguments, made as TensorFlow makes them, and unique.

    Source: ``sanitize_arg_name`` in tensorflow/core/function/polymorphism/function_type.py; a loaded signature then
    takes the model's own names too.
    """
    keys: list[str] = []
    for name in names:
        key = re.sub(r"\W", "_", name, flags=re.ASCII)  # others TensorFlow lets in, and cannot save
        key = key if key[:1].isalpha() and not keyword.iskeyword(key) else f"arg_{key}"
        while key in keys:
            key += "_"
        keys.append(key)
    return keys


def write(function: OnnxFunction, folder: Path) -> None:
    """Save a traced function as a SavedModel, with its traced keys as names."""
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    signatures = {"serving_default": function.concrete}
    tf.saved_model.save(function, str(folder), signatures=signatures, options=options)


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a SavedModel folder whose ``serving_default`` has the model's own names.

    Args:
        source: An ONNX file.
        target: The folder to write.
        signature: The interface to keep.
        options: None are known.

    Raises:
        UnsupportedError: If TensorFlow cannot express an operator.
    """
    if source.path is None:
        raise ConversionError("This step converts an ONNX file.")
    function = trace(source.path, signature)
    write(function, target)
    rename_keys(target, function.input_names, function.output_names)


def rename_keys(folder: Path, inputs: dict[str, str], outputs: dict[str, str]) -> None:
    """Give the ``serving_default`` signature of a SavedModel the model's own names.

    TensorFlow insists on Python identifiers as argument names while tracing, but TF Serving and every loader look
    names up in the SignatureDef alone (tensorflow/core/protobuf/meta_graph.proto), where any string is legal.

    Args:
        folder: The SavedModel.
        inputs: The wanted name by the key that was traced.
        outputs: Likewise.
    """
    if all(key == name for key, name in (*inputs.items(), *outputs.items())):
        return
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    signature = model.meta_graphs[0].signature_def["serving_default"]
    for mapping, names in ((signature.inputs, inputs), (signature.outputs, outputs)):
        infos = {
            name: meta_graph_pb2.TensorInfo.FromString(mapping[key].SerializeToString()) for key, name in names.items()
        }
        mapping.clear()
        for name, info in infos.items():
            mapping[name].CopyFrom(info)
    path.write_bytes(model.SerializeToString(deterministic=True))
