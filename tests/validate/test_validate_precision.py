"""Whole runs with candidates of lower precision."""

import importlib.util
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import xport
from xport.validate.results import Status

pytest.importorskip("torch")
HERE = Path(__file__).parent
SCHEMA = json.loads((HERE.parents[1] / "docs/validate.schema.json").read_text())
_spec = importlib.util.spec_from_file_location("reduced_models", HERE / "reduced_models.py")
reduced = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reduced)


def losses(report):
    """By artifact, the loss of its first output at the first batch size."""
    return {c.artifact: c.outputs[0].loss for c in reversed(report.cells) if c.outputs}


def statuses(report):
    return {cell.artifact: cell.status for cell in report.cells}


@pytest.mark.slow
def test_what_is_meant_to_be_lost_is_told_apart_from_what_is_not(tmp_path):
    net = reduced.save_convnet(tmp_path / "net.onnx")
    made = [
        reduced.save_narrow(net, tmp_path / "float16.onnx"),
        reduced.save_qdq(net, tmp_path / "int8.onnx"),
        reduced.save_dynamic(net, tmp_path / "dynamic.onnx"),
        reduced.save_qdq(net, tmp_path / "collapsed.onnx", scale=60.0),
        reduced.break_a_scale(tmp_path / "int8.onnx", tmp_path / "inconsistent.onnx", 3.0),
        reduced.save_convnet(tmp_path / "other.onnx", seed=7),
    ]
    report = xport.validate(net, *made, batch=[1, 8], runs=0, threads=1)
    fine = {"float16.onnx", "int8.onnx", "dynamic.onnx"}
    assert {name for name, status in statuses(report).items() if status is Status.PASSED} == fine, report.verdict
    found = losses(report)
    assert {name for name, loss in found.items() if loss is not None} == {*fine, "collapsed.onnx", "inconsistent.onnx"}
    assert found["float16.onnx"].sqnr_db > 60 > found["dynamic.onnx"].sqnr_db > 25
    assert found["int8.onnx"].sqnr_db > 20 > 12 > found["collapsed.onnx"].sqnr_db
    reasons = {cell.artifact: cell.reason for cell in report.failures}
    assert "The int8 model itself keeps" in reasons["collapsed.onnx"]
    assert "The runtime does not compute what the int8 model says" in reasons["inconsistent.onnx"]
    assert "rounding floor" in reasons["other.onnx"]  # float32 is judged as ever

    data = json.loads(json.dumps(report.to_json()))
    jsonschema.validate(data, SCHEMA)
    assert {a["name"]: a["precision"] for a in data["artifacts"]}["int8.onnx"] == "int8"
    assert "int8.onnx is int8 and keeps" in report.verdict
    from xport.validate.reports.junit import junit_xml

    root = ET.fromstring(junit_xml(report))
    names = {p.get("name") for p in root.findall("testsuite[@name='int8.onnx']/testcase/properties/property")}
    assert {"sqnr_db", "least_db", "top1"} <= names
    report.write_page(tmp_path / "page.html")
    assert "Intended loss" in (tmp_path / "page.html").read_text()


def test_the_users_own_limit_of_the_loss(tmp_path, call_validate):
    net = reduced.save_convnet(tmp_path / "net.onnx")
    reduced.save_qdq(net, tmp_path / "int8.onnx")
    code, out = call_validate(net, tmp_path / "int8.onnx", "--runs", "0", "--batch", "2", "--sqnr", "60")
    assert code == 3
    assert "expected at least 60 dB" in out


@pytest.fixture
def call_validate(capsys):
    from xport.cli.run import run

    def call(*arguments):
        code = run(["validate", *map(str, arguments)])
        return code, capsys.readouterr().out

    return call


def test_a_bfloat16_module_against_its_float32_self():
    import torch

    class Narrow(torch.nn.Module):
        """Takes and gives float32 and computes in bfloat16."""

        def __init__(self, dtype):
            super().__init__()
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)).to(dtype)
            self.dtype = dtype

        def forward(self, x):
            return self.net(x.to(self.dtype)).float()

    inputs = ["x:float32[batch,16]"]
    wide, narrow = Narrow(torch.float32).eval(), Narrow(torch.bfloat16).eval()
    report = xport.validate(wide, narrow, inputs=inputs, batch=4, runs=0, threads=1)
    assert report.passed, report.verdict
    (loss,) = [v.loss for c in report.cells for v in c.outputs]
    assert loss.precision == "bfloat16"
    assert 40 < loss.sqnr_db < 70
    assert narrow.net[0].weight.dtype is torch.bfloat16  # the caller's module is as it was
    with torch.no_grad():
        narrow.net[2].weight *= 1.3
    assert not xport.validate(wide, narrow, inputs=inputs, batch=4, runs=0, threads=1).passed


@pytest.mark.slow
def test_quantized_forms_of_a_model_of_the_zoo(tmp_path):
    onnx_path = xport.convert("zoo:digits_cnn@small", to="onnx", output=tmp_path / "digits.onnx").path
    folder = xport.convert("zoo:digits_cnn@small", to="savedmodel", output=tmp_path / "digits").path
    made = [reduced.save_qdq(onnx_path, tmp_path / "qdq.onnx"), reduced.save_dynamic(onnx_path, tmp_path / "dyn.onnx")]
    made += [
        reduced.save_tflite(folder, tmp_path / f"{kind}.tflite", kind, "image", (1, 8, 8))
        for kind in ("dynamic", "float16", "int8")
    ]
    report = xport.validate(onnx_path, *made, batch=[1, 8], runs=0, threads=1)
    assert report.passed, report.verdict
    found = losses(report)
    assert {name: loss.precision for name, loss in found.items()} == {
        "qdq.onnx": "int8",
        "dyn.onnx": "int8",
        "dynamic.tflite": "int8",
        "float16.tflite": "float16",
        "int8.tflite": "int8",
    }
    assert all(loss.no_meaning == "" and np.isfinite(loss.sqnr_db) for loss in found.values())


@pytest.mark.slow
def test_a_reference_of_every_format_is_run_in_float64(tmp_path):
    folder = xport.convert("zoo:digits_cnn@small", to="savedmodel", output=tmp_path / "digits").path
    lite = xport.convert("zoo:digits_cnn@small", to="tflite", output=tmp_path / "digits.tflite").path
    for reference, other in ((folder, lite), (lite, folder)):
        report = xport.validate(reference, other, batch=[1, 8], runs=0, threads=1)
        assert report.passed, report.verdict
        (verdict,) = {v.rule for c in report.cells for v in c.outputs}
        assert verdict == "floor", report.notes


@pytest.mark.slow
def test_a_keras_reference(tmp_path):
    import subprocess
    import sys

    code = """
import keras, sys
keras.utils.set_random_seed(0)
layers = [keras.Input((8, 8, 1), name="image"), keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.Flatten()]
model = keras.Sequential([*layers, keras.layers.Dense(10, name="logits")])
model.save(sys.argv[1])
model.export(sys.argv[2])
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "m.keras", tmp_path / "m"], check=True, capture_output=True)
    report = xport.validate(tmp_path / "m.keras", tmp_path / "m", batch=[2], runs=0, threads=1, names=NAMES)
    assert report.passed, report.verdict
    assert {v.rule for c in report.cells for v in c.outputs} <= {"floor", "exact"}, report.notes
    assert {c.placement.partition(":")[0] for c in report.cells} == {"traced nodes", "outputs and variables"}


NAMES = {"logits": "output_0"}
