"""ONNX to a TensorFlow SavedModel: a plain `tf.Module` with Variables and one traced function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir
import tensorflow as tf

from xport.convert.lowering import model as onnx_model
from xport.convert.lowering.interpreter import Interpreter
from xport.convert.primitives.tf_spatial import TensorflowTarget
from xport.signature import Signature


class OnnxFunction(tf.Module):
    """An ONNX graph as a traced TensorFlow function.

    Args:
        model: The model, shapes inferred.
        signature: The interface to give it.
        flavor: ``tflite`` for a function that TFLite's converter takes next.

    Raises:
        UnsupportedError: If TensorFlow cannot express an operator.
    """

    def __init__(self, model: ir.Model, signature: Signature, flavor: str = "") -> None:
        super().__init__(name="model")
        onnx_model.check_operators(model, "tensorflow")
        target = TensorflowTarget(flavor)
        interpreter = Interpreter(model, target)
        self.input_keys = [f"x{i}" for i in range(len(signature.inputs))]
        self.output_keys = [f"y{i}" for i in range(len(signature.outputs))]

        def run(*tensors: Any) -> dict[str, Any]:
            for tensor, spec in zip(tensors, signature.inputs, strict=True):
                target.name_dims(tensor, spec.shape or ())
            outputs = interpreter.run(tensors)
            return {
                key: tf.identity(tensor, name=key) for key, tensor in zip(self.output_keys, outputs, strict=True)
            }

        specs = [
            tf.TensorSpec([d if isinstance(d, int) else None for d in spec.shape or ()], spec.dtype, name=key)
            for spec, key in zip(signature.inputs, self.input_keys, strict=True)
        ]
        self.function = tf.function(run, input_signature=specs, autograph=False)
        self.concrete = self.function.get_concrete_function()
        self.weights = list(target.variables.values())


def trace(path: Path, signature: Signature, flavor: str = "") -> OnnxFunction:
    """Open an ONNX file and trace it as a TensorFlow function.

    Raises:
        UnsupportedError: If TensorFlow cannot express an operator.
    """
    return OnnxFunction(onnx_model.infer_shapes(onnx_model.load(path)), signature, flavor)
