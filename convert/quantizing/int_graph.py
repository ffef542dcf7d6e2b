"""A QDQ graph in the form that TFLite's converter makes integer arithmetic of.

The converter reads ranges off fake-quantize operators. So every pair of QuantizeLinear and DequantizeLinear becomes
one `Range8` with the ends that its scale and zero point stand for; whatever works on integers between the two works on
floats; int8 constants become the floats that they mean, and are remembered, since the converter would choose scales of
its own for them (`xport.convert.quantizing.tflite_scales` puts theirs back).
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from xport.convert.lowering.model import load
from xport.convert.onnx_patterns import known, only_use
from xport.convert.operators.ranges import DOMAIN
from xport.convert.quantizing.qlinear import expand
from xport.errors import UnsupportedError

IN_FLOATS = (
    "Keep that layer in float with --keep-float; of a source that is quantized itself, --via onnx_to_tflite computes "
    "the same in floats."
)
"""What to do about what integers cannot express."""

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What has weights."""

_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "MaxPool", "Identity", "Expand")
"""What may stand between QuantizeLinear and DequantizeLinear: it moves or chooses elements of its first input."""


_SHARING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "MaxPool", "Concat")
"""What TFLite computes in int8 only with one grid for inputs and output."""


@dataclass(frozen=True)
class Grid:
    """How integers of a tensor stand for real numbers, as int8: uint8 is the same numbers, 128 higher.

    Attributes:
        scale: One number, or one a channel.
        zero: The zero point.
        axis: The axis of the channels.
    """

    scale: np.ndarray
    zero: int
    axis: int | None = None

    def same(self, other: Grid) -> bool:
        """Whether two stand for the same numbers."""
        return self.zero == other.zero and np.array_equal(self.scale, other.scale)


@dataclass(frozen=True)
class Weight:
    """An int8 constant of the graph.

    Attributes:
        name: Its name.
        values: Its integers, as int8.
        grid: What they stand for.
    """

    name: str
    values: np.ndarray
    grid: Grid


@dataclass
class IntGraph:
    """A graph with ranges.

    Attributes:
        model: Its ranges are `Range8` nodes.
        weights: Its int8 constants.
        scales: Those of its activations.
        meant: The names of the floats that its int8 constants became.
        kept: Whether layers with float weights stand in it, behind `InFloat` nodes.
    """

    model: ir.Model
    weights: list[Weight] = field(default_factory=list)
    scales: set[float] = field(default_factory=set)
    meant: set[str] = field(default_factory=set)
    kept: bool = False


def is_quantized(path: Path) -> bool:
    """Whether activations of an ONNX file's graph are rounded to integers with known scales.

    Raises:
        UnreadableModelError: If it is no ONNX model.
    """
    kinds = {node.op_type for node in load(path).graph}
    gc.collect()  # a model refers to itself, and its weights would stay in memory beside the conversion
    return any(kind == "QuantizeLinear" or kind.startswith(("QLinear", "QGemm")) for kind in kinds)


def build(model: ir.Model) -> IntGraph:
    """Turn a QDQ graph into one with ranges.

    Args:
        model: A QDQ model with shapes inferred, or one of QLinear operators; it is changed.

    Returns:
        The graph.

    Raises:
        UnsupportedError: Naming what int8 TFLite cannot express.
    """
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    expand(model)
    found = IntGraph(model)
    if model.functions or any(True for node in model.graph for a in node.attributes.values() if a.type.name == "GRAPH"):
        raise _inexpressible("a graph with functions or control flow")
    real: dict[ir.Value, tuple[ir.Value, Grid]] = {}
    for node in list(model.graph):
        _translate(node, real, found)
    common.RemoveUnusedNodesPass()(model)
    _share_ranges(model.graph)
    _guard_floats(found)
    for value in model.graph.outputs:
        if value in real:
            raise _inexpressible(f"the output {value.name!r}, which is integers")
    model.opset_imports[DOMAIN] = 1
    return found


def _inexpressible(what: str) -> UnsupportedError:
    return UnsupportedError(f"TensorFlow Lite's int8 cannot express {what}.", IN_FLOATS)


