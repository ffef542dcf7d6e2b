"""TensorFlow SavedModel to ONNX through tf2onnx: the second choice, for operators that xport does not read itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx_ir as ir
import tensorflow as tf

from xport.convert.onnx_cleanup import clean
from xport.convert.onnx_interface import align_interface, save_model
from xport.convert.savedmodel_signature import choose, meta_graph
from xport.convert.source import Source
from xport.errors import ConversionError, XportError
from xport.runtimes import require
from xport.signature import Signature

_OPSET = 18


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write an ONNX file with the names of the SavedModel's signature.

    Args:
        source: A SavedModel.
        target: The file to write.
        signature: The interface to keep.
        options: None that this step knows.

    Raises:
        UnreadableModelError: If the SavedModel is broken.
        MissingRuntimeError: If tf2onnx is not installed.
        ConversionError: If tf2onnx fails or leaves operators out.
    """
    if source.path is None:
        raise ConversionError("This step converts a SavedModel folder.")
    tfonnx, optimizer = require("tf2onnx.tfonnx"), require("tf2onnx.optimizer")
    try:
        graph, inputs, outputs = _frozen(source.path, signature, source.signature_name)
        with tf.Graph().as_default() as imported:
            tf.import_graph_def(graph, name="")
            written = tfonnx.process_tf_graph(imported, opset=_OPSET, input_names=inputs, output_names=outputs)
        model = ir.from_proto(optimizer.optimize_graph(written).make_model("model"))
    except XportError:
        raise
    except Exception as error:  # tf2onnx raises whatever its insides raise
        raise ConversionError(f"tf2onnx failed: {type(error).__name__}: {str(error)[:300]}") from error
    known = {"", "ai.onnx", "ai.onnx.ml"}
    left = sorted({n.op_type for n in model.graph.all_nodes() if n.domain not in known or not _exists(n.op_type)})
    if left:
        raise ConversionError(f"tf2onnx left the TensorFlow operators {', '.join(left)}.")
    _order(model, inputs, outputs)
    align_interface(model, signature)
    save_model(clean(model), target)


def _exists(op_type: str) -> bool:
    import onnx

    return bool(onnx.defs.has(op_type))


def _frozen(path: Path, signature: Signature, name: str | None) -> tuple[Any, list[str], list[str]]:
    """A signature's graph without variables or functions, and the names of its tensors in the signature's order."""
    meta = meta_graph(path)
    key = choose(path, meta.signature_def, name)
    loader = require("tf2onnx.tf_loader")
    graph, _, _, labels = loader.from_saved_model(
        str(path), None, None, tag=["serve"], signatures=[key], return_tensors_to_rename=True
    )
    by_label = {label: tensor for tensor, label in labels.items()}
    sides = []
    for specs in (signature.inputs, signature.outputs):
        legal = [spec.name if spec.name in by_label else re.sub(r"\W", "_", spec.name) for spec in specs]
        if not set(legal) <= set(by_label):
            raise ConversionError(f"tf2onnx sees {sorted(by_label)}, expected {legal}.")
        sides.append([by_label[label] for label in legal])
    return graph, sides[0], sides[1]


def _order(model: ir.Model, inputs: list[str], outputs: list[str]) -> None:
    """Give the graph's inputs and outputs the order that was asked for."""
    for values, names in ((model.graph.inputs, inputs), (model.graph.outputs, outputs)):
        found = {value.name: value for value in values}
        if set(found) != set(names):
            raise ConversionError(f"tf2onnx gave {sorted(map(str, found))}, expected {sorted(names)}.")
        values.clear()
        values.extend(found[name] for name in names)
