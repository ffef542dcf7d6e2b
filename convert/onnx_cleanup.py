"""Exact clean-up of ONNX graphs: what computes nothing is removed, what an operator can take in itself it takes.

No number changes: a bias is added to the same sum, padding is of the same values, an index from the end is the same
element.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from xport.convert.lowering.model import infer_shapes
from xport.convert.onnx_fusions import FUSIONS
from xport.convert.onnx_patterns import clip_of, index_of, known, new_constant, only_use, rank_of

Rule = Callable[[ir.Graph, ir.Node], bool]
"""Of the main graph, which holds all constants, and a node: whether it changed something."""


def clean(model: ir.Model, *, share: bool = True) -> ir.Model:
    """Remove what a graph does not need.

    Args:
        model: The model; changed in place.
        share: Let equal expressions be computed once, wherever they stand.

    Returns:
        The same model.
    """
    _Identities()(model)
    if share:
        common.CommonSubexpressionEliminationPass()(model)
    infer_shapes(model)
    for rule in (*RULES, fuse):
        for graph in model.graphs():
            for node in list(graph):
                if node.graph is graph:
                    rule(model.graph, node)
        common.RemoveUnusedNodesPass()(model)
    for each in (common.RemoveUnusedNodesPass(), common.TopologicalSortPass()):
        each(model)
    return model


class _Identities(common.IdentityEliminationPass):
    """Removes identities, but for those that make a graph's output of a value that is another's, or one already."""

    def _try_eliminate_identity_node(self, node: ir.Node) -> bool:
        given = node.inputs[0] if node.inputs else None
        if node.op_type == "Identity" and given is not None and node.outputs[0].is_graph_output():
            maker = given.producer()
            if given.is_graph_output() or maker is None or maker.graph is not node.graph:
                return False
        return super()._try_eliminate_identity_node(node)


def tidy_indices(model: ir.Model) -> None:
    """Write picks by index plainly: what makes them roundabout would be made anew each time a model travels.

    Args:
        model: The model; changed in place.
    """
    rules, graphs = (plain_index, plain_rows), list(model.graphs())
    changed = [rule(graph, node) for rule in rules for graph in graphs for node in list(graph)]
    if any(changed):
        common.RemoveUnusedNodesPass()(model)


def replace(node: ir.Node, value: ir.Value) -> None:
    """Let another value stand where a node's first output stood; the node goes away."""
    old = node.outputs[0]
    if old.is_graph_output():
        value.name, old.name = old.name, value.name
        value.shape = old.shape
    value.type = value.type or old.type
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    _remove(node)


def _remove(node: ir.Node) -> None:
    """Take out a node that nothing uses any more."""
    if node.graph is not None and not any(output.uses() for output in node.outputs):
        node.graph.remove(node, safe=True)


def _insert_before(node: ir.Node, made: ir.Node) -> None:
    if node.graph is not None:
        node.graph.insert_before(node, made)


def take_bias(main: ir.Graph, node: ir.Node) -> bool:
    """``Add`` of one number a channel to a convolution becomes its bias."""
    if node.op_type != "Add":
        return False
    for conv, bias in (node.inputs, reversed(node.inputs)):
        maker = only_use(conv, ("Conv", "ConvTranspose"))
        array = known(bias)
        if maker is None or array is None or (len(maker.inputs) > 2 and maker.inputs[2] is not None):
            continue
        weight = known(maker.inputs[1]) if maker.inputs[1] is not None else None
        if weight is None:
            continue
        groups = maker.attributes.get_int("group", 1)
        channels = weight.shape[0] if maker.op_type == "Conv" else weight.shape[1] * groups
        shape = (channels,) + (1,) * (weight.ndim - 2)
        if array.shape in (shape, (1, *shape)) and array.dtype == weight.dtype:
            vector = new_constant(main, bias, array.reshape(channels))
            _with_inputs(maker, [maker.inputs[0], maker.inputs[1], vector])
            replace(node, maker.outputs[0])
            return True
    return False


def take_padding(main: ir.Graph, node: ir.Node) -> bool:
    """Padding with zeros before a convolution, or with minus infinity before a maximum, becomes its own."""
    if node.op_type not in ("Conv", "MaxPool") or node.inputs[0] is None:
        return False
    pad = only_use(node.inputs[0], ("Pad",))
    if pad is None or pad.attributes.get_string("mode", "constant") != "constant" or len(pad.inputs) > 3:
        return False
    amounts = known(pad.inputs[1])
    fill = known(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] is not None else np.zeros(())
    if amounts is None or fill is None or node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    rank = len(amounts) // 2
    before, after = amounts[:rank], amounts[rank:]
    wanted = 0.0 if node.op_type == "Conv" else -np.inf
    plain = not before[:2].any() and not after[:2].any() and (amounts >= 0).all()
    if not plain or float(fill) != wanted or (node.op_type == "MaxPool" and not _small(node, before, after)):
        return False
    own = np.asarray(node.attributes.get_ints("pads", [0] * (2 * (rank - 2))))
    total = own + np.concatenate([before[2:], after[2:]])
    node.attributes["pads"] = ir.AttrInt64s("pads", [int(p) for p in total])
    node.attributes.pop("auto_pad", None)
    node.replace_input_with(0, pad.inputs[0])
    _remove(pad)
    return True


