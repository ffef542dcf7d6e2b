"""In what precision a model is stored and computes, and how much of its numbers that precision is meant to lose."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xport.convert.source import Source
from xport.formats import Format

FLOAT, ROUNDING, HYBRID = "float", "rounding", "hybrid"
"""What a model computes in: floats; a graph that rounds to integers by itself; floats that products round to 8 bits."""


@dataclass(frozen=True)
class Precision:
    """A model's precision.

    Attributes:
        name: Of the coarsest numbers that it stores or computes with.
        arithmetic: `FLOAT`, `ROUNDING` or `HYBRID`.
    """

    name: str = "float32"
    arithmetic: str = FLOAT

    @property
    def is_reduced(self) -> bool:
        """Whether it loses something that float32 has."""
        return self.name in LEAST

    def reduces(self, other: Precision) -> bool:
        """Whether it loses something that another one keeps."""
        return _RANK.get(self.name, 0) > _RANK.get(other.name, 0)


@dataclass(frozen=True)
class Least:
    """What must be left of the reference's numbers.

    Attributes:
        sqnr_db: Signal to noise against the reference in float64.
        top1: Share of the decisions that stay.
    """

    sqnr_db: float
    top1: float


LEAST = {
    "float16": Least(44, 0.99),
    "bfloat16": Least(26, 0.97),
    "int8": Least(12, 0.90),
    "float8": Least(6, 0.75),
    "int4": Least(6, 0.75),
}
"""The table of intended losses.

