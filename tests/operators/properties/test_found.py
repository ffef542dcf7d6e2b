"""The smallest cases of what drawing examples has found."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from tests.operators.parity import build, check, node_model
from tests.operators.properties.examining import QUICK, Case
from tests.operators.properties.strategies import vector
from xport.errors import UnsupportedError


def ramp(*sizes: int) -> np.ndarray:
    """Quarters that count up and start again."""
    return ((np.arange(np.prod(sizes, dtype=int)) % 33 - 16) / 4).astype(np.float32).reshape(sizes)


LEAST = np.iinfo(np.int64).min
SAME = {"auto_pad": "SAME_LOWER", "strides": [2, 2]}
HALVES = np.array([0.25, 0.5] * 8, np.float32)
STRIDES = np.array([2, 4, 8, 16] * 4, np.float32)

CASES = {
    "an empty batch": Case("Conv", [ramp(0, 4, 5, 5), ramp(6, 4, 3, 3)], constants=(1,)),
    "an empty batch in groups": Case("Conv", [ramp(0, 4, 5, 5), ramp(8, 1, 3, 3)], {"group": 4, "strides": [2, 2]}),
    "kernels smaller than their stride": Case("ConvTranspose", [ramp(1, 1, 3, 3), ramp(1, 2, 1, 1)], SAME),
    "a run-time size to crop to": Case(
        "ConvTranspose", [ramp(1, 1, 1, 1), ramp(1, 3, 3, 1)], SAME, symbolic=True, constants=(1,)
    ),
    "a run-time kernel to crop by": Case(
        "ConvTranspose", [ramp(3, 1, 4), ramp(1, 2, 1)], {"strides": [3], "pads": [1, 0]}, symbolic=True
    ),
    "a backward slice from before the first": Case(
        "Slice", [ramp(3, 2), vector(LEAST), vector(LEAST), vector(0), vector(-2)], constants=(1, 2, 3, 4)
    ),
    "such a slice of unknown size": Case(
        "Slice", [ramp(3, 2), vector(-9), vector(-9), vector(0), vector(-1)], constants=(1, 2, 3, 4), symbolic=True
    ),
    "such a slice with bounds of run time": Case("Slice", [ramp(3, 2), vector(-9), vector(-9), vector(0), vector(-1)]),
    "an average over padding alone": Case(
        "AveragePool", [ramp(2, 1, 1)], {"kernel_shape": [2], "dilations": [2], "pads": [1, 1]}
    ),
    "an average over padding alone at run time": Case(
        "AveragePool", [ramp(2, 1, 1)], {"kernel_shape": [2], "dilations": [2], "pads": [1, 1]}, symbolic=True
    ),
    "an image smaller than the window without its padding": Case(
        "AveragePool", [ramp(1, 1, 1, 5, 5)], {"kernel_shape": [3, 1, 3], "auto_pad": "SAME_UPPER"}
    ),
    "an ellipsis of which run time knows that it is one": Case(
        "Einsum", [ramp(1, 2), ramp(5, 2)], {"equation": "...a,...a"}, constants=(1,), symbolic=True
    ),
    "halves between quantized numbers": Case(
        "QuantizeLinear", [ramp(4, 16), HALVES, np.zeros(16, np.int8)], {"axis": 1}, constants=(1, 2)
    ),
    "quotients that are whole": Case(
        "Div", [np.arange(1, 9, dtype=np.float32)[:, None] * STRIDES, STRIDES], constants=(1,), rtol=0
    ),
    "a scalar to the power of a vector": Case("Pow", [np.array(4, np.int32), vector(2)], opset=15, constants=(1,)),
    "one to equal powers": Case("Pow", [ramp(1), np.full((2, 3), 2, np.float32)], opset=15, constants=(1,)),
    "an image of which nothing is left": Case(
        "Resize", [ramp(1, 1, 2, 1), None, np.array([1, 1, 1, 0.5], np.float32)], {"mode": "linear"}, constants=(2,)
    ),
    "a mirror of six axes": Case(
        "Pad", [ramp(3, 1, 1, 3, 1, 2), vector(1, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0)], {"mode": "reflect"}, constants=(1,)
    ),
    "a mirror beside an empty axis": Case("Pad", [ramp(4, 0), vector(3, 0, 2, 0)], {"mode": "reflect"}, constants=(1,)),
    "an exclusive sum of nothing": Case("CumSum", [ramp(2, 0), np.array(1)], {"exclusive": 1}, constants=(1,)),
    "softmax of six axes": Case("Softmax", [ramp(2, 1, 3, 2, 2, 3)], {"axis": 2}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_found(case: Case) -> None:
    check(case.model, case.feed, targets=QUICK, rtol=case.rtol)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_found_for_tflite(case: Case) -> None:
    check(case.model, case.feed, targets=["tflite"], rtol=case.rtol, may_refuse=["tflite"])


def test_windows_that_fit_nowhere_are_refused() -> None:
    case = Case("MaxPool", [ramp(1, 1, 2)], {"kernel_shape": [3]})
    for target in QUICK:
        with pytest.raises(UnsupportedError, match="none fits"):
            build(case.model, target)([*case.feed])


def test_an_activation_without_the_parameter_that_runtimes_disagree_about_is_refused() -> None:
    inputs = [ramp(2, 1, 2), ramp(1, 2, 2), ramp(1, 2, 2)]
    model = node_model("RNN", inputs, {"hidden_size": 2, "activations": ["ThresholdedRelu"]}, opset=14)
    for target in QUICK:
        with pytest.raises(UnsupportedError, match="activation_alpha"):
            build(model, target)(inputs)


def test_a_backward_slice_of_sizes_from_before_the_first() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "low", "low", "axis", "step"], ["y"]),
    ]
    known = [helper.make_tensor(n, 7, [1], [v]) for n, v in (("low", -9), ("axis", 0), ("step", -1))]
    x, y = helper.make_tensor_value_info("x", 1, ["N", 3]), helper.make_tensor_value_info("y", 7, [1])
    graph = helper.make_graph(nodes, "g", [x], [y], known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    check(model, [ramp(2, 3)], [ramp(5, 3)], targets=QUICK)


@pytest.mark.parametrize("function", ["Relu", "Floor", "Neg"])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin", "Hardmax"])
def test_the_first_of_equals_behind_a_monotonic_function(function: str, op: str) -> None:
    x, y = helper.make_tensor_value_info("x", 1, [2, 3]), helper.make_empty_tensor_value_info("y")
    nodes = [helper.make_node(function, ["x"], ["f"]), helper.make_node(op, ["f"], ["y"], axis=1)]
    graph = helper.make_graph(nodes, "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    check(model, [np.array([[-3, -1, -2], [0.25, 0.75, 0.5]], np.float32)], targets=QUICK)