def _small(node: ir.Node, before: np.ndarray, after: np.ndarray) -> bool:
    """Whether no window of a pool lies in the padding alone, where runtimes differ."""
    kernel = np.asarray(node.attributes.get_ints("kernel_shape", []))
    return bool((before[2:] < kernel).all() and (after[2:] < kernel).all())


def take_matmul_bias(main: ir.Graph, node: ir.Node) -> bool:
    """A matrix product plus a row of numbers is a ``Gemm``."""
    if node.op_type != "Add":
        return False
    for product, bias in (node.inputs, reversed(node.inputs)):
        maker = only_use(product, ("MatMul",))
        array = known(bias)
        weight = known(maker.inputs[1]) if maker is not None else None
        flat = maker is not None and rank_of(maker.inputs[0]) == 2
        if maker is None or array is None or weight is None or weight.ndim != 2 or not flat:
            continue
        if array.shape == (weight.shape[1],) and weight.dtype.kind == "f":
            made = ir.node("Gemm", [maker.inputs[0], maker.inputs[1], bias], name=maker.name)
            made.outputs[0].name, made.outputs[0].type = maker.outputs[0].name, maker.outputs[0].type
            _insert_before(node, made)
            replace(node, made.outputs[0])
            return True
    return False


def bound_both(main: ir.Graph, node: ir.Node) -> bool:
    """``Min(Max(x, low), high)`` with two numbers is a ``Clip``."""
    found = clip_of(node)
    if found is None:
        return False
    x, low, high, inner = found
    made = ir.node("Clip", [x, low, high], name=node.name)
    made.outputs[0].name, made.outputs[0].type = f"{node.outputs[0].name}_clip", node.outputs[0].type
    _insert_before(node, made)
    replace(node, made.outputs[0])
    _remove(inner)
    return True


def plain_index(main: ir.Graph, node: ir.Node) -> bool:
    """ONNX counts negative indices from the end itself: what does so before a ``Gather`` is not needed."""
    if node.op_type != "Gather":
        return False
    x = index_of(node)
    if x is None:
        return False
    node.replace_input_with(1, x)
    return True


def plain_rows(main: ir.Graph, node: ir.Node) -> bool:
    """``GatherND`` by indices of one element each is a ``Gather`` along the first axis."""
    if node.op_type != "GatherND" or node.attributes.get_int("batch_dims", 0) != 0:
        return False
    lifted = node.inputs[1].producer() if node.inputs[1] is not None else None
    if lifted is None or lifted.op_type != "Unsqueeze" or len(lifted.inputs) != 2:
        return False
    axes, rank = known(lifted.inputs[1]), rank_of(lifted.inputs[0])
    if axes is None or axes.size != 1 or int(axes.reshape(-1)[0]) not in (-1, rank):
        return False
    made = ir.node("Gather", [node.inputs[0], lifted.inputs[0]], {"axis": 0}, name=node.name)
    old = node.outputs[0]
    made.outputs[0].name, made.outputs[0].type, made.outputs[0].shape = f"{old.name}_rows", old.type, old.shape
    made.metadata_props.update(node.metadata_props)
    _insert_before(node, made)
    replace(node, made.outputs[0])
    return True


def fuse(main: ir.Graph, node: ir.Node) -> bool:
    """A known composition becomes the one operator that it is."""
    for find in FUSIONS:
        made = find(main, node)
        if made is not None:
            old = node.outputs[0]
            made.outputs[0].name, made.outputs[0].type = f"{old.name}_fused", old.type
            made.outputs[0].shape = old.shape
            made.metadata_props.update(node.metadata_props)
            _insert_before(node, made)
            replace(node, made.outputs[0])
            return True
    return False


def _with_inputs(node: ir.Node, inputs: list[ir.Value | None]) -> None:
    if len(node.inputs) < len(inputs):
        node.resize_inputs(len(inputs))
    for i, value in enumerate(inputs):
        node.replace_input_with(i, value)


RULES: tuple[Rule, ...] = (plain_index, plain_rows, bound_both, take_padding, take_bias, take_matmul_bias)
"""In this order, each on every node."""
