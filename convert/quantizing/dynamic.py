"""int8 weights as ONNX, activations as they come: no calibration, and no range to leave.

Matrix products and LSTMs round what they are given by its own range while they run (ONNX Runtime's dynamic
quantization). Convolutions and GRUs, for which that is slower than float, keep their weights in int8 and compute in
float.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from xport.convert.quantizing.ort_quantizer import quiet
from xport.convert.quantizing.preparing import Prepared
from xport.convert.quantizing.static import Quantized
from xport.errors import ConversionError
from xport.runtimes import require

_ROUNDING = ("MatMul", "LSTM", "Attention", "Gather")
"""What ONNX Runtime quantizes while it runs; it makes MatMul of Gemm first."""

_STORED = {"Conv": ((1, 0),), "ConvTranspose": ((1, 1),), "GRU": ((1, 1), (2, 1)), "RNN": ((1, 1), (2, 1))}
"""By operator, the places of its weights and the axis that gets one scale an index."""

_LARGEST = 127


def quantize(prepared: Prepared, target: Path) -> Quantized:
    """Write the form with int8 weights of a prepared model.

    Args:
        prepared: The model.
        target: The file to write.

    Returns:
        What was done.

    Raises:
        ConversionError: If the model has no weights to quantize.
    """
    require("onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(prepared.path)
    del model.graph.value_info[:]  # the quantizer turns weights over and trips over their old shapes
    kept = set(prepared.kept)
    before = _weights(model)
    with quiet():
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=list(_ROUNDING),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*kept, *(f"{name}_MatMul" for name in kept)],
        )
    made = onnx.load(target)
    _store(made, kept)
    changed = before - _weights(made)
    if not changed:
        raise ConversionError(
            "The model has no weights that int8 is for, beyond those kept in float.",
            "Use --dtype float16, or keep fewer nodes in float.",
        )
    onnx.save(made, target)
    return Quantized(layers=len(changed), asked=prepared.kept)


def _weights(model: onnx.ModelProto) -> set[str]:
    return {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1}


def _store(model: onnx.ModelProto, kept: Collection[str]) -> None:
    """Put DequantizeLinear in front of the weights of what computes in float."""
    constants = {t.name: t for t in model.graph.initializer}
    done: dict[str, str] = {}
    front: list[onnx.NodeProto] = []
    for node in model.graph.node:
        for place, axis in _STORED.get(node.op_type, ()):
            name = node.input[place] if len(node.input) > place else ""
            tensor = constants.get(name)
            if node.name in kept or tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
                continue
            if name not in done:
                done[name] = f"{name}_dequantized"
                front.append(_dequantize(model, tensor, axis, done[name]))
            node.input[place] = done[name]
    nodes = [*front, *model.graph.node]
    used = {name for node in nodes for name in node.input} | {o.name for o in model.graph.output}
    initializers = [t for t in model.graph.initializer if t.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(initializers)


def _dequantize(model: onnx.ModelProto, tensor: onnx.TensorProto, axis: int, name: str) -> onnx.NodeProto:
    weights = numpy_helper.to_array(tensor)
    others = tuple(i for i in range(weights.ndim) if i != axis)
    reach = np.abs(weights).max(axis=others, initial=0.0)
    scale = (np.where(reach > 0, reach, 1.0) / _LARGEST).astype(np.float32)
    along = [-1 if i == axis else 1 for i in range(weights.ndim)]
    eight = np.clip(np.rint(weights / scale.reshape(along)), -_LARGEST, _LARGEST).astype(np.int8)
    arrays: dict[str, np.ndarray] = {
        f"{name}_integers": eight,
        f"{name}_scale": scale,
        f"{name}_zero": np.zeros(scale.shape, np.int8),
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in arrays.items())
    return helper.make_node("DequantizeLinear", list(arrays), [name], f"{name}_node", axis=axis)
