"""Known compositions of ONNX operators written as the one operator that they are.

The formula stays the same; only its intermediate roundings change.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from xport.convert.onnx_patterns import known, new_constant, rank_of

_ROOT_HALF, _ROOT_TWO_OVER_PI, _CUBE = math.sqrt(0.5), math.sqrt(2 / math.pi), 0.044715
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def near(a: float, b: float) -> bool:
    """Whether two constants are the same number, written in single or half precision."""
    return math.isclose(a, b, rel_tol=1e-3 if abs(b) < 1 and abs(a - b) < 1e-6 else 1e-6)


def number(value: ir.Value | None) -> float | None:
    """A constant of one element."""
    array = known(value)
    if array is None or array.size != 1 or array.dtype.kind != "f":
        return None
    return float(array.reshape(-1)[0])


def factors(value: ir.Value) -> tuple[float, list[ir.Value]]:
    """A product as its constant and what is multiplied."""
    node = value.producer()
    constant = number(value)
    if constant is not None:
        return constant, []
    if node is None or not node.inputs or value.is_graph_input():
        return 1.0, [value]
    first, second = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if node.op_type == "Neg" and first is not None:
        sign, rest = factors(first)
        return -sign, rest
    if node.op_type == "Mul" and first is not None and second is not None:
        (a, left), (b, right) = factors(first), factors(second)
        return a * b, left + right
    divisor = number(second)
    if node.op_type == "Div" and first is not None and divisor:
        a, left = factors(first)
        return a / divisor, left
    exponent = number(second)
    if node.op_type == "Pow" and first is not None and exponent in (2.0, 3.0):
        a, left = factors(first)
        return a ** int(exponent), left * int(exponent)
    return 1.0, [value]


def gelu(main: ir.Graph, node: ir.Node) -> ir.Node | None:
    """``Gelu`` for ``x / 2 * (1 + erf(x / sqrt(2)))``, also with erfc or tanh."""
    if node.op_type != "Mul" or node.outputs[0].dtype not in _FLOATS:
        return None
    half, parts = factors(node.outputs[0])
    if len(parts) != 2 or not near(half, 0.5):
        return None
    for x, gate in (parts, parts[::-1]):
        kind = _gate(gate, x)
        if kind is not None:
            return ir.node("Gelu", [x], {"approximate": "tanh"} if kind == "tanh" else {}, name=node.name)
    return None


def _gate(value: ir.Value, x: ir.Value) -> str | None:
    """``erf`` or ``tanh`` for one plus that function of ``x``, as `gelu` has it."""
    node = value.producer()
    if node is None or node.op_type not in ("Add", "Sub") or len(node.inputs) != 2:
        return None
    sign = 1.0 if node.op_type == "Add" else -1.0
    pairs = [tuple(node.inputs)] if sign < 0 else [tuple(node.inputs), tuple(reversed(node.inputs))]
    for one, inner in pairs:
        maker = None if inner is None else inner.producer()
        if number(one) != 1.0 or maker is None or maker.inputs[0] is None:
            continue
        scale, parts = factors(maker.inputs[0])
        if maker.op_type == "Erf" and parts == [x] and near(scale * sign, _ROOT_HALF):
            return "erf"
        if maker.op_type == "Tanh" and sign > 0 and near(scale, _ROOT_TWO_OVER_PI) and len(parts) == 1:
            return "tanh" if _cubed(parts[0], x) else None
    return None


def _cubed(value: ir.Value, x: ir.Value) -> bool:
    """Whether a value is ``x + 0.044715 x**3``."""
    node = value.producer()
    if node is None or node.op_type != "Add":
        return False
    for plain, cube in (tuple(node.inputs), tuple(reversed(node.inputs))):
        if plain is x and cube is not None:
            scale, parts = factors(cube)
            return near(scale, _CUBE) and parts == [x, x, x]
    return False


def layer_norm(main: ir.Graph, node: ir.Node) -> ir.Node | None:
    """``LayerNormalization`` for a value less its mean, over the root of its variance, scaled and shifted."""
    if node.op_type != "Add" or node.outputs[0].dtype not in _FLOATS:
        return None
    return _plain_norm(main, node) or _keras_norm(main, node)


def _plain_norm(main: ir.Graph, node: ir.Node) -> ir.Node | None:
    """``(x - mean) * rsqrt(variance + epsilon) * scale + bias``."""
    for scaled, bias in (tuple(node.inputs), tuple(reversed(node.inputs))):
        if scaled is None or bias is None or known(bias) is None:
            continue
        multiply = scaled.producer()
        if multiply is None or multiply.op_type != "Mul":
            continue
        for normal, scale in (tuple(multiply.inputs), tuple(reversed(multiply.inputs))):
            if normal is None or scale is None or known(scale) is None or len(normal.uses()) != 1:
                continue  # what is needed elsewhere too would be computed twice
            found = _normal(normal)
            if found is not None:
                return _norm(main, node, *found, scale, bias)
    return None


def _normal(value: ir.Value) -> tuple[ir.Value, float] | None:
    """``x`` and epsilon of a normalised value."""
    node = value.producer()
    if node is None or node.op_type not in ("Mul", "Div"):
        return None
    pairs = [tuple(node.inputs)] if node.op_type == "Div" else [tuple(node.inputs), tuple(reversed(node.inputs))]
    for centred, spread in pairs:
        if centred is None or spread is None:
            continue
        x = _centred(centred)
        epsilon = _deviation(spread, x, inverse=node.op_type == "Mul") if x is not None else None
        if x is not None and epsilon is not None:
            return x, epsilon
    return None


def _centred(value: ir.Value) -> ir.Value | None:
    """``x`` of ``x - mean(x)`` over the last axis."""
    node = value.producer()
    if node is None or node.op_type != "Sub" or node.inputs[0] is None:
        return None
    return node.inputs[0] if _mean_of(node.inputs[1]) is node.inputs[0] else None


def _mean_of(value: ir.Value | None) -> ir.Value | None:
    """What a value is the mean of, over its last axis alone."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "ReduceMean" or node.attributes.get_int("keepdims", 1) != 1:
        return None
    axes, rank = known(node.inputs[1]) if len(node.inputs) > 1 else None, rank_of(node.inputs[0])
    if axes is None or axes.size != 1 or int(axes.reshape(-1)[0]) not in (-1, (rank or 0) - 1):
        return None
    return node.inputs[0]


