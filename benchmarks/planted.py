"""Faults to plant in an ONNX model: the table that the tests and the studies share.

Each is a mistake that conversions make. A fault takes a model, changes it in place and names the node whose output is
the first that is wrong; it gives None where the model has nothing to get wrong that way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

_MATRIX = {"Conv": (1, 0), "ConvTranspose": (1, 1), "MatMul": (1, -1), "LSTM": (1, 1), "GRU": (1, 1)}
_NORMS = ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization")
_PADDED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")
_OFF = 1.01
_EPSILON = 1e-3


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: What tables call it.
        plant: Changes a model and names the node at fault; None if it does not apply.
    """

    name: str
    plant: Callable[[onnx.ModelProto], str | None]


def one_weight(model: onnx.ModelProto) -> str | None:
    """One weight of a layer in the middle is off by 1 %: one that is larger than three quarters of the others."""
    found = _middle(list(_weighted(model)))
    if found is None:
        return None
    node, tensor, _ = found
    array = numpy_helper.to_array(tensor).copy()
    place = np.unravel_index(np.argsort(np.abs(array), axis=None)[int(0.75 * array.size)], array.shape)
    array[place] *= np.float32(_OFF)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return node.name


def swapped_channels(model: onnx.ModelProto) -> str | None:
    """Two output channels of a layer in the middle have each other's weights."""
    found = _middle([row for row in _weighted(model) if numpy_helper.to_array(row[1]).shape[row[2]] >= 2])
    if found is None:
        return None
    node, tensor, axis = found
    array = np.moveaxis(numpy_helper.to_array(tensor).copy(), axis, 0)
    array[[0, 1]] = array[[1, 0]]
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(np.moveaxis(array, 0, axis)), tensor.name))
    return node.name


def epsilon(model: onnx.ModelProto) -> str | None:
    """A normalisation in the middle has Keras's default epsilon of 0.001."""
    node = _middle([n for n in model.graph.node if n.op_type in _NORMS and _value(n, "epsilon", 1e-5) < 1e-4])
    if node is None:
        return None
    _set(node, "epsilon", _EPSILON)
    return node.name


def padding(model: onnx.ModelProto) -> str | None:
    """A padded window in the middle lies one row too low: one row of padding has changed sides."""
    node = _middle([n for n in model.graph.node if n.op_type in _PADDED and any(_value(n, "pads", []))])
    if node is None:
        return None
    pads = list(_value(node, "pads", []))
    half = len(pads) // 2
    axis = next(i for i, size in enumerate(pads) if size) % half
    source, target = (axis, axis + half) if pads[axis] else (axis + half, axis)
    pads[source], pads[target] = pads[source] - 1, pads[target] + 1
    _set(node, "pads", pads)
    return node.name


def gelu(model: onnx.ModelProto) -> str | None:
    """A GELU in the middle uses the other formula: tanh instead of erf, or the other way round."""
    node = _middle([n for n in model.graph.node if n.op_type == "Gelu"])
    if node is None:
        return None
    _set(node, "approximate", b"tanh" if _value(node, "approximate", b"none") == b"none" else b"none")
    return node.name


def float16_weights(model: onnx.ModelProto) -> str | None:
    """Every weight went through float16."""
    changed = set()
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32:
            continue
        rounded = np.clip(array, -65504, 65504).astype(np.float16).astype(np.float32)
        if not np.array_equal(rounded, array):
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
            changed.add(tensor.name)
    return next((node.name for node in model.graph.node if changed & set(node.input)), None)


def mixed_layout(model: onnx.ModelProto) -> str | None:
    """An image is stored channels last and read as channels first: where it is flattened, or before a convolution."""
    shapes = _shapes(model)
    images = {name for name, shape in shapes.items() if len(shape) == 4 and 1 not in shape[1:]}
    made = {name for node in model.graph.node for name in node.output} & images
    flat = [n for n in model.graph.node if n.op_type in ("Reshape", "Flatten") and n.input[0] in made]
    flat = [n for n in flat if len(shapes.get(n.output[0], ())) == 2]
    node = _middle(flat) or _middle([n for n in model.graph.node if n.op_type == "Conv" and n.input[0] in made])
    if node is None:
        return None
    place, image = list(model.graph.node).index(node), node.input[0]
    moved, shape, mixed = (f"{image}.{word}" for word in ("channels_last", "shape", "mixed"))
    added = [
        helper.make_node("Transpose", [image], [moved], name=f"{node.name}.transpose", perm=[0, 2, 3, 1]),
        helper.make_node("Shape", [image], [shape], name=f"{node.name}.shape"),
        helper.make_node("Reshape", [moved, shape], [mixed], name=f"{node.name}.reshape"),
    ]
    for offset, extra in enumerate(added):
        model.graph.node.insert(place + offset, extra)
    node = model.graph.node[place + len(added)]
    node.input[0] = mixed
    return node.name


FAULTS = (
    Fault("one weight off by 1 %", one_weight),
    Fault("two channels swapped", swapped_channels),
    Fault("epsilon changed", epsilon),
    Fault("padding off by one", padding),
    Fault("GELU: other formula", gelu),
    Fault("float16 weights", float16_weights),
    Fault("NHWC read as NCHW", mixed_layout),
)
"""Every kind of fault."""


def planted(model: onnx.ModelProto, fault: Fault) -> tuple[onnx.ModelProto, str] | None:
    """A copy of a model with a fault.

    Args:
        model: The model, with its weights inside.
        fault: The fault.

    Returns:
        The copy and the name of the node at fault; None if it does not apply.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    node = fault.plant(copy)
    if node is None:
        return None
    # Inferred sizes and golden answers belong to the model as it was.
    del copy.graph.value_info[:], copy.metadata_props[:]
    return copy, node


def _weighted(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto, int]]:
    """Nodes with a float32 weight of their own, the weight, and its axis of output channels."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    for node in model.graph.node:
        if node.op_type == "Gemm":
            place, axis = 1, 0 if _value(node, "transB", 0) else 1
        elif node.op_type in _MATRIX:
            place, axis = _MATRIX[node.op_type]
        else:
            continue
        tensor = tensors.get(node.input[place]) if len(node.input) > place else None
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        if uses[tensor.name] == 1:
            yield node, tensor, axis % len(tensor.dims)


def _middle(found):  # type: ignore[no-untyped-def]  # of whatever it is given
    return found[len(found) // 2] if found else None


def _value(node: onnx.NodeProto, name: str, default):  # type: ignore[no-untyped-def]  # of the default's type
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _set(node: onnx.NodeProto, name: str, value: object) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int | str, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(
            d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.type.tensor_type.shape.dim
        )
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
