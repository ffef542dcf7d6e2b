"""Keras models, opened with care, and called with tensors in a fixed order."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from xport.convert.keras_screen import screen
from xport.convert.source import Source
from xport.convert.symbols import with_batch
from xport.errors import MissingRuntimeError, UnreadableModelError, UsageError
from xport.runtimes import require
from xport.signature import Signature, TensorSpec
from xport.validate.runners.interface import shape_from


@dataclass(frozen=True)
class Loaded:
    """A Keras model with the names of what it takes and gives.

    Attributes:
        model: The ``keras.Model``.
        signature: Its interface, in the order in which `call` takes and gives tensors.
    """

    model: Any
    signature: Signature

    def call(self, *tensors: Any) -> dict[str, Any]:
        """Run the model as in inference.

        Args:
            *tensors: In the signature's order.

        Returns:
            Tensors by name, in the signature's order.
        """
        tree = require("keras").tree
        given = tree.pack_sequence_as(_structure(self.model, "inputs"), list(tensors))
        made = tree.flatten(self.model(given, training=False))
        return dict(zip((spec.name for spec in self.signature.outputs), made, strict=True))


def load(source: Source) -> Loaded:
    """Open a Keras file.

    Args:
        source: A ``.keras`` or ``.h5`` file.

    Returns:
        The model.

    Raises:
        UnreadableModelError: If it is broken or a zip bomb.
        UntrustedCodeError: If it holds code and the user does not trust it.
        UsageError: If it holds weights only, or its inputs are not known.
    """
    if source.path is None:
        raise UsageError(f"{source.name} is not a file.")
    keras = backend()
    screen(source.path, trust=source.trust_pickle)
    try:
        model = keras.saving.load_model(source.path, compile=False, safe_mode=not source.trust_pickle)
    except Exception as error:  # Keras raises whatever the layers raise
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UnreadableModelError(
            f"Keras cannot open {source.path}: {first[:400]}",
            "Open it with the version of Keras that made it, and export it as a SavedModel: model.export(path).",
        ) from error
    found = Loaded(model, _signature(model, source))
    return replace(found, signature=_measured(found)) if any(map(_prepares, model._flatten_layers())) else found


def backend() -> Any:
    """Keras on TensorFlow.

    Raises:
        MissingRuntimeError: If Keras runs on another backend in this process.
    """
    require("tensorflow")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    keras = require("keras")
    if keras.backend.backend() != "tensorflow":
        raise MissingRuntimeError(
            f"Keras runs on {keras.backend.backend()} here, and xport needs it on TensorFlow.",
            "Set KERAS_BACKEND=tensorflow before Keras is imported.",
        )
    return keras


def read_signature(source: Source) -> Signature:
    """Names, dtypes and shapes of a Keras model's inputs and outputs; see `load`."""
    return load(source).signature


def _structure(model: Any, side: str) -> Any:
    """How the inputs or outputs are nested: a list, a dictionary, or one alone."""
    found = getattr(model, f"_{side}_struct", None)
    return getattr(model, side) if found is None else found


def _signature(model: Any, source: Source) -> Signature:
    if not getattr(model, "inputs", None):
        kind = type(model).__name__
        if kind == "Sequential":
            raise UsageError(
                f"{source.name} does not say what its inputs are: it was saved before it was called.",
                "Call model.build(input_shape) before saving, or begin it with keras.Input(shape).",
            )
        raise UsageError(
            f"{source.name} holds a model of the class {kind}, and Keras does not record what such a model takes.",
            "Export it where its class is defined, and convert the folder: model.export('exported')",
        )
    inputs = _specs(_structure(model, "inputs"), [t.name for t in model.inputs])
    # A Sequential tells no output names; its last layer gives the output.
    names = list(getattr(model, "output_names", None) or [model.layers[-1].name])
    outputs = _specs(_structure(model, "outputs"), names)
    return with_batch(Signature(inputs, outputs))


def _prepares(layer: Any) -> bool:
    """Whether a layer prepares data: some of these give other sizes and dtypes than they tell Keras."""
    return type(layer).__module__.startswith("keras.src.layers.preprocessing")


def _measured(loaded: Loaded) -> Signature:
    """The interface with the outputs' dtypes and sizes as TensorFlow finds them, where it disagrees with Keras."""
    tf, inputs = require("tensorflow"), loaded.signature.inputs
    specs = [tf.TensorSpec([d if isinstance(d, int) else None for d in s.shape or ()], s.dtype) for s in inputs]
    try:
        made = tf.function(loaded.call, autograph=False).get_concrete_function(*specs).structured_outputs
    except Exception:  # Keras raises whatever the layers raise; the conversion does it again, and says so
        return loaded.signature
    outputs = [_corrected(spec, made[spec.name]) for spec in loaded.signature.outputs]
    return Signature(inputs, tuple(outputs))


def _corrected(spec: TensorSpec, made: Any) -> TensorSpec:
    sizes, dtype = made.shape, made.dtype.name
    if sizes.rank is None:
        return spec
    if spec.shape is None or len(spec.shape) != sizes.rank:
        return TensorSpec(spec.name, dtype, shape_from(spec.name, list(sizes)))
    # A size that neither knows keeps its symbol; one that only Keras knows is not to be trusted.
    theirs = shape_from(spec.name, list(sizes))
    both = zip(spec.shape, theirs, strict=True)
    return TensorSpec(spec.name, dtype, tuple(t if isinstance(t, int) or isinstance(s, int) else s for s, t in both))


def _specs(structure: Any, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """Specs of nested tensors: by the keys of a dictionary, otherwise by the names of the tensors or layers."""
    tensors = require("keras").tree.flatten(structure)
    if isinstance(structure, dict) and len(structure) == len(tensors):
        names = sorted(structure)
        tensors = [structure[key] for key in names]
    unique: list[str] = []
    for name in names:
        while name in unique:
            name += "_"
        unique.append(name)
    return tuple(
        TensorSpec(name, str(tensor.dtype), shape_from(name, list(tensor.shape)))
        for name, tensor in zip(unique, tensors, strict=True)
    )