def _divides_one(node: ir.Node) -> bool:
    return node.op_type == "Div" and number(node.inputs[0]) == 1.0


def _deviation(value: ir.Value, x: ir.Value, *, inverse: bool) -> float | None:
    """Epsilon of the root of the variance of ``x`` plus epsilon, or of one over it."""
    node = value.producer()
    if inverse:
        if node is None or not (
            node.op_type == "Reciprocal" or (node.op_type == "Div" and number(node.inputs[0]) == 1)
        ):
            return None
        inner = node.inputs[-1]
        node = None if inner is None else inner.producer()
    if node is None or node.op_type != "Sqrt" or node.inputs[0] is None:
        return None
    total = node.inputs[0].producer()
    if total is None or total.op_type != "Add":
        return None
    for variance, epsilon in (tuple(total.inputs), tuple(reversed(total.inputs))):
        amount, squares = number(epsilon), _mean_of(variance)
        maker = None if squares is None else squares.producer()
        if amount is None or maker is None or maker.op_type != "Mul" or maker.inputs[0] is not maker.inputs[1]:
            continue
        if maker.inputs[0] is not None and _centred(maker.inputs[0]) is x:
            return amount
    return None


def _keras_norm(main: ir.Graph, node: ir.Node) -> ir.Node | None:
    """``x * s + (bias - mean * s)`` with ``s = rsqrt(variance + epsilon) * scale``, as Keras writes it."""
    for scaled, shift in (tuple(node.inputs), tuple(reversed(node.inputs))):
        first = None if scaled is None else scaled.producer()
        second = None if shift is None else shift.producer()
        if first is None or second is None or first.op_type != "Mul" or second.op_type != "Add":
            continue
        for x, s in (tuple(first.inputs), tuple(reversed(first.inputs))):
            if x is None or s is None or s.producer() is None:
                continue
            bias = _keras_shift(second, x, s)
            found = _keras_scale(s, x)
            if bias is not None and found is not None:
                return _norm(main, node, x, found[0], found[1], bias)
    return None


def _keras_shift(node: ir.Node, x: ir.Value, s: ir.Value) -> ir.Value | None:
    for product, bias in (tuple(node.inputs), tuple(reversed(node.inputs))):
        if product is None or known(bias) is None:
            continue
        sign, parts = factors_once(product)
        if sign == -1.0 and len(parts) == 2 and s in parts:
            other = parts[0] if parts[1] is s else parts[1]
            if _mean_of(other) is x:
                return bias
    return None


def factors_once(value: ir.Value) -> tuple[float, list[ir.Value]]:
    """A product of two values as they are, a sign apart."""
    node = value.producer()
    if node is None or node.op_type != "Mul":
        return 1.0, []
    sign, parts = 1.0, []
    for item in node.inputs:
        maker = None if item is None else item.producer()
        if maker is not None and maker.op_type == "Neg":
            sign, item = -sign, maker.inputs[0]
        if item is not None:
            parts.append(item)
    return sign, parts


def _keras_scale(s: ir.Value, x: ir.Value) -> tuple[float, ir.Value] | None:
    node = s.producer()
    if node is None or node.op_type != "Mul":
        return None
    for inverse, scale in (tuple(node.inputs), tuple(reversed(node.inputs))):
        if inverse is None or scale is None or known(scale) is None:
            continue
        epsilon = _deviation(inverse, x, inverse=True)
        if epsilon is not None:
            return epsilon, scale
    return None


def _norm(
    main: ir.Graph, node: ir.Node, x: ir.Value, epsilon: float, scale: ir.Value, bias: ir.Value
) -> ir.Node | None:
    """The operator, if scale and bias have one number for each element of the last axis."""
    last = x.shape[-1] if x.shape is not None and len(x.shape) else None
    vectors = []
    for value in (scale, bias):
        array = known(value)
        if array is None or not array.ndim or array.shape[-1] != last or array.size != last:
            return None
        vectors.append(value if array.ndim == 1 else new_constant(main, value, array.reshape(-1)))
    attributes = {"axis": -1, "epsilon": float(np.float32(epsilon))}
    return ir.node("LayerNormalization", [x, *vectors], attributes, name=node.name)


FUSIONS = (gelu, layer_norm)
"""Each gives the operator that a node is the last part of, or None."""