def _translate(node: ir.Node, real: dict[ir.Value, tuple[ir.Value, Grid]], found: IntGraph) -> None:
    if node.op_type == "QuantizeLinear":
        _quantize(node, real, found)
    elif node.op_type == "DequantizeLinear":
        _dequantize(node, real, found)
    elif node.op_type in _MOVES and node.inputs[0] in real:
        _move(node, real)
    elif any(value in real for value in node.inputs if value is not None):
        raise _inexpressible(f"{node.op_type} of integers (node {node.name!r})")
    elif node.op_type in ("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger") or "Integer" in node.op_type:
        raise _inexpressible(f"{node.op_type}, whose scale is found while it runs (node {node.name!r})")


def _quantize(node: ir.Node, real: dict[ir.Value, tuple[ir.Value, Grid]], found: IntGraph) -> None:
    grid = grid_of(node)
    if grid.axis is not None:
        raise _inexpressible(f"activations with one scale a channel (node {node.name!r})")
    if node.inputs[0] is None or node.inputs[0].dtype not in (ir.DataType.FLOAT, None):
        raise _inexpressible(f"quantized numbers that are no float32 (node {node.name!r})")
    scale = float(grid.scale)
    ends = {"low": (-128 - grid.zero) * scale, "high": (127 - grid.zero) * scale}
    value = _insert(node, "Range8", node.inputs[0], ends)
    found.scales.add(scale)
    real[node.outputs[0]] = value, grid


def _insert(
    before: ir.Node, kind: str, value: ir.Value, attributes: Mapping[str, float] | None = None, place: int = 0
) -> ir.Value:
    name = f"{before.name or before.op_type}_{kind}{place or ''}"
    made = ir.node(kind, [value], attributes or {}, domain=DOMAIN, name=name)
    out = made.outputs[0]
    out.name, out.type, out.shape = f"{value.name}_{name}", ir.TensorType(ir.DataType.FLOAT), value.shape
    if before.graph is not None:
        before.graph.insert_before(before, made)
    return out


def grid_of(node: ir.Node) -> Grid:
    """The grid of a QuantizeLinear or DequantizeLinear.

    Raises:
        UnsupportedError: If its scale is computed, or its integers are none of eight bits.
    """
    inputs = [*node.inputs, None]
    scale, zero = known(inputs[1]), known(inputs[2])
    block = node.attributes.get_int("block_size", 0)
    if scale is None or (inputs[2] is not None and zero is None) or block:
        raise _inexpressible(f"a scale that is computed or in blocks (node {node.name!r})")
    attribute = node.attributes.get_int("output_dtype", 0)
    named = ir.DataType(attribute) if attribute else ir.DataType.UINT8
    first = node.inputs[0]
    default = first.dtype if node.op_type == "DequantizeLinear" and first is not None else named
    dtype = inputs[2].dtype if inputs[2] is not None else default
    offset = {ir.DataType.INT8: 0, ir.DataType.UINT8: -128}.get(dtype) if dtype is not None else None
    if offset is None:
        raise _inexpressible(f"integers of another type than eight bits (node {node.name!r})")
    zeros = np.unique(np.zeros(1, np.int64) if zero is None else zero.astype(np.int64)) + offset
    if len(zeros) != 1:
        raise _inexpressible(f"one zero point a channel (node {node.name!r})")
    axis = node.attributes.get_int("axis", 1)
    if scale.size == 1:
        return Grid(scale.astype(np.float32).reshape(()), int(zeros[0]))
    return Grid(scale.astype(np.float32), int(zeros[0]), axis)


def _dequantize(node: ir.Node, real: dict[ir.Value, tuple[ir.Value, Grid]], found: IntGraph) -> None:
    source = node.inputs[0]
    if source is None:
        raise _inexpressible(f"DequantizeLinear of nothing (node {node.name!r})")
    constant = known(source)
    if constant is not None:
        value = _constant(node, source, constant, found)
    elif source in real:
        value, grid = real[source]
        if not grid.same(grid_of(node)):
            raise _inexpressible(f"integers read with another scale than they were written with (node {node.name!r})")
    else:
        raise _inexpressible(f"the input {source.name!r}, which is integers")
    out = node.outputs[0]
    if out.is_graph_output():
        value = _same(node, value, str(out.name))
    ir.convenience.replace_all_uses_with(out, value, replace_graph_outputs=True)


def _same(before: ir.Node, value: ir.Value, name: str) -> ir.Value:
    made = ir.node("Identity", [value])
    out = made.outputs[0]
    out.name, out.type, out.shape = name, value.type, value.shape
    before.outputs[0].name = f"{name}_before"
    if before.graph is not None:
        before.graph.insert_before(before, made)
    return out


