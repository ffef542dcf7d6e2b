"""The scales of a QDQ graph, put into the TFLite file that TensorFlow's converter made of it.

The converter rounds a range to a scale, and chooses scales of its own for weights: the largest magnitude of a channel
becomes 127. Where a source chose otherwise its integers differ, though they mean nearly the same. Both are put right
in place: the integers that a constant was made of are recovered (the converter's steps are never coarser), must be the
source's own number for number, and take their places with the source's scale. No size changes, so nothing moves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xport.convert.primitives.tf_quantization import GUARD_SLOPE
from xport.convert.quantizing.int_graph import IN_FLOATS, Weight
from xport.errors import UnsupportedError
from xport.runtimes import require

_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D", "TRANSPOSE_CONV", "BATCH_MATMUL")
_ELEMENTWISE = ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM")
_BIAS_AT = {"TRANSPOSE_CONV": 3}
_INPUT_AT = {"TRANSPOSE_CONV": 2}
_NEAR = 1e-5
"""The converter's float32 arithmetic on a range changes its scale by less than this, relatively."""
_OPERATORS, _OPERATOR_INPUTS = 10, 6
"""vtable offsets of SubGraph.operators and Operator.inputs; tensorflow/lite/schema/schema.fbs."""


class _File:
    """A flatbuffer whose vectors can be written to."""

    def __init__(self, model: bytes) -> None:
        self.schema = require("ai_edge_litert.schema_py_generated")
        self.data = bytearray(model)
        self.root = self.schema.Model.GetRootAs(self.data, 0)
        self.graph = self.root.Subgraphs(0)
        builtins = vars(self.schema.BuiltinOperator).items()
        self._names = {number: name for name, number in builtins if isinstance(number, int)}

    def operators(self) -> Iterable[tuple[str, Any]]:
        for i in range(self.graph.OperatorsLength()):
            op = self.graph.Operators(i)
            code = self.root.OperatorCodes(op.OpcodeIndex())
            yield self._names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), ""), op

    def values(self, tensor: Any, dtype: Any) -> np.ndarray | None:
        """A constant's content, writable; None for a tensor that is computed."""
        buffer = self.root.Buffers(tensor.Buffer())
        if tensor.Buffer() == 0 or not buffer.DataLength():
            return None
        array: np.ndarray = buffer.DataAsNumpy().view(dtype).reshape(tensor.ShapeAsNumpy())
        return array

    def scale(self, tensor: Any) -> np.ndarray | None:
        """A tensor's scales, writable; None if it has none."""
        found = tensor.Quantization()
        if found is None or not found.ScaleLength():
            return None
        array: np.ndarray = found.ScaleAsNumpy()
        return array


def keep_scales(model: bytes, weights: Sequence[Weight], scales: Iterable[float]) -> bytes:
    """Put a source's scales and integers into a converted file.

    Args:
        model: The file.
        weights: The source's int8 constants.
        scales: The source's scales of activations.

    Returns:
        The file with them.

    Raises:
        UnsupportedError: If a layer's weights are not the source's own integers in some order, or none are int8.
    """
    file = _File(model)
    _exact_activations(file, sorted(scales))
    done: dict[int, np.ndarray] = {}
    for kind, op in file.operators():
        if kind in _ELEMENTWISE:
            _exact_constants(file, op, weights)
        if kind not in _LAYERS:
            continue
        tensor = file.graph.Tensors(op.Inputs(1))
        if tensor.Type() != file.schema.TensorType.INT8 or file.values(tensor, np.int8) is None:
            continue
        place = int(op.Inputs(1))
        if place not in done:
            done[place] = _exact_weight(file, tensor, weights)
        _exact_bias(file, kind, op, done[place])
    if weights and not done:
        raise UnsupportedError("TensorFlow's converter left every layer in float.", IN_FLOATS)
    return bytes(_without_guards(file))


def _exact_activations(file: _File, scales: Sequence[float]) -> None:
    if not scales:
        return
    known = np.asarray(scales)
    for i in range(file.graph.TensorsLength()):
        tensor = file.graph.Tensors(i)
        found = file.scale(tensor)
        if found is None or len(found) != 1 or tensor.Type() != file.schema.TensorType.INT8:
            continue
        nearest = known[np.argmin(np.abs(known - float(found[0])))]
        if abs(nearest - float(found[0])) < _NEAR * nearest:
            found[0] = nearest


def _exact_weight(file: _File, tensor: Any, weights: Sequence[Weight]) -> np.ndarray:
    """Give a layer's weights the source's integers and scales; returns the scales that the converter chose."""
    values, scale = file.values(tensor, np.int8), file.scale(tensor)
    axis = tensor.Quantization().QuantizedDimension()
    if values is None or scale is None:
        raise _rearranged(tensor)
    before = scale.copy()
    for weight in weights:
        wanted = _recover(values, before, axis, weight)
        if wanted is not None:
            values[...], scale[...] = wanted, weight.grid.scale
            return before
    raise _rearranged(tensor)


