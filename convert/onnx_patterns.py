"""Small patterns of ONNX graphs, recognised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir


def known(value: ir.Value | None) -> np.ndarray | None:
    """The content of a constant; None if it is computed."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    array: np.ndarray = value.const_value.numpy()
    return array


def only_use(value: ir.Value | None, kinds: Sequence[str]) -> ir.Node | None:
    """The node of one of these kinds that makes a value used once, and not a graph's output."""
    node = None if value is None else value.producer()
    if node is None or value is None or node.op_type not in kinds or len(value.uses()) != 1 or value.is_graph_output():
        return None
    return node


def _number(value: ir.Value | None) -> bool:
    array = known(value)
    return array is not None and array.shape == ()


def clip_of(node: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value, ir.Node] | None:
    """``x, low, high, inner`` of ``Min(Max(x, low), high)`` or ``Max(Min(x, high), low)`` with low <= high."""
    if node.op_type not in ("Min", "Max") or len(node.inputs) != 2:
        return None
    other = "Max" if node.op_type == "Min" else "Min"
    for outer, bound in (node.inputs, reversed(node.inputs)):
        inner = only_use(outer, (other,))
        if inner is None or bound is None or not _number(bound) or len(inner.inputs) != 2:
            continue
        for x, second in (inner.inputs, reversed(inner.inputs)):
            if x is None or second is None or not _number(second) or known(x) is not None:
                continue
            low, high = (second, bound) if node.op_type == "Min" else (bound, second)
            a, b = known(low), known(high)
            if a is not None and b is not None and a <= b and x.dtype not in (ir.DataType.BOOL,):
                return x, low, high, inner
    return None


def index_of(node: ir.Node) -> ir.Value | None:
    """The plain index of a ``Gather`` whose index is ``Where(i < 0, i + n, i)`` with n the size of the axis."""
    where = node.inputs[1].producer() if node.inputs[1] is not None else None
    if where is None or where.op_type != "Where":
        return None
    condition, shifted, x = where.inputs
    less = condition.producer() if condition is not None else None
    add = shifted.producer() if shifted is not None else None
    if x is None or less is None or add is None or less.op_type != "Less" or add.op_type != "Add":
        return None
    zero, sizes = known(less.inputs[1]), [v for v in add.inputs if v is not x]
    if less.inputs[0] is not x or zero is None or np.any(zero) or len(sizes) != 1 or x not in add.inputs:
        return None
    return x if _is_size(sizes[0], node.inputs[0], node.attributes.get_int("axis", 0)) else None


def _is_size(value: ir.Value | None, data: ir.Value | None, axis: int) -> bool:
    """Whether a value is certainly the size of an axis."""
    array = known(value)
    if array is not None and data is not None and data.shape is not None and array.size == 1:
        size = data.shape[axis]
        return isinstance(size, int) and int(array.reshape(-1)[0]) == size
    node = None if value is None else value.producer()
    while node is not None and node.op_type in ("Cast", "Squeeze", "Unsqueeze", "Reshape"):
        value = node.inputs[0]
        node = None if value is None else value.producer()
    if node is None or node.op_type != "Gather" or node.inputs[0] is None:
        return False
    shape, place = node.inputs[0].producer(), known(node.inputs[1])
    if shape is None or shape.op_type != "Shape" or place is None or place.size != 1 or shape.attributes:
        return False
    return shape.inputs[0] is data and int(place.reshape(-1)[0]) == axis


_RANK_KEPT = ("Relu", "Clip", "Tanh", "Sigmoid", "Cast", "LeakyRelu", "Elu", "Softmax")


def _times_matrix(node: ir.Node) -> bool:
    weight = known(node.inputs[1]) if node.op_type == "MatMul" else None
    return weight is not None and weight.ndim == 2


def rank_of(value: ir.Value | None) -> int | None:
    """The rank of a value, where its shape or its producer tells."""
    while value is not None:
        if value.shape is not None:
            return len(value.shape)
        node = value.producer()
        if node is None:
            return None
        if node.op_type == "Gemm":
            return 2
        if node.op_type in ("Reshape",):
            target = known(node.inputs[1])
            return None if target is None else len(target)
        if node.op_type not in _RANK_KEPT and not _times_matrix(node):
            return None
        value = node.inputs[0]
    return None


def new_constant(main: ir.Graph, like: ir.Value | None, array: np.ndarray) -> ir.Value:
    """A new initializer of the main graph, named after another value."""
    base = f"{like.name if like is not None else 'const'}_vector"
    name, number = base, 0
    while name in main.initializers:
        number += 1
        name = f"{base}_{number}"
    tensor = ir.Tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    main.register_initializer(value)
    return value


def initializer(main: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A constant of the main graph; the one of that name and content if there is one."""
    while name in main.initializers:
        own = known(main.initializers[name])
        if own is not None and own.dtype == array.dtype and np.array_equal(own, array):
            return main.initializers[name]
        name += "_"
    tensor = ir.Tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    main.register_initializer(value)
    return value
