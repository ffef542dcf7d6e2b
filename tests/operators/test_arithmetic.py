"""Elementwise operators of every element type, on every target, against ONNX Runtime."""

import numpy as np
import pytest

from tests.operators.parity import check, graph_model, node_model

FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
WIDE = ["int32", "int64", "uint32", "uint64"]
COMMON = ["float16", "float32", "float64", *WIDE]

UNARY = ["Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Log"]
UNARY += ["Reciprocal", "Round", "Sin", "Sinh", "Sqrt", "Tan", "Tanh"]


def numbers(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Numbers of every size that the type has, without zero."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (rng.standard_normal(shape) * 3).astype(dtype)
    info = np.iinfo(dtype)
    bits = rng.integers(1, info.bits, shape)
    size = np.array([int(rng.integers(1, 2 ** int(b))) for b in bits.reshape(-1)], dtype=object).reshape(shape)
    sign = rng.choice([-1, 1], shape) if info.min < 0 else np.ones(shape, dtype=object)
    return np.array(size * sign).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", *WIDE])
def test_arithmetic_and_comparisons_broadcast(dtype):
    a, b = numbers(dtype, (2, 3, 4), 1), numbers(dtype, (3, 1), 2)
    ops = ["Add", "Sub", "Mul", "Div", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Max", "Min"]
    nodes = [(op, ["a", "b"], {}) for op in ops] + [("Equal", ["a", "a"], {}), ("Max", ["a", "b", "a"], {})]
    nodes.append(("Mod", ["a", "b"], {"fmod": 1 if dtype == "float32" else 0}))
    check(graph_model(nodes, {"a": a, "b": b}), [a, b])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_float_arithmetic(dtype):
    a, b = numbers(dtype, (2, 3, 4), 1), numbers(dtype, (3, 1), 2)
    nodes = [(op, ["a", "b"], {}) for op in ["Add", "Sub", "Mul", "Div", "Greater", "Less", "Max", "Min", "Pow"]]
    may_refuse = ["tflite"] if dtype == "float64" else []
    size = {"float16": 2e-3, "float64": 1e-12}[dtype]
    check(graph_model(nodes, {"a": a, "b": b}), [np.abs(a), b], may_refuse=may_refuse, rtol=size)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_remainders_take_the_right_sign(dtype):
    a, b = numbers(dtype, (40,), 3), numbers(dtype, (40,), 4)
    check(node_model("Mod", [a, b]), [a, b])
    if dtype.endswith("64"):  # ONNX Runtime takes C's fmod of doubles, which cannot tell larger numbers apart
        a, b = (x // np.array(4096, dtype) * np.array(2, dtype) + np.array(1, dtype) for x in (a, b))
    check(node_model("Mod", [a, b], {"fmod": 1}), [a, b])


def test_int64_division_at_the_edges():
    top = np.iinfo(np.int64).max
    a = np.array([top, top, -top, top - 1, -top, 1, -1, 0, top, 2**53 + 1, -(2**62)], dtype=np.int64)
    b = np.array([1, 3, 7, -1, 2**31, top, -top, 5, top, 3, -3], dtype=np.int64)
    check(node_model("Div", [a, b]), [a, b])


def test_uint64_division_beyond_int64():
    top = np.iinfo(np.uint64).max
    a = np.array([top, top, top, 2**63, 5, top - 1, 2**63 + 7], dtype=np.uint64)
    b = np.array([1, 3, top, 2**63 + 1, 2**63, 2, 10], dtype=np.uint64)
    check(node_model("Div", [a, b]), [a, b])


@pytest.mark.parametrize("op", ["Max", "Min", "Sum", "Mean"])
def test_variadic_operators_propagate_nan(op):
    rng = np.random.default_rng(5)
    xs = [np.where(rng.random((3, 5)) < 0.2, np.nan, rng.standard_normal((3, 5))).astype(np.float32) for _ in "abc"]
    check(node_model(op, xs), xs)
    check(node_model(op, xs[:1]), xs[:1])


def test_unary_functions():
    x = np.concatenate([np.linspace(-0.999, 0.999, 21), [1e-8, -1e-6, 1e-3]]).astype(np.float32)
    more = np.array([-80, -20, -3.5, -2.5, -0.5, 0.5, 1.5, 2.5, 3, 30, 85, 1e5, 1e-7, 1], np.float32)
    inside = ["Acos", "Asin", "Atanh"]
    check(graph_model([(op, ["x"], {}) for op in UNARY if op not in ("Acosh", "Log", "Sqrt")], {"x": x}), [x])
    outside = [op for op in UNARY if op not in inside and op not in ("Cos", "Sin", "Tan", "Acosh", "Log", "Sqrt")]
    check(graph_model([(op, ["x"], {}) for op in outside], {"x": more}), [more], rtol=5e-6)
    positive = np.abs(more) + 1
    check(graph_model([(op, ["x"], {}) for op in ("Acosh", "Log", "Sqrt")], {"x": positive}), [positive])


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64", "float16", "float32"])
def test_abs_neg_sign(dtype):
    x = numbers(dtype, (17,), 6)
    ops = ["Abs", "Sign"] + ([] if dtype.startswith("u") or dtype == "float16" else ["Neg"])
    check(graph_model([(op, ["x"], {}) for op in ops], {"x": x}), [x])


def test_special_floats():
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 80.0, -1e-30, 2.5, -3.5], np.float32)
    nodes = [(op, ["x"], {}) for op in ["IsNaN", "Sign", "Abs", "Neg", "Ceil", "Floor", "Round", "Sigmoid", "Tanh"]]
    nodes += [("IsInf", ["x"], {"detect_negative": n, "detect_positive": p}) for n in (0, 1) for p in (0, 1)]
    check(graph_model(nodes, {"x": x}), [x])


def test_equality_with_a_known_infinity():
    x = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    y = np.array([np.inf], np.float32)
    check(graph_model([("Equal", ["x", "y"], {})], {"x": x, "y": y}, constants=["y"]), [x])


@pytest.mark.parametrize("exponent", ["float32", "int32", "int64"])
def test_float_powers(exponent):
    a = np.array([-3, -1.5, -1, 0.5, 2, 3, 7, 1.0001], np.float32)
    b = np.array([2, -3, 5, 4, 0, 3, -2, 1], exponent)
    check(node_model("Pow", [a, b]), [a, b])


@pytest.mark.parametrize("value", [1, 2, 3, 0.5, -1])
def test_a_known_exponent(value):
    a = np.abs(numbers("float32", (2, 3), 7))
    check(node_model("Pow", [a, np.array(value, np.float32)], constants=[1]), [a])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_powers(dtype):
    a = np.array([2, -3, 7, 0, 1, -1, -1, 10, -2], dtype)
    b = np.array([10, 5, 0, 4, 30, 7, 8, 9, 3], dtype)
    check(node_model("Pow", [a, b]), [a, b])


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
def test_shifts_reach_past_the_width(dtype):
    bits = np.dtype(dtype).itemsize * 8
    x = np.array([1, 3, 200, 255, 7, 5, np.iinfo(dtype).max, np.iinfo(dtype).max], dtype)
    count = np.array([0, 1, 3, bits - 1, bits, bits + 3, 1, bits - 1], dtype)
    nodes = [("BitShift", ["x", "n"], {"direction": d}) for d in ("LEFT", "RIGHT")]
    check(graph_model(nodes, {"x": x, "n": count}), [x, count])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_bitwise_operators(dtype):
    a, b = numbers(dtype, (4, 9), 8), numbers(dtype, (9,), 9)
    nodes = [(op, ["a", "b"], {}) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")]
    check(graph_model([*nodes, ("BitwiseNot", ["a"], {})], {"a": a, "b": b}), [a, b])


def test_logic():
    rng = np.random.default_rng(1)
    a, b = rng.random((3, 4)) < 0.5, rng.random((4,)) < 0.5
    nodes = [(op, ["a", "b"], {}) for op in ("And", "Or", "Xor", "Equal")]
    check(graph_model([*nodes, ("Not", ["a"], {})], {"a": a, "b": b}), [a, b])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64", "float16", "float32"])
def test_clip_and_where(dtype):
    x = numbers(dtype, (3, 5), 10)
    low, high = np.array(2, dtype), np.array(9, dtype)
    nodes = [("Clip", ["x", "low", "high"], {}), ("Clip", ["x", "high", "low"], {}), ("Clip", ["x", "", "high"], {})]
    inputs = {"x": x, "low": low, "high": high}
    check(graph_model(nodes, inputs), list(inputs.values()))
    check(graph_model(nodes, inputs, constants=["low", "high"]), [x])


@pytest.mark.parametrize("sizes", [((2, 3), (3, 3)), ((0, 1), (1, 4))])
def test_open_sizes(sizes):
    feeds = [[numbers("float32", s, i), numbers("float32", s[1:], i + 9)] for i, s in enumerate(sizes)]
    nodes = [("Add", ["a", "b"], {}), ("Max", ["a", "b"], {}), ("Pow", ["a", "b"], {}), ("Erf", ["a"], {})]
    positive = [[np.abs(a), b] for a, b in feeds]
    check(graph_model(nodes, {"a": feeds[0][0], "b": feeds[0][1]}, symbolic=True), *positive)
