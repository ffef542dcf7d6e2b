"""TFLite to ONNX, by reading the file's main graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from xport.convert.importing.tensor import Tensor
from xport.convert.importing.tflite_file import File
from xport.convert.importing.tflite_graph import GraphReader
from xport.convert.importing.writer import Writer
from xport.convert.onnx_cleanup import clean
from xport.convert.onnx_interface import align_interface, save_model
from xport.convert.source import Source
from xport.convert.tflite_signature import interface
from xport.errors import ConversionError
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Write an ONNX file with the names of the TFLite file's signature.

    Args:
        source: A TFLite file.
        target: The file to write.
        signature: The interface to keep.
        options: None that this step knows.

    Raises:
        UnreadableModelError: If the file is broken.
        UnsupportedError: If ONNX cannot express an operator; custom and Flex operators are named.
    """
    if source.path is None:
        raise ConversionError("This step converts a TFLite file.")
    save_model(read(source.path, signature), target)


def read(path: Path, signature: Signature) -> ir.Model:
    """A TFLite file as an ONNX model; see `convert`."""
    file, writer = File(path), Writer()
    reader = GraphReader(writer, file)
    reader.check()
    places, results = interface(file)
    graph = file.model.subgraphs[0]
    given = {s.name: writer.input(s.name, s.dtype, s.shape) for s in signature.inputs}
    feeds = {places[name]: _real(reader, graph.tensors[places[name]], x) for name, x in given.items()}
    order = [int(i) for i in graph.outputs]
    made = dict(zip(order, reader.run(0, [feeds[int(i)] for i in graph.inputs]), strict=True))
    outputs = [_whole(reader, graph.tensors[results[s.name]], made[results[s.name]]) for s in signature.outputs]
    model = writer.graph([given[s.name] for s in signature.inputs], [writer.value(x) for x in outputs], "model")
    align_interface(model, signature)
    return clean(model)


def _real(reader: GraphReader, tensor: Any, x: Tensor) -> Tensor:
    """An input as real numbers."""
    grid = reader.file.quantization(tensor)
    return x if grid is None else reader.dequantized(x, grid)


def _whole(reader: GraphReader, tensor: Any, x: Tensor) -> Tensor:
    """An output as the file stores it: integers where it is quantized."""
    grid = reader.file.quantization(tensor)
    return x if grid is None or x.dtype != "float32" else reader.quantized(x, grid)