Rounding a tensor once leaves 74 dB in float16 (11 significant bits), 56 dB in bfloat16 (8 bits), and about 41 dB in
int8 (127 steps up to four standard deviations). Independent roundings add up: a thousand of them, more than a deep net
has layers, cost a factor of the root of a thousand, 30 dB. int4 and float8 leave 16 to 32 dB once; below 6 dB noise is
half the signal, which is no model any more. Shares of decisions are lower than tasks accept, since seeded inputs lie
closer to the borders between classes than real ones do; a share fails only if chance cannot explain it.
"""

_RANK = {name: place for place, name in enumerate(("float32", *LEAST))}
_EIGHT_BITS = ("int8", "uint8", "int16", "uint16")
_FOUR_BITS = ("int4", "uint4", "int2", "uint2", "float4_e2m1fn")
# Operators that round activations, in ONNX and in ONNX Runtime's own domain.
_ONNX_ROUNDS = {"QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat"}
_ONNX_ROUNDS |= {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}


def precision_of(source: Source) -> Precision:
    """Find out a file's precision without a runtime.

    Args:
        source: A model that is not of the PyTorch family; that one's is told where it is loaded.

    Returns:
        The precision; float32 if nothing coarser was found.

    Raises:
        XportError: If the file is broken.
    """
    if source.path is None or source.format not in _READERS:
        return Precision()
    return _READERS[source.format](source.path)


def coarsest(names: Iterable[str], arithmetic: str = FLOAT) -> Precision:
    """The precision of the coarsest of some dtypes; only what `LEAST` has counts."""
    found = max((_group(name) for name in names), key=lambda name: _RANK.get(name, 0), default="float32")
    return Precision(found, arithmetic) if found in LEAST else Precision()


def _group(dtype: str) -> str:
    if dtype in _FOUR_BITS:
        return "int4"
    if dtype.startswith("float8"):
        return "float8"
    return "int8" if dtype in _EIGHT_BITS else dtype


def _onnx(path: Path) -> Precision:
    from xport.convert.lowering.interpreter import dtype_name
    from xport.convert.lowering.model import load, walk

    model = load(path)
    nodes = [*walk(model.graph), *(node for function in model.functions.values() for node in walk(function))]
    kinds = {node.op_type for node in nodes}
    stored = {dtype_name(v.dtype) for g in model.graphs() for v in g.initializers.values() if v.dtype and v.shape}
    stored |= {dtype_name(value.dtype) for node in nodes for value in node.outputs if value.dtype is not None}
    stored |= {dtype_name(a.value.dtype) for node in nodes for a in node.attributes.values() if _is_weight(a)}
    rounds = any(kind in _ONNX_ROUNDS or kind.startswith(("QLinear", "QGemm", "QAttention")) for kind in kinds)
    quantized = rounds or "DequantizeLinear" in kinds or "MatMulNBits" in kinds
    casts = {_cast_to(node) for node in nodes if node.op_type == "Cast"}
    names = [name for name in stored | casts if not name.startswith(("int", "uint")) or quantized]
    names += ["int8"] if rounds else ["int4"] if "MatMulNBits" in kinds else []
    return coarsest(names, ROUNDING if rounds else FLOAT)


def _is_weight(attribute: Any) -> bool:
    return attribute.type.name == "TENSOR" and not attribute.is_ref() and bool(attribute.value.shape)


def _cast_to(node: Any) -> str:
    """The narrow float that a Cast goes to; images come as bytes, and masks as integers."""
    from onnx_ir import DataType

    from xport.convert.lowering.interpreter import dtype_name

    attribute = node.attributes.get("to")
    name = dtype_name(DataType(attribute.value)) if attribute is not None and not attribute.is_ref() else ""
    return name if name in ("float16", "bfloat16") else ""


def _tflite(path: Path) -> Precision:
    from xport.convert.importing.tflite_file import File

    file = File(path)
    weights, computed = set(), set()
    for graph in file.model.subgraphs:
        made = {int(i) for op in graph.operators or () for i in (op.outputs if op.outputs is not None else ())}
        for number, tensor in enumerate(graph.tensors):
            grid = file.quantization(tensor)
            if number in made and grid is not None:
                computed.add(grid.dtype)
            elif file.has_data(tensor) and (grid is not None or file.dtype(tensor) in ("float16", "bfloat16")):
                weights.add(file.dtype(tensor) if grid is None else grid.dtype)
    narrow = [name for name in weights | computed if name != "int32"]  # biases are int32
    integers = any("int" in name for name in narrow)
    return coarsest(narrow, ROUNDING if computed else HYBRID if integers else FLOAT)


def _savedmodel(path: Path) -> Precision:
    from xport.convert.savedmodel_signature import meta_graph
    from xport.tf_protos import DTYPE_OF_DATA_TYPE

    graph = meta_graph(path).graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    if any(node.op.startswith(("FakeQuant", "QuantizeAndDequantize", "UniformQuantize")) for node in nodes):
        return Precision("int8", ROUNDING)
    products = ("MatMul", "BatchMatMulV2", "Conv2D", "DepthwiseConv2dNative", "Conv3D", "Einsum", "VarHandleOp")
    types = {DTYPE_OF_DATA_TYPE.get(n.attr[k].type, "") for n in nodes if n.op in products for k in ("T", "dtype")}
    return coarsest(types & {"float16", "bfloat16"})


def _keras(path: Path) -> Precision:
    """By the dtype policies of the layers: ``mixed_float16``, ``bfloat16``, ``int8_from_float32``."""
    if not zipfile.is_zipfile(path):
        return Precision()
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    policies = set(_policies(config))
    for name in ("int4", "int8", "float8"):
        if any(policy.startswith(name) for policy in policies):
            return Precision(name, ROUNDING)
    return coarsest({policy.removeprefix("mixed_") for policy in policies})


def _policies(config: Any) -> Iterable[str]:
    if isinstance(config, list):
        for item in config:
            yield from _policies(item)
    if isinstance(config, dict):
        if str(config.get("class_name", "")).endswith("DTypePolicy"):
            yield str(config.get("config", {}).get("name", ""))
        for value in config.values():
            yield from _policies(value)


_READERS = {Format.ONNX: _onnx, Format.TFLITE: _tflite, Format.SAVEDMODEL: _savedmodel, Format.KERAS: _keras}