def _constant(node: ir.Node, source: ir.Value, values: np.ndarray, found: IntGraph) -> ir.Value:
    """The floats that integers mean; int8 ones are remembered, those of a bias follow from its layer's."""
    scale = known(node.inputs[1])
    if scale is None:
        raise _inexpressible(f"a scale that is computed (node {node.name!r})")
    axis = node.attributes.get_int("axis", 1)
    if values.dtype == np.int32:
        real = values.astype(np.float64) * _along(scale, values.ndim, axis)
    else:
        grid = grid_of(node)
        eight = (values.astype(np.int64) - (128 if values.dtype == np.uint8 else 0)).astype(np.int8)
        real = (eight.astype(np.float64) - grid.zero) * _along(grid.scale, values.ndim, axis)
        _check_weight(node, eight, grid)
        found.weights.append(Weight(str(source.name), eight, grid))
    is_weight = values.dtype != np.int32
    name = f"{source.name}_real_{len(found.model.graph.initializers)}"
    value = ir.Value(name=name, shape=ir.Shape(real.shape), type=ir.TensorType(ir.DataType.FLOAT))
    value.const_value = ir.tensor(real.astype(np.float32), name=name)
    found.model.graph.register_initializer(value)
    if is_weight:
        found.meant.add(name)
    return value


def _along(scale: np.ndarray, rank: int, axis: int) -> np.ndarray:
    wide = scale.astype(np.float64)
    return wide.reshape(()) if scale.size == 1 else wide.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def _check_weight(node: ir.Node, values: np.ndarray, grid: Grid) -> None:
    """A layer's weights must be symmetric: TFLite's kernels know no zero point and no -128 there."""
    layers = [use for use, _ in node.outputs[0].uses() if use.op_type in LAYERS]
    if layers and (grid.zero != 0 or values.min(initial=0) == -128):
        raise _inexpressible(f"weights with a zero point or with -128 (node {layers[0].name!r})")
    if grid.axis is not None and not layers:
        raise _inexpressible(f"a table with one scale a row (node {node.name!r})")


def _move(node: ir.Node, real: dict[ir.Value, tuple[ir.Value, Grid]]) -> None:
    """Let an operator work on floats that worked on integers."""
    first = node.inputs[0]
    if first is None or len(node.outputs) != 1:
        raise _inexpressible(f"{node.op_type} of integers (node {node.name!r})")
    value, grid = real[first]
    made = ir.node(node.op_type, [value, *node.inputs[1:]], {}, name=f"{node.name}_real")
    for attribute in node.attributes.values():
        made.attributes.add(attribute)
    out, old = made.outputs[0], node.outputs[0]
    out.name, out.type, out.shape = f"{old.name}_real", ir.TensorType(ir.DataType.FLOAT), old.shape
    if node.graph is not None:
        node.graph.insert_before(node, made)
    real[old] = out, grid


def _share_ranges(graph: ir.Graph) -> None:
    """Give what only moves numbers the range of its result on its inputs too, as TFLite's int8 kernels want it.

    Rounding before moving is rounding after it.
    """
    for node in reversed(list(graph)):
        maker = only_use(node.inputs[0], _SHARING) if node.op_type == "Range8" else None
        if maker is None:
            continue
        ends = _ends(node)
        for place, value in enumerate(maker.inputs):
            if value is None or value.dtype != ir.DataType.FLOAT or (place and maker.op_type != "Concat"):
                continue
            before = value.producer()
            rounded = before is not None and before.op_type == "Range8"
            if rounded and before is not None and _ends(before) == ends:
                continue
            if rounded:  # of two ranges in a row the converter would make one; what stands between takes both
                value = _insert(maker, "InFloat", value, None, place)
            maker.replace_input_with(place, _insert(maker, "Range8", value, ends, place))


def _ends(node: ir.Node) -> dict[str, float]:
    return {name: node.attributes.get_float(name) for name in ("low", "high")}


def _guard_floats(found: IntGraph) -> None:
    """Layers whose weights are floats stay in float, though their neighbours have ranges."""
    for node in list(found.model.graph):
        if node.op_type not in LAYERS or len(node.inputs) < 2:
            continue
        first, weight = node.inputs[0], node.inputs[1]
        if first is None or weight is None or known(weight) is None:
            continue
        if weight.name not in found.meant:
            node.replace_input_with(0, _insert(node, "InFloat", first))
            found.kept = True
