"""Keras to a TensorFlow SavedModel, by tracing the model as it infers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from xport.convert.keras_loading import load
from xport.convert.onnx_to_savedmodel import argument_keys, rename_keys
from xport.convert.source import Source
from xport.errors import ConversionError, UnsupportedError
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write a SavedModel whose ``serving_default`` has the model's own names.

    Args:
        source: A Keras file.
        target: The folder to write.
        signature: The interface to keep.
        options: None that this step knows.

    Raises:
        UnreadableModelError: If the file is broken.
        UntrustedCodeError: If it holds code and the user does not trust it.
        ConversionError: If Keras cannot trace the model.
        UnsupportedError: If it keeps a state between calls.
    """
    loaded = load(source)
    _refuse_state(loaded.model)
    inputs, outputs = [s.name for s in signature.inputs], [s.name for s in signature.outputs]
    keys = argument_keys(inputs)
    specs = [
        tf.TensorSpec([d if isinstance(d, int) else None for d in s.shape or ()], s.dtype, name=key)
        for s, key in zip(signature.inputs, keys, strict=True)
    ]
    labels = argument_keys(outputs)

    def run(*tensors: Any) -> dict[str, Any]:
        made = loaded.call(*tensors)
        return {label: tf.identity(made[name], name=label) for label, name in zip(labels, outputs, strict=True)}

    module = tf.Module(name="model")
    module.weights = [variable.value for variable in loaded.model.variables]
    module.tables = _tables(loaded.model)
    try:
        module.run = tf.function(run, input_signature=specs, autograph=False).get_concrete_function()
        tf.saved_model.save(module, str(target), signatures={"serving_default": module.run})
    except Exception as error:  # Keras raises whatever the layers raise
        raise ConversionError(f"Keras cannot trace the model: {type(error).__name__}: {str(error)[:300]}") from error
    rename_keys(target, dict(zip(keys, inputs, strict=True)), dict(zip(labels, outputs, strict=True)))


def _refuse_state(model: Any) -> None:
    """A layer that begins where the last call ended makes every answer depend on those before.

    Raises:
        UnsupportedError: Naming the layers.
    """
    found = [layer.name for layer in model._flatten_layers() if getattr(layer, "stateful", False) is True]
    if found:
        raise UnsupportedError(
            f"The model keeps a state between calls, in {', '.join(found)} (stateful=True): the same inputs give other "
            "outputs the next time, which no conversion can be checked against.",
            "Build it with stateful=False and give it the weights: new.set_weights(old.get_weights()); take the state "
            "as an input (initial_state=…) and give it as an output (return_state=True) if calls follow each other.",
        )


def _tables(model: Any) -> list[Any]:
    """The lookup tables that a model's layers hold."""
    layers = [layer for layer in model._flatten_layers() if layer is not model]
    kind = tf.saved_model.experimental.TrackableResource
    return [value for layer in layers for value in vars(layer).values() if isinstance(value, kind)]
