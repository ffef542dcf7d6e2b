"""Strings in a SavedModel against ONNX Runtime; the other targets refuse them."""

import numpy as np
import pytest
from onnx import TensorProto

from tests.operators.parity import check, node_model
from xport.errors import UnsupportedError


def text(*items):
    return np.array(items, dtype=object)


def on_savedmodel(op, inputs, attributes=None, **keywords):
    check(node_model(op, inputs, attributes, **keywords), inputs, targets=["savedmodel"])


@pytest.mark.parametrize("attributes", [{}, {"maxsplit": 1}, {"delimiter": ","}, {"delimiter": ",,", "maxsplit": 1}])
def test_split(attributes):
    on_savedmodel("StringSplit", [text("", " a  b c ", ",x,,y,", "ß,,é", ",,")], attributes, outputs=2)
    on_savedmodel("StringSplit", [text("a b", "", "c", "d,e").reshape(2, 2)], attributes, outputs=2)


def test_concat_broadcasts():
    on_savedmodel("StringConcat", [text("a", "é", "").reshape(3, 1), text("x", "yz")])


def test_full_match():
    on_savedmodel("RegexFullMatch", [text("a1", "ab", "a12\n", "")], {"pattern": r"a\d+"})


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_numbers_as_strings(dtype):
    x = np.array([0, 1, 100, 7], dtype)
    if np.dtype(dtype).kind == "f":
        x = np.array([1 / 3, 1e4, 1e-7, np.nan, -np.inf, np.inf, -0.0, 100, 3.14159265, 12345.678], dtype)
    on_savedmodel("Cast", [x], {"to": TensorProto.STRING})


def test_strings_as_numbers():
    floats = text("1.5", "-3", "1e-5", "INF", "+INF", "-inf", "NaN", "0.1")
    on_savedmodel("Cast", [floats], {"to": TensorProto.FLOAT})
    on_savedmodel("Cast", [floats], {"to": TensorProto.DOUBLE})
    on_savedmodel("Cast", [text("12", "-7", "3.7", " 5", "+4")], {"to": TensorProto.INT64})


def test_label_encoder():
    on_savedmodel(
        "LabelEncoder",
        [text("b", "a", "z")],
        {"keys_strings": ["a", "b"], "values_int64s": [4, 5], "default_int64": 9},
        domain="ai.onnx.ml",
    )
    x = np.array([1, 5, 9, np.nan], np.float32)
    attributes = {"keys_floats": [1.0, 5.0, float("nan")], "values_int64s": [4, 7, 8]}
    check(node_model("LabelEncoder", [x], attributes, domain="ai.onnx.ml"), [x])


@pytest.mark.parametrize("target", ["tflite", "torch"])
def test_others_refuse_with_a_reason(target):
    inputs = [text("a"), text("b")]
    with pytest.raises(UnsupportedError, match=r"string|String"):
        check(node_model("StringConcat", inputs), inputs, targets=[target])
