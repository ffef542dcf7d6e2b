"""Quantized arithmetic on every target against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.operators.parity import check, node_model

RNG = np.random.default_rng(0)


def integers(dtype, shape):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max + 1, shape).astype(dtype)


def parameters(dtype, shape=()):
    info = np.iinfo(dtype)
    middle = (info.min + info.max + 1) // 2
    scale = (0.002 + RNG.random(shape) * 0.1).astype(np.float32)
    return np.asarray(scale), np.asarray(RNG.integers(middle - 20, middle + 20, shape).astype(dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_quantize_and_dequantize_one_scale(dtype):
    scale, zero = parameters(dtype)
    x = (RNG.standard_normal((2, 3, 5)) * 8).astype(np.float32)
    x[0, 0] = [0.5, 1.5, 2.5, -0.5, -1.5]
    check(node_model("QuantizeLinear", [x, scale, zero]), [x, scale, zero])
    check(node_model("QuantizeLinear", [x, np.array(1, np.float32), zero], constants=[1, 2]), [x])
    check(node_model("DequantizeLinear", [integers(dtype, (2, 3, 5)), scale, zero], constants=[1, 2]), [x_like(dtype)])


def x_like(dtype):
    return integers(dtype, (2, 3, 5))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_scale_an_index_of_an_axis(axis):
    x = (RNG.standard_normal((3, 3, 3)) * 3).astype(np.float32)
    scale, zero = parameters("int8", (3,))
    check(node_model("QuantizeLinear", [x, scale, zero], {"axis": axis}, constants=[1, 2]), [x])
    q = integers("int8", (3, 3, 3))
    check(node_model("DequantizeLinear", [q, scale, zero], {"axis": axis}), [q, scale, zero])


@pytest.mark.parametrize(("axis", "block"), [(0, 2), (1, 3), (2, 4)])
def test_blocks(axis, block):
    x = (RNG.standard_normal((4, 6, 8)) * 3).astype(np.float32)
    shape = tuple(-(-s // block) if i == axis else s for i, s in enumerate(x.shape))
    scale, zero = parameters("uint8", shape)
    attributes = {"axis": axis, "block_size": block}
    check(node_model("QuantizeLinear", [x, scale, zero], attributes, constants=[1, 2]), [x])
    q = integers("uint8", x.shape)
    check(node_model("DequantizeLinear", [q, scale, zero], attributes), [q, scale, zero])


def test_four_bit_weights_inside_a_graph():
    q = RNG.integers(-8, 8, (8, 4)).astype(np.int8)
    scale = (RNG.random((2, 4)) + 0.1).astype(np.float32)
    weight = helper.make_tensor("w", TensorProto.INT4, q.shape, q.reshape(-1).tolist())
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0, block_size=4),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    x = RNG.standard_normal((3, 8)).astype(np.float32)
    fed = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 4))
    graph = helper.make_graph(nodes, "g", [fed], [made], [weight, onnx.numpy_helper.from_array(scale, "s")])
    check(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), [x])


def test_dynamic_quantization_of_open_sizes():
    feeds = [[(RNG.standard_normal(s) * 5).astype(np.float32)] for s in ((2, 3), (3, 1))]
    feeds.append([np.zeros((1, 4), np.float32)])
    check(node_model("DynamicQuantizeLinear", feeds[0], outputs=3, symbolic=True), *feeds)


@pytest.mark.parametrize(("a", "b"), [((4, 700), (700, 3)), ((2, 3, 5), (5, 4)), ((2, 4, 5), (2, 5, 2))])
def test_integer_matrices(a, b):
    left, right = integers("uint8", a), integers("int8", b)
    zeros = [np.array(131, np.uint8), np.array(-3, np.int8)]
    check(node_model("MatMulInteger", [left, right, *zeros]), [left, right, *zeros])
    per_column = [np.array(131, np.uint8), integers("int8", (b[-1],))]
    if len(b) == 2:
        check(node_model("MatMulInteger", [left, right, *per_column], constants=[1, 3]), [left, per_column[0]])


@pytest.mark.parametrize("channels", [1, 4, 40])
def test_integer_convolution(channels):
    x, w = integers("uint8", (2, channels, 7, 7)), integers("uint8", (3, channels, 3, 3))
    zeros = [np.array(120, np.uint8), np.array(7, np.uint8)]
    attributes = {"pads": [1, 0, 2, 1], "strides": [2, 1]}
    check(node_model("ConvInteger", [x, w, *zeros], attributes, constants=[1, 3]), [x, zeros[0]])
    check(node_model("ConvInteger", [x, w, *zeros], attributes), [x, w, *zeros])


@pytest.mark.parametrize("group", [1, 2])
def test_quantized_convolution(group):
    x, w = integers("uint8", (1, 4, 4, 4)), integers("int8", (4, 4 // group, 3, 3))
    (xs, xz), (ws, _), (ys, yz) = parameters("uint8"), parameters("int8", (4,)), parameters("uint8")
    bias = RNG.integers(-1000, 1000, (4,)).astype(np.int32)
    wz = np.zeros((4,), np.int8)
    inputs = [x, xs, xz, w, ws, wz, np.asarray(ys * 30), yz, bias]
    attributes = {"pads": [1, 1, 1, 1], "group": group}
    check(node_model("QLinearConv", inputs, attributes, constants=range(1, 9)), [x], steps=1)


def test_quantized_matrices():
    a, b = integers("uint8", (5, 40)), integers("uint8", (40, 6))
    (asc, az), (bs, bz), (ys, yz) = parameters("uint8"), parameters("uint8"), parameters("uint8")
    inputs = [a, asc, az, b, bs, bz, np.asarray(ys * 20), yz]
    check(node_model("QLinearMatMul", inputs), inputs, steps=1)
    check(node_model("QLinearMatMul", inputs, constants=range(1, 8)), [a], steps=1)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_contrib_arithmetic(op, dtype):
    a, b = integers(dtype, (2, 4, 3)), integers(dtype, (4, 3))
    inputs = [a, *parameters(dtype), b, *parameters(dtype), *parameters(dtype)]
    check(node_model(op, inputs, domain="com.microsoft", constants=[1, 2, 4, 5, 6, 7]), [a, b], steps=1)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("QLinearSigmoid", {}),
        ("QLinearLeakyRelu", {"alpha": 0.2}),
        ("QLinearGlobalAveragePool", {"channels_last": 0}),
        ("QLinearGlobalAveragePool", {"channels_last": 1}),
        ("QLinearAveragePool", {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 0, 0, 1]}),
        ("QLinearSoftmax", {"axis": -1, "opset": 13}),
    ],
)
def test_contrib_functions(op, attributes):
    x = integers("uint8", (2, 4, 4, 4))
    xs, xz = parameters("uint8")
    ys, yz = np.array(1 / 128, np.float32), np.array(3, np.uint8)
    if "Pool" in op or "Leaky" in op:
        ys = xs
    check(node_model(op, [x, xs, xz, ys, yz], attributes, domain="com.microsoft", constants=range(1, 5)), [x], steps=1)


def test_contrib_concat():
    parts = [[integers("uint8", (2, n, 3)), *parameters("uint8")] for n in (1, 4)]
    ys, yz = parameters("uint8")
    inputs = [ys, yz, *parts[0], *parts[1]]
    constants = [0, 1, 3, 4, 6, 7]
    model = node_model("QLinearConcat", inputs, {"axis": 1}, domain="com.microsoft", constants=constants)
    check(model, [parts[0][0], parts[1][0]], steps=1)


@pytest.mark.parametrize("transposed", [0, 1])
def test_contrib_gemm(transposed):
    a, b = integers("uint8", (5, 8)), integers("uint8", (6, 8) if transposed else (8, 6))
    c = RNG.integers(-500, 500, (6,)).astype(np.int32)
    (asc, az), (bs, bz), (ys, yz) = parameters("uint8"), parameters("uint8"), parameters("uint8")
    inputs = [a, asc, az, b, bs, bz, c, np.asarray(ys * 20), yz]
    attributes = {"transB": transposed, "alpha": 1.0}
    model = node_model("QGemm", inputs, attributes, domain="com.microsoft", constants=range(1, 9))
    check(model, [a], steps=1)
    plain = node_model("QGemm", inputs[:7], attributes, domain="com.microsoft", constants=range(1, 7))
    check(plain, [a], rtol=1e-4)


def test_contrib_products_of_floats():
    a, b = RNG.standard_normal((5, 8)).astype(np.float32), integers("uint8", (8, 6))
    bs, bz = parameters("uint8", (6,))
    bias = RNG.standard_normal((6,)).astype(np.float32)
    inputs = [a, b, bs, bz, bias]
    check(node_model("DynamicQuantizeMatMul", inputs, domain="com.microsoft", constants=[1, 2, 3, 4]), [a], rtol=1e-4)
    left = integers("uint8", (5, 8))
    inputs = [left, b, np.array(0.02, np.float32), bs, np.array(100, np.uint8), bz, bias]
    check(node_model("MatMulIntegerToFloat", inputs, domain="com.microsoft", constants=range(1, 7)), [left], rtol=1e-4)
