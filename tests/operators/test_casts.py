"""Conversions between element types on every target."""

import ml_dtypes
import numpy as np
import onnx_ir
import pytest
from onnx import TensorProto, helper

from tests.operators.parity import _BUILDERS, check, compare, graph_model
from xport.convert.lowering import model as onnx_model

NUMERIC = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMERIC += ["float16", "float32", "float64"]
NARROW = ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "INT4", "UINT4"]


def numbers(dtype):
    x = np.array([-300, -129, -128, -7, -1, 0, 0, 1, 2, 3, 100, 127, 128, 255, 256, 60000], dtype=np.float64)
    return x.astype(np.int64).astype(dtype) if np.dtype(dtype).kind in "biu" else (x + np.sign(x) * 0.5).astype(dtype)


@pytest.mark.parametrize("source", NUMERIC)
def test_every_numeric_type(source):
    x = numbers(source)
    if x.dtype.kind == "f":  # what lies outside the range is undefined
        x = x[np.abs(x) < 120]
    wanted = [t for t in NUMERIC if t != source and not (x.dtype.kind == "f" and t.startswith("u"))]
    check(cast_all(x, wanted), [x], targets=["savedmodel", "torch"])
    known = [] if source == "uint64" else [t for t in wanted if t != "uint64"]
    if known:
        check(cast_all(x, known), [x], targets=["tflite"])


def cast_all(x, types):
    to = [helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in types]
    return graph_model([("Cast", ["x"], {"to": t}) for t in to], {"x": x})


def through(narrow, x, **attributes):
    """A model that casts to a narrow type and back to float32."""
    nodes = [
        helper.make_node("Cast", ["x"], ["n"], to=getattr(TensorProto, narrow), **attributes),
        helper.make_node("Cast", ["n"], ["y"], to=TensorProto.FLOAT),
    ]
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    fed = helper.make_tensor_value_info("x", element, x.shape)
    graph = helper.make_graph(nodes, "g", [fed], [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("narrow", NARROW)
@pytest.mark.parametrize("saturate", [0, 1])
def test_narrow_types_inside_a_graph(narrow, saturate):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(200) * 2.0 ** rng.integers(-20, 20, 200), [0.0, 1e30, -1e30, 0.0625]])
    x = x.astype(np.float32)
    if narrow.startswith("FLOAT8E5M2"):  # just above the largest number ONNX Runtime gives NaN, and the standard inf
        x = x[(np.abs(x) < 57344) | (np.abs(x) > 65536)]
    if narrow.endswith("INT4"):
        x = np.concatenate([np.arange(-20, 20) + 0.5, np.arange(-9, 9)]).astype(np.float32)
    attributes = {} if narrow.endswith("INT4") else {"saturate": saturate}
    check(through(narrow, x, **attributes), [x])


def test_every_float8_bit_pattern_comes_back():
    for narrow in NARROW[:4]:
        dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, narrow))
        x = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
        x = x[np.isfinite(x)]
        check(through(narrow, x), [x])


def test_float8_of_the_interface():
    x = np.array([0.3, 500, -7.7, 1e-3], np.float32)
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT8E4M3FN)
    fed = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT8E4M3FN, x.shape)
    model = helper.make_model(helper.make_graph([node], "g", [fed], [made]))
    want = np.clip(x, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    for target in ("savedmodel", "torch"):
        run = _BUILDERS[target](onnx_model.infer_shapes(onnx_ir.from_proto(model)))
        compare(target, run([x])[0], want, 0, 0)
