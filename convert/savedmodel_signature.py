"""The signatures of a SavedModel, read without TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from xport.convert.symbols import with_batch
from xport.errors import UnreadableModelError, UnsupportedError, UsageError
from xport.signature import Signature, TensorSpec
from xport.tf_protos import DTYPE_OF_DATA_TYPE, framework

DEFAULT = "serving_default"
"""The signature that TF Serving runs if none is named."""


def read_signature(path: Path, name: str | None = None) -> Signature:
    """Names, dtypes and shapes of a SavedModel's inputs and outputs.

    Args:
        path: The folder.
        name: The signature's name; None for the default one, or the only one.

    Returns:
        Order and symbols as the artifact records them if xport made it; otherwise the order of the saved function's
        arguments where it can be told, else of the names. A leading size that may vary is called ``batch``.

    Raises:
        UnreadableModelError: If it is broken.
        UsageError: If there is no such signature, or none was named and there is no default.
        UnsupportedError: If an input or output is no dense tensor.
    """
    from xport.formats import Format
    from xport.validate.runners.interface import reconcile

    meta = meta_graph(path)
    key = choose(path, meta.signature_def, name)
    definition = meta.signature_def[key]
    inputs = [_spec(path, n, definition.inputs[n]) for n in input_order(meta, key)]
    outputs = [_spec(path, n, definition.outputs[n]) for n in sorted(definition.outputs, key=natural)]
    found = with_batch(Signature(tuple(inputs), tuple(outputs)))
    only = key == DEFAULT or len(usable(meta.signature_def)) == 1
    return reconcile(found, path, Format.SAVEDMODEL) if only else found


def meta_graph(path: Path) -> Any:
    """The graph tagged for serving, otherwise the first.

    Raises:
        UnreadableModelError: If the file is broken or holds no graph.
    """
    file = path / "saved_model.pb"
    if not file.is_file():
        raise UnreadableModelError(
            f"{path} is a SavedModel in text form.", "Load it with TensorFlow and save it again."
        )
    try:
        model = framework.SavedModel.FromString(file.read_bytes())
    except DecodeError as error:
        raise UnreadableModelError(
            f"{file} is broken: {error}", "It may be truncated; copy or save it again."
        ) from error
    if not model.meta_graphs:
        raise UnreadableModelError(f"{file} holds no graph.", "Save the model again.")
    serving = [meta for meta in model.meta_graphs if "serve" in meta.meta_info_def.tags]
    return (serving or model.meta_graphs)[0]


def usable(definitions: Iterable[str]) -> list[str]:
    """The signatures that a caller can run."""
    return sorted(key for key in definitions if not key.startswith("__saved_model"))


def choose(path: Path, definitions: Iterable[str], name: str | None) -> str:
    """The signature to run: the one named, the default one, or the only one.

    Raises:
        UsageError: If there is none, or it cannot be told which.
    """
    keys = usable(definitions)
    if not keys:
        raise UsageError(
            f"{path} has no signature: it holds code to continue training, not a model to call.",
            "Save it with one: tf.saved_model.save(model, path, signatures={'serving_default': "
            "model.call.get_concrete_function(tf.TensorSpec([None, 224, 224, 3], tf.float32, name='image'))})",
        )
    listing = f"The signatures are {', '.join(keys)}."
    if name is not None:
        if name not in keys:
            raise UsageError(f"{path} has no signature {name!r}. {listing}", f"Add --signature {keys[0]}")
        return name
    if DEFAULT in keys:
        return DEFAULT
    if len(keys) == 1:
        return keys[0]
    raise UsageError(
        f"{path} has several signatures and no {DEFAULT}. {listing}",
        f"Name one: xport convert {path} --to onnx --signature {keys[0]}",
    )


def natural(name: str) -> list[Any]:
    """A key that sorts ``output_10`` behind ``output_9``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def input_order(meta: Any, key: str) -> list[str]:
    """The inputs of a signature in the order of the function's arguments, where one was saved with these names."""
    definition = meta.signature_def[key]
    # Protobuf maps have no order; the names' own is at least always the same.
    names = sorted(definition.inputs, key=natural)
    argument = {n: re.sub(rf"^{re.escape(key)}_", "", definition.inputs[n].name.partition(":")[0]) for n in names}
    for function in meta.object_graph_def.concrete_functions.values():
        found = list(_positional(function.canonicalized_input_signature))
        for label in (argument, {n: n for n in names}):
            if len(found) > 1 and sorted(found) == sorted(label.values()):
                return sorted(names, key=lambda n, label=label: found.index(label[n]))  # type: ignore[misc]
    return names


def _positional(value: Any) -> Iterator[str]:
    """The names of the tensors that a function takes by position; its signature is (arguments, keywords)."""
    if len(value.tuple_value.values) == 2:
        yield from _tensor_names(value.tuple_value.values[0])


def _tensor_names(value: Any) -> Iterator[str]:
    for item in (*value.tuple_value.values, *value.list_value.values):
        yield from _tensor_names(item)
    if value.HasField("tensor_spec_value"):
        yield value.tensor_spec_value.name


def _spec(path: Path, name: str, info: Any) -> TensorSpec:
    from xport.validate.runners.interface import shape_from

    if info.dtype not in DTYPE_OF_DATA_TYPE or not info.name:
        raise UnsupportedError(f"{path}: {name!r} is not a plain tensor.", "Save the model with dense tensors only.")
    if info.tensor_shape.unknown_rank:
        return TensorSpec(name, DTYPE_OF_DATA_TYPE[info.dtype], None)
    return TensorSpec(
        name, DTYPE_OF_DATA_TYPE[info.dtype], shape_from(name, [dim.size for dim in info.tensor_shape.dim])
    )


def specs_by_name(signature: Signature) -> Mapping[str, TensorSpec]:
    """The inputs and outputs of a signature by name."""
    return {spec.name: spec for spec in (*signature.inputs, *signature.outputs)}
