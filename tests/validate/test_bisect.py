"""Planted faults are found, exactly; what is faithful is left alone."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from xport.validate.bisection.agreement import agree, alignments, restored
from xport.validate.bisection.trunk import Trunk

_spec = importlib.util.spec_from_file_location("bisection_nets", Path(__file__).parent / "bisection_nets.py")
nets = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nets)
FAULTS = nets.load_benchmark("planted").FAULTS
PLANTED = {fault.name: fault for fault in FAULTS}


def with_fault(model, name):
    return nets.load_benchmark("planted").planted(model, PLANTED[name])


def reasons(report):
    return " ".join(report.first.reasons)


@pytest.mark.parametrize("names", ["kept", "lost"])
@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS])
def test_every_planted_fault_is_located_exactly(fault, names):
    model = nets.network()
    other, node = with_fault(model, fault)
    if names == "lost":
        other = nets.renamed(other)
    report = nets.bisect(model, other, nets.images())
    assert [operator.name for operator in report.first.operators] == [node]
    assert not report.agrees
    assert node in report.verdict
    assert report.first.inputs
    assert all(state.agrees for state in report.first.inputs)
    if fault != "float16 weights":  # there every layer errs
        assert report.first.cured is True
        assert len(report.divergences) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("one weight off by 1 %", "differs in 1 of 720 elements (index ["),
        ("two channels swapped", "slices 0, 1 of axis"),
        ("epsilon changed", "BatchNormalization's epsilon is 0.001, in the reference 1e-05"),
        ("padding off by one", "Conv's pads is [0, 1, 2, 1], in the reference [1, 1, 1, 1]"),
        ("GELU: other formula", "Gelu's approximate is tanh, in the reference none"),
        ("float16 weights", "are rounded to float16"),
        ("NHWC read as NCHW", "operators differ: Transpose"),
    ],
)
def test_the_reason_is_said(fault, words):
    model = nets.network()
    report = nets.bisect(model, with_fault(model, fault)[0], nets.images())
    assert words in reasons(report)


def test_float16_weights_are_told_of_every_layer():
    model = nets.network()
    report = nets.bisect(model, with_fault(model, "float16 weights")[0], nets.images())
    named = [divergence.operators[0].name for divergence in report.divergences]
    assert named[0] == "conv1"
    assert {"conv2", "conv3", "dense4", "dense5", "dense6"} <= set(named)
    assert report.first.cured is False


def test_a_model_and_itself_agree_in_every_value():
    report = nets.bisect(nets.network(), nets.renamed(nets.network()), nets.images())
    assert report.agrees
    assert report.verdict == "No value diverges; the outputs agree."
    assert not report.unmatched
    assert len(report.curve) == 13
    assert all(point.passed for point in report.curve)


def folded():
    """The network with its normalisation folded into the convolution before it and the bias in a node of its own."""
    model = nets.network()
    w, b, s, o, m, v = (
        numpy_helper.to_array(t).astype(np.float64)
        for name in ("w2", "b2", "s", "o", "m", "v")
        for t in model.graph.initializer
        if t.name == name
    )
    scale = s / np.sqrt(v + 1e-5)
    tensors = {"w2": w * scale[:, None, None, None], "b2": ((b - m) * scale + o)[:, None, None]}
    for tensor in model.graph.initializer:
        if tensor.name in tensors:
            tensor.CopyFrom(numpy_helper.from_array(tensors[tensor.name].astype(np.float32), tensor.name))
    nodes = [node for node in model.graph.node if node.name not in ("conv2", "norm2")]
    nodes[2:2] = [
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "b2"], ["n2"], name="bias2"),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def test_a_normalisation_that_was_folded_is_no_divergence():
    report = nets.bisect(nets.network(), folded(), nets.images())
    assert report.agrees, report.verdict


def test_a_fault_behind_a_folded_normalisation_is_told_alone():
    other = with_fault(folded(), "one weight off by 1 %")
    report = nets.bisect(nets.network(), other[0], nets.images())
    assert [d.operators[0].name for d in report.divergences] == [other[1]]


def test_a_fault_in_a_folded_convolution_names_both_operators():
    other = folded()
    for tensor in other.graph.initializer:
        if tensor.name == "w2":
            array = numpy_helper.to_array(tensor).copy()
            array[3] *= np.float32(1.01)
            tensor.CopyFrom(numpy_helper.from_array(array, "w2"))
    report = nets.bisect(nets.network(), other, nets.images())
    assert [operator.name for operator in report.first.operators] == ["conv2", "norm2"]
    assert report.first.cured is True


def test_a_channels_last_side_is_compared_up_to_the_order_of_axes():
    other = nets.network()
    for place, node in enumerate(other.graph.node):
        if node.name == "relu1":
            node.input[0], node.output[0] = "c1.last", "r1.last"
            before = helper.make_node("Transpose", ["c1"], ["c1.last"], perm=[0, 2, 3, 1], name="to_last")
            after = helper.make_node("Transpose", ["r1.last"], ["r1"], perm=[0, 3, 1, 2], name="to_first")
            other.graph.node.insert(place + 1, after)
            other.graph.node.insert(place, before)
            break
    assert nets.bisect(nets.network(), nets.renamed(nets.copied(other)), nets.images()).agrees
    faulty, node = with_fault(other, "two channels swapped")
    report = nets.bisect(nets.network(), faulty, nets.images())
    assert [operator.name for operator in report.first.operators] == [node]


def test_nan_is_located():
    other = nets.network()
    place = next(i for i, node in enumerate(other.graph.node) if node.name == "tanh5")
    other.graph.node[place].output[0] = "t5.before"
    other.graph.node.insert(place + 1, helper.make_node("Log", ["t5.before"], ["t5"], name="log"))
    report = nets.bisect(nets.network(), other, nets.images())
    assert report.first.inputs[0].value == "t5"  # what is made before the logarithm agrees
    assert [operator.name for operator in report.first.other_operators] == ["log", "dense6"]
    assert report.first.other_stats.nan > 0
    assert "Log → MatMul instead of MatMul" in reasons(report)
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["divergences"][0]["other_stats"]["nan"] > 0


def test_a_hidden_fault_is_told_though_the_outputs_agree():
    model, other = nets.network(), nets.network()
    for each in (model, other):
        each.graph.node.append(helper.make_node("Sign", ["y"], ["z"], name="sign"))
        each.graph.output[0].name = "z"
    for tensor in other.graph.initializer:
        if tensor.name == "w6":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), "w6"))
    report = nets.bisect(model, other, nets.images())
    assert report.first.operators[0].name == "dense6"
    assert report.verdict.endswith("the outputs still agree on these inputs.")
    assert not report.agrees


def test_a_runtime_that_answers_otherwise_than_its_file_is_said():
    model = nets.network()
    right = nets.run_onnx(model.SerializeToString(), nets.images(), ["y"])
    wrong = {"y": right["y"] * np.float32(1.001)}
    report = nets.bisect(model, nets.network(), nets.images(), answered=wrong)
    assert not report.agrees
    assert "a runtime answers otherwise than its form" in report.verdict
    assert "two.onnx gives another y" in report.verdict


def test_a_reference_without_float64_is_judged_by_that_of_its_form():
    other = nets.network()
    for tensor in other.graph.initializer:
        if tensor.name == "w5":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.0001), "w5"))
    report = nets.bisect(nets.network(), other, nets.images(), deep=False)
    assert [(verdict.rule, verdict.passed) for verdict in report.outputs] == [("floor", False)]
    assert report.first.operators[0].name == "dense5"


def test_the_reproducer_shows_the_difference_alone(tmp_path):
    model = nets.network()
    other, _ = with_fault(model, "one weight off by 1 %")
    report = nets.bisect(model, other, nets.images(), reproduce=tmp_path / "small")
    names = {Path(file).name for file in report.files}
    assert names == {"reference.onnx", "other.onnx", "inputs.npz", "other_inputs.npz", "reproduce.py"}
    assert [n.op_type for n in Trunk.open(tmp_path / "small/other.onnx").model.graph.node] == ["MatMul"]
    script = [sys.executable, str(tmp_path / "small/reproduce.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=True, cwd=tmp_path)
    largest = float(done.stdout.split("largest difference ")[1].split()[0])
    assert largest == pytest.approx(report.first.figures.max_abs, rel=1e-3)


@pytest.mark.parametrize("perm", [(0, 2, 3, 1), (0, 3, 1, 2), (1, 0, 2, 3)])
def test_alignments_undo_each_other(perm):
    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    stored = array.transpose(perm)
    found = {order: view for order, view in alignments(array.shape, stored) if np.array_equal(view, array)}
    assert len(found) == 1
    (order,) = found
    np.testing.assert_array_equal(restored(array, order, stored.shape), stored)


def test_a_flatten_in_the_wrong_order_is_no_alignment():
    array = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    assert not list(alignments((1, 24), array))
    mixed = array.transpose(0, 2, 3, 1).reshape(array.shape)
    assert not any(np.array_equal(view, array) for _, view in alignments(array.shape, mixed))


def test_integers_must_be_equal_and_infinities_alike():
    whole = np.arange(4)
    assert agree(whole, whole, None).passed
    assert not agree(whole, whole + 1, None).passed
    one = np.array([1.0, np.inf, np.nan], np.float32)
    assert agree(one, one.copy(), one.astype(np.float64)).passed
    assert not agree(one, np.array([1.0, -np.inf, np.nan], np.float32), one.astype(np.float64)).passed


@pytest.mark.slow
@pytest.mark.parametrize("model", ["digits_cnn", "bert"])
def test_faults_of_a_zoo_model_are_found_in_every_format(model, tmp_path):
    for name in ("measure", "planted", "workshop"):
        nets.load_benchmark(name)
    study = nets.load_benchmark("bisection")
    with sys.modules["workshop"].Workshop(model, tmp_path) as shop:
        found = [row for fault in FAULTS for row in study.rows(shop, fault, study.CANDIDATES) if row["applies"]]
    assert len(found) >= 18
    # A converter may fold the order of a flatten into the weight behind it: then that weight is what is wrong.
    allowed = {("NHWC read as NCHW", "tflite"): {"exact", "next"}}
    odd = [row for row in found if row["found"] not in allowed.get((row["fault"], row["candidate"]), {"exact"})]
    assert not odd
