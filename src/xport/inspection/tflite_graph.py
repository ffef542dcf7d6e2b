"""What is in a TFLite file, read by its schema. Source: tensorflow/lite/schema/schema.fbs."""

from __future__ import annotations

import math
import mmap
import struct
from collections import Counter
from pathlib import Path
from typing import Any

from xport.convert.source import Source
from xport.errors import UnreadableModelError
from xport.formats import Format
from xport.inspection.findings import Findings, is_weight
from xport.runtimes import require
from xport.signature import DTYPES, Signature, TensorSpec
from xport.validate.runners.interface import reconcile, shape_from


def find(source: Source) -> Findings:
    """Look into a TFLite file; its tensors are not read.

    Args:
        source: The file.

    Returns:
        What was found; custom operators are written ``CUSTOM:name``.

    Raises:
        UnreadableModelError: If it is broken.
        MissingRuntimeError: If LiteRT, whose schema is used, is not installed.
    """
    path = source.path
    if path is None:
        raise UnreadableModelError(f"{source.name} is not a file.")
    schema = require("ai_edge_litert.schema_py_generated")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Reader(path, schema, schema.Model.GetRootAs(data, 0)).find()
        except (struct.error, IndexError, TypeError, AttributeError, ValueError) as error:
            raise UnreadableModelError(
                f"{path} is a broken TFLite file: {error}", "It may be truncated; copy or convert it again."
            ) from error


class _Reader:
    """Walks one model."""

    def __init__(self, path: Path, schema: Any, model: Any) -> None:
        self._path = path
        self._schema = schema
        self._model = model
        self._builtins = _names(schema.BuiltinOperator)
        self._types = _names(schema.TensorType)

    def find(self) -> Findings:
        graphs = [self._model.Subgraphs(i) for i in range(self._model.SubgraphsLength())]
        by_graph = {
            _text(graph.Name()) or f"subgraph {i}": dict(Counter(self._operators(graph)))
            for i, graph in enumerate(graphs)
        }
        total: Counter[str] = Counter()
        for operators in by_graph.values():
            total.update(operators)
        return Findings(
            signature=reconcile(self._signature(graphs), self._path, Format.TFLITE),
            parameters=self._parameters(graphs),
            operators=dict(total),
            details={
                "schema_version": self._model.Version(),
                "description": _text(self._model.Description()),
                "signatures": [_text(s.SignatureKey()) for s in self._signatures()],
                "subgraphs": by_graph,
            },
        )

    def _operators(self, graph: Any) -> list[str]:
        return [self._operator(graph.Operators(i).OpcodeIndex()) for i in range(graph.OperatorsLength())]

    def _operator(self, index: int) -> str:
        code = self._model.OperatorCodes(index)
        # Codes beyond 127 are in the newer field only: schema.fbs, table OperatorCode.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self._builtins.get(number, str(number))
        return f"CUSTOM:{_text(code.CustomCode())}" if name == "CUSTOM" else name

    def _parameters(self, graphs: list[Any]) -> int:
        """Numbers in constant tensors, one count a buffer."""
        counts: dict[int, int] = {}
        for graph in graphs:
            for i in range(graph.TensorsLength()):
                tensor = graph.Tensors(i)
                buffer = self._model.Buffers(tensor.Buffer())
                shape = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
                if (buffer.DataLength() or buffer.Size()) and is_weight(self._dtype(tensor), shape):
                    counts[tensor.Buffer()] = math.prod(shape)
        return sum(counts.values())

    def _dtype(self, tensor: Any) -> str:
        return self._types.get(tensor.Type(), "?").lower()

    def _signatures(self) -> list[Any]:
        return [self._model.SignatureDefs(i) for i in range(self._model.SignatureDefsLength())]

    def _signature(self, graphs: list[Any]) -> Signature:
        """The default signature, or the main graph by its tensors' names."""
        signatures = {_text(s.SignatureKey()): s for s in self._signatures()}
        chosen = signatures.get("serving_default") or next(iter(signatures.values()), None)
        graph = graphs[chosen.SubgraphIndex() if chosen else 0]
        order_in = [graph.Inputs(i) for i in range(graph.InputsLength())]
        order_out = [graph.Outputs(i) for i in range(graph.OutputsLength())]
        if chosen is None:
            pairs_in = [(_text(graph.Tensors(i).Name()), i) for i in order_in]
            pairs_out = [(_text(graph.Tensors(i).Name()), i) for i in order_out]
        else:
            maps_in = [chosen.Inputs(i) for i in range(chosen.InputsLength())]
            maps_out = [chosen.Outputs(i) for i in range(chosen.OutputsLength())]
            pairs_in = [(_text(m.Name()), m.TensorIndex()) for m in maps_in]
            pairs_out = [(_text(m.Name()), m.TensorIndex()) for m in maps_out]
            pairs_in.sort(key=lambda pair: order_in.index(pair[1]))
            pairs_out.sort(key=lambda pair: order_out.index(pair[1]))
        return Signature(
            tuple(self._spec(name, graph.Tensors(i)) for name, i in pairs_in),
            tuple(self._spec(name, graph.Tensors(i)) for name, i in pairs_out),
        )

    def _spec(self, name: str, tensor: Any) -> TensorSpec:
        dtype = self._dtype(tensor)
        if dtype not in DTYPES:
            raise UnreadableModelError(f"{self._path}: {name!r} has the dtype {dtype}, which xport lacks.")
        if tensor.ShapeSignatureLength():
            sizes = [tensor.ShapeSignature(axis) for axis in range(tensor.ShapeSignatureLength())]
        else:
            sizes = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
        return TensorSpec(name, dtype, shape_from(name, sizes))


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _text(data: bytes | None) -> str:
    return (data or b"").decode()