def _exact_constants(file: _File, op: Any, weights: Sequence[Weight]) -> None:
    """Give constant operands the source's integers, scale and zero point; one that is not the source's stays."""
    for place in range(op.InputsLength()):
        tensor = file.graph.Tensors(op.Inputs(place))
        is_int8 = tensor.Type() == file.schema.TensorType.INT8
        values, scale = (file.values(tensor, np.int8), file.scale(tensor)) if is_int8 else (None, None)
        if values is None or scale is None or len(scale) != 1:
            continue
        zero = tensor.Quantization().ZeroPointAsNumpy()
        real = (values.astype(np.float64) - int(zero[0])) * float(scale[0])
        for weight in weights:
            if weight.grid.axis is not None or weight.values.size != values.size:
                continue
            found = np.rint(real / float(weight.grid.scale)) + weight.grid.zero
            if np.array_equal(np.sort(found, axis=None), np.sort(weight.values.astype(np.float64), axis=None)):
                values[...], scale[0], zero[0] = found.astype(np.int8), weight.grid.scale, weight.grid.zero
                break


def _rearranged(tensor: Any) -> UnsupportedError:
    return UnsupportedError(
        f"TensorFlow's converter rearranged the weights {tensor.Name().decode(errors='replace')!r}, so that the "
        "source's scales do not fit them.",
        IN_FLOATS,
    )


def _recover(values: np.ndarray, scale: np.ndarray, axis: int, weight: Weight) -> np.ndarray | None:
    """The source's integers in the file's order; None if these are not the source's."""
    wanted = weight.grid.scale.reshape(-1).astype(np.float64)
    if values.size != weight.values.size or (len(wanted) > 1 and len(wanted) != len(scale)):
        return None
    along = [-1 if i == axis else 1 for i in range(values.ndim)]
    factor = scale.astype(np.float64) / np.broadcast_to(wanted, scale.shape)
    found = np.rint(values * (factor.reshape(along) if len(scale) > 1 else factor.reshape(())))
    if np.abs(found).max(initial=0) > 127:
        return None
    integers = found.astype(np.int8)
    if weight.grid.axis is None:
        same = np.array_equal(np.sort(integers, axis=None), np.sort(weight.values, axis=None))
        return integers if same else None
    return integers if np.array_equal(_by_channel(integers, axis), _by_source_channel(weight, len(scale))) else None


def _by_channel(values: np.ndarray, axis: int) -> np.ndarray:
    rows = np.moveaxis(values, axis, 0)
    return np.sort(rows.reshape(rows.shape[0], -1), axis=1)


def _by_source_channel(weight: Weight, channels: int) -> np.ndarray:
    axis = weight.grid.axis if weight.grid.axis is not None else 0
    rows = np.moveaxis(weight.values, axis % weight.values.ndim, 0)
    return np.sort(rows.reshape(channels, -1), axis=1)


def _exact_bias(file: _File, kind: str, op: Any, before: np.ndarray) -> None:
    """A bias has no scale of its own: the product of the input's and the weights'."""
    place = _BIAS_AT.get(kind, 2)
    if op.InputsLength() <= place or op.Inputs(place) < 0:
        return
    tensor = file.graph.Tensors(op.Inputs(place))
    values, scale = file.values(tensor, np.int32), file.scale(tensor)
    first = file.scale(file.graph.Tensors(op.Inputs(_INPUT_AT.get(kind, 0))))
    second = file.scale(file.graph.Tensors(op.Inputs(1)))
    if values is None or scale is None or first is None or second is None:
        return
    exact = np.broadcast_to(first.astype(np.float64) * second.astype(np.float64), scale.shape)
    values[...] = np.rint(values * (scale.astype(np.float64) / exact)).astype(np.int32)
    scale[...] = exact


def _without_guards(file: _File) -> bytearray:
    """Take out the operators that kept layers in float: their readers read what they read."""
    guards: dict[int, int] = {}
    kept: list[int] = []
    for kind, op in file.operators():
        source = int(op.Inputs(0)) if kind == "LEAKY_RELU" and _is_guard(file, op) else None
        if source is None:
            kept.append(op._tab.Pos)
        else:
            guards[int(op.Outputs(0))] = source
    for _, op in file.operators():
        inputs: Any = op.InputsAsNumpy() if op.InputsLength() else ()
        for i in range(len(inputs)):
            while int(inputs[i]) in guards:
                inputs[i] = guards[int(inputs[i])]
    table = file.graph._tab
    start = table.Vector(table.Offset(_OPERATORS))
    for i, position in enumerate(kept):
        struct.pack_into("<I", file.data, start + 4 * i, position - (start + 4 * i))
    struct.pack_into("<I", file.data, start - 4, len(kept))
    return file.data


def _is_guard(file: _File, op: Any) -> bool:
    """Whether an operator only keeps a layer in float; in int8 it brings numbers from one grid to another."""
    options = file.schema.LeakyReluOptions()
    table = op.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    is_float = file.graph.Tensors(op.Inputs(0)).Type() == file.schema.TensorType.FLOAT32
    return is_float and float(options.Alpha()) == GUARD_SLOPE
