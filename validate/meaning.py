"""What the integers that a model takes mean, found by following its ONNX graph.

An integer that picks a row of a table of 200 rows must stay below 200, or the runtimes fail, or worse:
disagree. The walk starts at each integer input, follows it through operators that hand values on unchanged
(or shifted by a constant), and ends where the value is used as an index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import numpy_helper

from xport.errors import UnreadableModelError

Bounds = tuple[int, int]
"""A range of integers: the first is in it, the second is not."""

_INTEGERS = {
    onnx.TensorProto.INT8,
    onnx.TensorProto.INT16,
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.UINT16,
    onnx.TensorProto.UINT32,
    onnx.TensorProto.UINT64,
}
# Operators whose outputs hold the values of their first input (of every input for those in _JOINING).
_PASSING = {
    "Cast",
    "Identity",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Transpose",
    "Expand",
    "Flatten",
    "Tile",
}
_PASSING |= {
    "Split",
    "Gather",
    "GatherElements",
    "GatherND",
    "Pad",
    "ReverseSequence",
    "Optional",
    "Compress",
}
_JOINING = {"Concat", "Where", "Max", "Min"}
_STORAGE = {"Cast", "CastLike", "Identity", "DequantizeLinear", "QuantizeLinear"}


@dataclass
class _Graph:
    """One graph with what encloses it: constants, producers and known shapes by value name."""

    graph: onnx.GraphProto
    outer: _Graph | None = None
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    producers: dict[str, onnx.NodeProto] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = {t.name: t for t in self.graph.initializer}
        for info in (*self.graph.value_info, *self.graph.input, *self.graph.output):
            if info.type.tensor_type.HasField("shape"):
                dims = info.type.tensor_type.shape.dim
                self.shapes[info.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
        for node in self.graph.node:
            self.producers.update({name: node for name in node.output if name})
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self.constants[node.output[0]] = node.attribute[0].t

    def constant(self, name: str) -> onnx.TensorProto | None:
        """The constant tensor of that name, here or outside."""
        found = self.constants.get(name)
        return found if found is not None or self.outer is None else self.outer.constant(name)

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """The shape of a value, as far as the file tells."""
        tensor = self.constant(name)
        if tensor is not None:
            return tuple(tensor.dims)
        node = self.producers.get(name)
        if node is not None and node.op_type in _STORAGE:
            return self.shape(node.input[0])
        if node is not None and node.op_type == "Transpose" and name not in self.shapes:
            inner = self.shape(node.input[0])
            perm = [list(a.ints) for a in node.attribute if a.name == "perm"]
            order = perm[0] if perm else list(range(len(inner or ())))[::-1]
            return None if inner is None else tuple(inner[i] for i in order)
        if name in self.shapes:
            return self.shapes[name]
        return self.outer.shape(name) if self.outer is not None else None


def integer_bounds(path: Path) -> dict[str, Bounds]:
    """Find the range in which each integer input of an ONNX model has a meaning.

    Args:
        path: The model; its external data is not read.

    Returns:
        Range by input name, low inclusive and high exclusive, for inputs that index something of known size.

    Raises:
        UnreadableModelError: If the file is no ONNX model.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError has no public home
        raise UnreadableModelError(f"{path} cannot be read as ONNX: {error}.") from error
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    graph = _Graph(model.graph)
    weights = {t.name for t in model.graph.initializer}
    found: dict[str, Bounds] = {}
    for info in model.graph.input:
        if info.name not in weights and info.type.tensor_type.elem_type in _INTEGERS:
            ranges = list(_ranges(graph, info.name, 0, set()))
            if ranges:
                low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
                found[info.name] = (low, max(high, low + 1))
    return found


def _ranges(graph: _Graph, name: str, shift: int, seen: set[tuple[int, str]]) -> Iterator[Bounds]:
    """Ranges that the uses of ``name + shift`` ask of the value; follows it onward."""
    if (id(graph.graph), name) in seen:
        return
    seen.add((id(graph.graph), name))
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _ranges(_Graph(attribute.g, graph), name, shift, seen)
        for slot, value in enumerate(node.input):
            if value != name:
                continue
            size = _indexed_size(graph, node, slot)
            if size is not None:
                yield (max(0, -shift), size - shift)
            step = _shift(graph, node, slot)
            if step is not None:
                for output in node.output:
                    yield from _ranges(graph, output, shift + step, seen)


def _shift(graph: _Graph, node: onnx.NodeProto, slot: int) -> int | None:
    """By how much the outputs differ from this input; None if they hold something else."""
    if node.op_type in _PASSING and slot == 0:
        return 0
    if node.op_type in _JOINING and (node.op_type != "Where" or slot > 0):
        return 0
    if node.op_type in ("Add", "Sub") and len(node.input) == 2 and (node.op_type == "Add" or slot == 0):
        tensor = graph.constant(node.input[1 - slot])
        value = _scalar(tensor) if tensor is not None and tensor.data_type in _INTEGERS else None
        if value is not None:
            return value if node.op_type == "Add" else -value
    return None


def _scalar(tensor: onnx.TensorProto | None) -> int | None:
    """The value of a constant of one element that lies in the model file itself."""
    if tensor is None or math.prod(tensor.dims) != 1 or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    return int(numpy_helper.to_array(tensor).reshape(-1)[0])


def _axis(node: onnx.NodeProto, default: int = 0) -> int:
    return next((a.i for a in node.attribute if a.name == "axis"), default)


def _table(data: int, axis: int | None = None) -> Callable[[_Graph, onnx.NodeProto], int | None]:
    """The size of input number ``data`` along ``axis``, or along the node's own axis."""

    def size(graph: _Graph, node: onnx.NodeProto) -> int | None:
        shape = graph.shape(node.input[data]) if len(node.input) > data else None
        along = _axis(node) if axis is None else axis
        if shape is None or not -len(shape) <= along < len(shape):
            return None
        return shape[along] or None

    return size


def _depth(graph: _Graph, node: onnx.NodeProto) -> int | None:
    return _scalar(graph.constant(node.input[1]))


# (operator, input slot) -> how many things the values there can pick from.
_INDEXED: Mapping[tuple[str, int], Callable[[_Graph, onnx.NodeProto], int | None]] = {
    ("Gather", 1): _table(0),
    ("GatherElements", 1): _table(0),
    ("GatherND", 1): _table(0, 0),
    ("ScatterElements", 1): _table(0),
    ("ScatterND", 1): _table(0, 0),
    ("OneHot", 0): _depth,
    # onnxruntime's fused embeddings: ids and segments, each with its table.
    ("EmbedLayerNormalization", 0): _table(2, 0),
    ("EmbedLayerNormalization", 1): _table(4, 0),
    ("GatherBlockQuantized", 1): _table(0, 0),
}


def _indexed_size(graph: _Graph, node: onnx.NodeProto, slot: int) -> int | None:
    measure = _INDEXED.get((node.op_type, slot))
    return None if measure is None else measure(graph, node)
