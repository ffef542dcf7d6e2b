"""TensorFlow SavedModel to ONNX, by reading the graph of one of its signatures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import tensorflow as tf

from xport.convert.importing.tensor import Tensor
from xport.convert.importing.tf_graph import GraphReader
from xport.convert.importing.writer import Writer
from xport.convert.onnx_bfloat16 import compute_in_float32
from xport.convert.onnx_cleanup import clean
from xport.convert.onnx_interface import align_interface, save_model
from xport.convert.savedmodel_signature import choose
from xport.convert.source import Source
from xport.errors import ConversionError, UnreadableModelError, UnsupportedError
from xport.signature import Signature


@dataclass
class Opened:
    """A SavedModel in a session, as TF Serving opens it.

    Attributes:
        session: Holds the variables.
        graph: Its graph.
        definition: The signature that was chosen.
        functions: The definitions of the graph's functions by name.
    """

    session: Any
    graph: Any
    definition: Any
    functions: dict[str, Any]
    _read: dict[str, np.ndarray] = field(default_factory=dict)

    def variable(self, op: Any) -> np.ndarray:
        """A variable's content."""
        if not self._read:
            self._read_all()
        if op.name not in self._read:
            self._read[op.name] = np.asarray(self.session.run(self._reading(op)))
        return self._read[op.name]

    def _read_all(self) -> None:
        """Read every variable at once: each run of its own would prepare the whole graph anew."""
        ops = [op for op in self.graph.get_operations() if op.type == "VarHandleOp"]
        readings = [self._reading(op) for op in ops]
        try:
            found = self.session.run(readings)
        except tf.errors.FailedPreconditionError:
            return  # some have no content; those that are needed are read one by one
        self._read.update({op.name: np.asarray(a) for op, a in zip(ops, found, strict=True)})

    def entries(self, op: Any) -> tuple[np.ndarray, np.ndarray]:
        """The keys and values of a lookup table."""
        kinds = [op.get_attr(name) for name in ("key_dtype", "value_dtype")]
        with self.graph.as_default():
            made = tf.raw_ops.LookupTableExportV2(table_handle=op.outputs[0], Tkeys=kinds[0], Tvalues=kinds[1])
        keys, values = (np.asarray(a) for a in self.session.run(list(made)))
        return keys, values

    def _reading(self, op: Any) -> Any:
        if op.type == "VariableV2":
            return op.outputs[0]
        with self.graph.as_default():
            return tf.raw_ops.ReadVariableOp(resource=op.outputs[0], dtype=op.get_attr("dtype"))


@contextlib.contextmanager
def opened(path: Path, name: str | None) -> Iterator[Opened]:
    """Open a SavedModel.

    Args:
        path: The folder.
        name: The signature's name; None for the default one.

    Raises:
        UnreadableModelError: If it is broken.
        UsageError: If there is no such signature, or none was named and there is no default.
    """
    graph = tf.Graph()
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)
    with tf.compat.v1.Session(graph=graph, config=config) as session:
        try:
            with graph.as_default():
                meta = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
        except (RuntimeError, OSError, ValueError, tf.errors.OpError) as error:
            first = next((line for line in str(error).splitlines() if line.strip()), "")
            raise UnreadableModelError(
                f"TensorFlow cannot open {path}: {first}", "The folder may be incomplete; copy or save it again."
            ) from error
        definition = meta.signature_def[choose(path, dict(meta.signature_def), name)]
        functions = {f.signature.name: f for f in meta.graph_def.library.function}
        yield Opened(session, graph, definition, functions)


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write an ONNX file with the names of the SavedModel's signature.

    Args:
        source: A SavedModel.
        target: The file to write.
        signature: The interface to keep.
        options: None that this step knows.

    Raises:
        UnreadableModelError: If the SavedModel is broken.
        UnsupportedError: If ONNX cannot express an operator.
    """
    if source.path is None:
        raise ConversionError("This step converts a SavedModel folder.")
    save_model(read(source.path, signature, source.signature_name), target)


def read(path: Path, signature: Signature, name: str | None = None) -> ir.Model:
    """A SavedModel as an ONNX model; see `convert`."""
    _refuse_complex(signature)
    with opened(path, name) as model:
        writer = Writer()
        reader = GraphReader(writer, model.graph, model.functions, model.variable, model.entries)
        inputs = [writer.input(s.name, s.dtype, s.shape) for s in signature.inputs]
        feeds = {model.definition.inputs[s.name].name: x for s, x in zip(signature.inputs, inputs, strict=True)}
        names = [model.definition.outputs[s.name].name for s in signature.outputs]
        outputs = [model.graph.get_tensor_by_name(n) for n in names]
        reader.check(outputs, feeds)
        results = reader.run(feeds, outputs)
    return finish(writer, inputs, results, signature)


def _refuse_complex(signature: Signature) -> None:
    """ONNX knows complex numbers as a type, but has no operator for them.

    Raises:
        UnsupportedError: If an input or output holds them.
    """
    found = [str(s) for s in (*signature.inputs, *signature.outputs) if s.dtype.startswith("complex")]
    if found:
        raise UnsupportedError(
            f"ONNX has no operators for complex numbers, but {', '.join(found)} of the model holds them.",
            "Give and take real and imaginary parts as tensors of their own: tf.math.real(x), tf.math.imag(x).",
        )


def finish(writer: Writer, inputs: list[Tensor], results: list[Tensor], signature: Signature) -> ir.Model:
    """The written graph as a model with a signature's names, cleaned."""
    values = [writer.value(x) for x in results]
    model = writer.graph(inputs, values, "model")
    align_interface(model, signature)
    return clean(compute_in_float32(model))
