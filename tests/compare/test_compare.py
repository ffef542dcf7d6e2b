"""A comparison from the model to the report, with real workers and stand-ins for conversions."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from referencing import Registry, Resource

import xport
from xport.errors import DestinationError, DeviceError, InputsError, ParityError, UnsupportedError, UsageError
from xport.validate.comparing import making
from xport.validate.comparing.results import Outcome
from xport.validate.matrix import surroundings

SCHEMAS = Path(__file__).parents[2] / "docs"


def compare(model, **options):
    return xport.compare(model, **{"contenders": "onnx,litert", "batch": [1, 2], "runs": 30, "starts": 1} | options)


def check_schema(report):
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    own, other = (json.loads((SCHEMAS / f"{name}.schema.json").read_text()) for name in ("compare", "validate"))
    registry = Registry().with_resource(other["$id"], Resource.from_contents(other))
    jsonschema.Draft202012Validator(own, registry=registry).validate(document)
    return document


def test_two_that_are_the_same(tiny, made_of, without_float64, tmp_path):
    made_of(tflite="")
    told = []
    report = compare(tiny, starts=2, progress=told.append, command="xport compare tiny.onnx")
    assert [(s.contender.name, s.outcome) for s in report] == [("onnx", Outcome.SOURCE), ("litert", Outcome.SAME)]
    assert (report.exit_code, report.compared, report.kept) == (0, True, "")
    assert [r.batch for r in report.rankings] == [1, 2]
    assert {r.against for r in report.rankings} == {"ONNX Runtime"}  # no eager, so the source
    assert report["litert"].convert_seconds >= 0
    assert report["onnx"].convert_seconds is None
    assert len(report["litert"].start_up.starts) == 2
    assert report["litert"].peak_memory > 1e6
    for word in ("LiteRT gives the same numbers", "at batch 1", "at batch 2", "after a start"):
        assert word in report.answer
    assert "making LiteRT" in told
    document = check_schema(report)
    assert [c["outcome"] for c in document["contenders"]] == ["the source", "same numbers"]
    assert len(document["contenders"][1]["latency"]) == 2
    assert document["command"] == "xport compare tiny.onnx"


def test_wrong_numbers_win_nothing(tiny, made_of, without_float64, tmp_path):
    made_of(tflite="nan")
    report = compare(tiny)
    assert report["litert"].outcome is Outcome.WRONG
    assert report["litert"].measured  # its time is told all the same
    assert report.exit_code == 3
    assert {r.fastest for r in report.rankings} == {"ONNX Runtime"}
    assert not any(r.tied for r in report.rankings)
    assert "LiteRT gives wrong numbers" in report.answer
    check_schema(report)


@pytest.mark.parametrize(("word", "reason"), [("crash@1", "crashed"), ("refuse@2", "not for me")])
def test_what_cannot_run_is_a_row_with_its_reason(tiny, made_of, without_float64, word, reason):
    made_of(tflite=word)
    report = compare(tiny)
    assert report["litert"].outcome is Outcome.NOT_RUN
    assert reason in report["litert"].reason
    assert "LiteRT (did not run" in report.answer
    assert all(r.fastest == "ONNX Runtime" for r in report.rankings)
    assert report["onnx"].measured
    check_schema(report)


def test_what_cannot_be_made_is_a_row_with_its_reason(tiny, made_of, without_float64):
    refused = UnsupportedError("Operators that\n LiteRT lacks: Foo.", "Leave it out.")
    made_of(tflite=refused, torchscript=ParityError("y differs by 900 floors."))
    report = compare(tiny, contenders=["litert", "torchscript", "keras"], starts=0)
    assert report["litert"].outcome is Outcome.NOT_MADE
    assert report["litert"].reason == "Operators that LiteRT lacks: Foo. Leave it out."
    assert report["torchscript"].outcome is Outcome.WRONG
    assert report["keras"].outcome is Outcome.NOT_MADE
    assert report["onnx"].start_up is None
    assert report.exit_code == 3
    assert "Nothing could be compared" in report.answer
    check_schema(report)


def test_alone_there_is_nothing_to_compare(tiny, made_of, without_float64):
    made_of(tflite=UnsupportedError("No."))
    report = compare(tiny, starts=0)
    assert (report.compared, report.exit_code) == (False, 1)


def refuse_to_convert(monkeypatch):
    def convert(*_, **__):
        raise AssertionError("time was spent on a conversion")

    monkeypatch.setattr(making, "convert", convert)


def test_what_does_not_fit_is_refused_before_conversions(save_tiny, tmp_path, monkeypatch):
    refuse_to_convert(monkeypatch)
    fixed = save_tiny(tmp_path / "fixed.onnx", batch=2)
    with pytest.raises(UsageError, match="no dynamic batch dimension"):
        compare(fixed, batch=5)
    np.savez(tmp_path / "wrong.npz", x=np.zeros((2, 9), np.float32))
    with pytest.raises(InputsError):
        compare(fixed, batch=(), input_data=tmp_path / "wrong.npz")
    with pytest.raises(InputsError, match="does not exist"):
        compare(fixed, batch=(), input_data=tmp_path / "missing.npz")
    with pytest.raises(UsageError, match="is an endpoint"):
        compare("http://127.0.0.1:8501/v1/models/net")
    with pytest.raises(UsageError, match="Unknown device"):
        compare(fixed, device="tpu")
    monkeypatch.setattr(surroundings, "cuda_devices", lambda: 0)
    with pytest.raises(DeviceError, match="no CUDA device"):
        compare(fixed, batch=(), device="cuda")
    with pytest.raises(UsageError, match="threads is 0"):
        compare(fixed, threads=0)


def test_artifacts_are_kept_where_they_are_wanted(tiny, made_of, without_float64, tmp_path, monkeypatch):
    made_of(tflite="")
    report = compare(tiny, starts=0, output=tmp_path / "kept")
    assert (tmp_path / "kept" / "model.tflite").is_file()
    assert report.kept == str(tmp_path / "kept")
    refuse_to_convert(monkeypatch)
    with pytest.raises(DestinationError, match="exists already"):
        compare(tiny, output=tmp_path / "kept")


def test_the_users_inputs_are_the_ones_that_are_run(tiny, made_of, without_float64, tmp_path):
    made_of(tflite="")
    np.savez(tmp_path / "mine.npz", x=np.ones((3, 4), np.float32))
    report = compare(tiny, batch=(), input_data=tmp_path / "mine.npz")
    assert [ranking.batch for ranking in report.rankings] == [3]
    assert {each.kind for each in report.validation.sets} == {"your inputs"}


def test_the_page_stands_alone(tiny, made_of, without_float64, tmp_path):
    pytest.importorskip("matplotlib")
    made_of(tflite="", savedmodel=UnsupportedError("Because of <b>."))
    report = compare(tiny, contenders="onnx,litert,tensorflow")
    report.write_page(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    for words in (
        "xport compare",
        "Contenders",
        "Start-up and memory",
        "told against ONNX Runtime",
        "Because of &lt;b&gt;.",
    ):
        assert words in text
    assert text.count('role="img" aria-label="') >= 5  # starts, memory, two batch sizes, throughput
    assert "<script" not in text
    assert "src=" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_the_command_line(tiny, made_of, without_float64, call, tmp_path):
    made_of(tflite="", savedmodel=UnsupportedError("No such operator."))
    options = ("--batch", "1", "--runs", "30", "--starts", "1")
    code, out, _ = call("compare", tiny, "--contenders", "onnx,litert,tensorflow", *options)
    assert code == 0
    for word in ("ONNX Runtime", "LiteRT", "TensorFlow: not made: No such operator.", "1 thread for every runtime"):
        assert word in out
    code, out, _ = call("compare", tiny, "--contenders", "litert", *options, "--json")
    assert code == 0
    assert json.loads(out)["compared"]
    code, _, err = call("compare", tiny, "--contenders", "tflight")
    assert code == 2
    assert "Did you mean litert?" in err
    code, out, _ = call("compare", tmp_path / "missing.onnx", "--json")
    assert code == 2
    assert "does not exist" in json.loads(out)["error"]["message"]
