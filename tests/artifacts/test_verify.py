from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from xport import carriers, proof
from xport.artifact import Proof
from xport.errors import ParityError, UsageError
from xport.formats import Format
from xport.validate.parity import judge
from xport.verify import verify


def attach(path, file_format, odd, *, batches=(1, 4)):
    cases = [(odd.inputs(n, seed=n), odd.outputs(odd.inputs(n, seed=n))) for n in batches]
    expected = [outputs for _, outputs in cases]
    parity = [verdict.to_json() for verdict in judge(expected, expected, expected)]
    made = Proof({"name": "model.pt"}, ("onnx",), {"xport-ml": "0"}, parity=parity, verified=True)
    proof.attach(path, file_format, odd.signature, made, cases)


@pytest.mark.parametrize("file_format", [Format.ONNX, Format.SAVEDMODEL, Format.TFLITE])
def test_an_untouched_artifact_passes(file_format, odd, odd_model, tf_worker):
    path = odd_model(file_format)
    attach(path, file_format, odd)
    report = verify(path, worker=tf_worker if file_format is Format.SAVEDMODEL else None)
    assert report.passed
    assert report.cases == 2
    assert [v.output for v in report.verdicts] == ["z", "a"]
    report.check()
    assert json.loads(json.dumps(report.to_json()))["passed"] is True


def test_changed_weights_fail(odd, odd_model):
    path = odd_model(Format.ONNX)
    attach(path, Format.ONNX, odd)
    model = onnx.load(path)
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[1, 1] *= 1.01
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    onnx.save(model, path)
    report = verify(path)
    assert not report.passed
    assert [v.output for v in report.verdicts if not v.passed] == ["z"]
    with pytest.raises(ParityError, match="Output 'z'"):
        report.check()


def test_an_artifact_without_a_proof(odd_model):
    with pytest.raises(UsageError, match="carries no proof") as caught:
        verify(odd_model(Format.TFLITE))
    assert "xport convert" in caught.value.fix


def test_an_artifact_without_golden_inputs(odd, odd_model):
    path = odd_model(Format.TFLITE)
    attach(path, Format.TFLITE, odd, batches=())
    with pytest.raises(UsageError, match="no golden inputs"):
        verify(path)


def test_broken_golden_inputs(odd, odd_model):
    path = odd_model(Format.TFLITE)
    attach(path, Format.TFLITE, odd)
    members = carriers.read_members(path, Format.TFLITE)
    carriers.write_members(path, Format.TFLITE, {**members, "golden.npz": members["golden.npz"][:-40]})
    with pytest.raises(UsageError, match="golden inputs and outputs are broken"):
        verify(path)


def test_the_runtimes_numbers_are_compared_not_trusted(odd, odd_model):
    path = odd_model(Format.TFLITE)
    inputs = odd.inputs(3)
    outputs = {**odd.outputs(inputs), "a": np.float32(1e6)}
    proof.attach(path, Format.TFLITE, odd.signature, Proof({}, (), {}), [(inputs, outputs)])
    assert [v.output for v in verify(path).verdicts if not v.passed] == ["a"]
