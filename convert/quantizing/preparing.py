"""A float ONNX model made ready to be quantized: names for all nodes, constants as weights, normalisation folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_interface import EXTERNAL_DATA_BYTES, save_model
from xport.convert.quantizing import selection
from xport.errors import ConversionError, UnsupportedError
from xport.runtimes import require

LEAST_OPSET = 13
"""The first whose QuantizeLinear has an axis: one scale a channel."""


@dataclass(frozen=True)
class Prepared:
    """A model ready to be quantized.

    Attributes:
        path: Where it is.
        kept: The nodes that stay in float as the user wants.
        labels: By node, what a person calls it: its module's path where that is known.
    """

    path: Path
    kept: tuple[str, ...]
    labels: dict[str, str]


def prepare(source: Path, target: Path, keep_float: Sequence[str] = ()) -> Prepared:
    """Write the form that the quantizers take.

    Args:
        source: A float ONNX model.
        target: The file to write.
        keep_float: What the user wants to stay in float; see `selection.select`.

    Returns:
        What was written.

    Raises:
        UsageError: If ``keep_float`` names nothing there is.
        UnsupportedError: If the weights do not fit one protobuf, which the quantizers need.
        ConversionError: If the model's operators are too old to be brought up to date.
    """
    model = _up_to_date(_in_one_file(onnx_model.load(source)), source)
    _name(model.graph)
    kept = set(selection.select(model.graph, keep_float))
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _fold_normalisation(model)
    onnx_model.infer_shapes(model)
    _name(model.graph)
    labels = {str(node.name): _label(node) for node in model.graph}
    save_model(model, target)
    return Prepared(target, tuple(name for name in labels if name in kept), labels)


def _in_one_file(model: ir.Model) -> ir.Model:
    size = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)
    if size > EXTERNAL_DATA_BYTES:
        raise UnsupportedError(
            f"The weights take {size / 1e9:.1f} GB; xport reduces models of at most {EXTERNAL_DATA_BYTES / 1e9:g} GB.",
            "Reduce it where it was trained, and convert that.",
        )
    return ir.external_data.load_to_model(model)


def _label(node: ir.Node) -> str:
    known = selection.labels_of(node)
    return max(known[1:], key=len, default=known[0])


def _up_to_date(model: ir.Model, source: Path) -> ir.Model:
    version = model.opset_imports.get("") or 0
    if version >= LEAST_OPSET:
        return model
    try:
        newer = onnx.version_converter.convert_version(onnx.load(source), LEAST_OPSET)
    except Exception as error:  # its C++ side raises RuntimeError and its own types
        raise ConversionError(
            f"Quantization needs ONNX opset {LEAST_OPSET}, and the model's {version} cannot be brought there: {error}.",
            f"Export the model again with opset {LEAST_OPSET} or later.",
        ) from error
    return ir.serde.deserialize_model(newer)


def _name(graph: ir.Graph) -> None:
    """Give every node a name of its own; the first of those that share one keeps it."""
    taken: set[str] = set()
    for number, node in enumerate(graph):
        name = base = node.name or f"{node.op_type}_{number}"
        while name in taken:
            name = f"{base}_{number}"
        node.name = name
        taken.add(name)


def _fold_normalisation(model: ir.Model) -> None:
    """Let a convolution or product in front of a batch normalisation take it in: a scale less to choose."""
    if not any(node.op_type == "BatchNormalization" for node in model.graph):
        return
    require("onnxscript")
    from onnxscript.rewriter import RewriteRuleSet
    from onnxscript.rewriter.rules import common

    names = {node.name for node in model.graph}
    makers = {out.name: _layer(node).name for node in model.graph for out in node.outputs}
    into = (
        common.fuse_batchnorm_into_conv_rule,
        common.fuse_batchnorm_into_conv_transpose_rule,
        common.fuse_batchnorm_into_gemm_rule,
    )
    RewriteRuleSet(into).apply_to_model(model)
    for node in model.graph:  # a layer that took in a normalisation goes by its own name still
        if node.name not in names:
            node.name = _maker(node, makers)


def _layer(node: ir.Node) -> ir.Node:
    """The layer that a normalisation may go into, or the node itself."""
    first = node.inputs[0] if node.op_type == "BatchNormalization" else None
    maker = None if first is None else first.producer()
    return maker or node


def _maker(node: ir.Node, makers: dict[str | None, str | None]) -> str | None:
    return next((makers[out.name] for out in node.outputs if out.name in makers), None)
