"""What every bundle has in common: what may come in, what is refused, and that nothing half-made stays."""

from __future__ import annotations

import json
import shutil

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xport.convert.api import convert
from xport.errors import DestinationError, ParityError, UnreadableModelError, UsageError
from xport.serve.packaging.api import package
from xport.serve.packaging.bundle import MANIFEST, read_bundle
from xport.serve.packaging.models import parse_models


def tamper(path, copy):
    """The model with one weight changed and its proof as it was."""
    model = onnx.load(path)
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight.flat[0] *= 1.01
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, model.graph.initializer[0].name))
    onnx.save(model, copy)
    return copy


def test_a_bundle_says_what_is_in_it(tf_bundle):
    manifest = json.loads((tf_bundle.path / MANIFEST).read_text())
    (entry,) = manifest["models"]
    assert (entry["name"], entry["version"], entry["path"]) == ("tiny", 1, "models/tiny/1")
    assert entry["verified"] is True
    assert entry["golden_cases"] >= 2
    assert entry["signature"]["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}]
    assert "models/tiny/1/saved_model.pb" in manifest["files"]
    assert not list(tf_bundle.path.parent.glob(".*")), "the staging folder is gone"


def test_no_path_of_this_machine_is_in_a_bundle(tf_bundle):
    for file in tf_bundle.path.rglob("*"):
        if file.is_file() and "models" not in file.relative_to(tf_bundle.path).parts:
            assert str(tf_bundle.path.parent) not in file.read_text(), file


def test_everybody_may_read_it(tf_bundle):
    for path in (tf_bundle.path, *tf_bundle.path.rglob("*")):
        assert path.stat().st_mode & 0o004, path


def test_a_model_that_was_changed_after_it_was_proven_is_refused(proven, tmp_path):
    changed = tamper(proven("onnx"), tmp_path / "changed.onnx")
    with pytest.raises(ParityError, match=r"changed\.onnx no longer gives"):
        package([changed], "torchserve", tmp_path / "out", allow_unverified=True)
    assert [p.name for p in tmp_path.iterdir()] == ["changed.onnx"]


def test_an_unproven_model_is_refused_unless_allowed(save_tiny, tmp_path):
    model = save_tiny(tmp_path / "foreign.onnx")
    with pytest.raises(UsageError, match="carries no proof") as caught:
        package([model], "torchserve", tmp_path / "out")
    assert "--allow-unverified" in caught.value.fix
    assert not (tmp_path / "out").exists()
    bundle = package([model], "torchserve", tmp_path / "out", allow_unverified=True)
    assert bundle.models[0]["verified"] is False
    assert "**no**" in (bundle.path / "README.md").read_text()


def test_a_model_converted_without_verification_is_refused(save_tiny, tmp_path):
    made = convert(save_tiny(tmp_path / "m.onnx"), "onnx", tmp_path / "unproven.onnx", verify=False)
    with pytest.raises(UsageError, match="--no-verify"):
        package([made.path], "torchserve", tmp_path / "out")


def test_what_is_there_is_replaced_only_if_it_is_a_bundle_and_asked_for(proven, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(DestinationError):
            package([proven("onnx")], "torchserve", out, overwrite=force)
    assert (out / "precious.txt").read_text() == "mine"
    (out / "precious.txt").unlink()
    out.rmdir()
    package([proven("onnx")], "torchserve", out)
    with pytest.raises(DestinationError, match="exists already"):
        package([proven("onnx")], "torchserve", out)
    (out / "left_over").write_text("old")
    package([proven("onnx")], "torchserve", out, overwrite=True)
    assert not (out / "left_over").exists()


def test_a_bundle_that_was_changed_is_told(tf_bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tf_bundle.path, copy)
    read_bundle(copy).check()
    (copy / "config" / "batching.config").write_text("")  # tuning is allowed
    read_bundle(copy).check()
    with (copy / "models/tiny/1/saved_model.pb").open("ab") as file:
        file.write(b"\0")
    (copy / "models/tiny/1/extra").write_text("new")
    with pytest.raises(ParityError, match=r"models/tiny/1/extra, models/tiny/1/saved_model\.pb"):
        read_bundle(copy).check()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"bundle_version": 99}', '{"bundle_version": 1, "models": []}'])
def test_a_broken_manifest_is_told(text, tmp_path):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UnreadableModelError, match="not a bundle"):
        read_bundle(tmp_path)


def test_rows_that_depend_on_one_another_are_not_batched(tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    shape = ["batch", 4]
    graph = helper.make_graph(
        nodes,
        "centred",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "centred.onnx")
    made = convert(tmp_path / "centred.onnx", "onnx", tmp_path / "proven.onnx")
    (entry,) = package([made.path], "torchserve", tmp_path / "out").models
    assert entry["batching"] is False
    assert "rows depend on one another" in entry["batching_reason"]


def test_a_fixed_first_dimension_is_not_batched(save_tiny, tmp_path):
    made = convert(save_tiny(tmp_path / "m.onnx", batch=2), "onnx", tmp_path / "proven.onnx")
    (entry,) = package([made.path], "torchserve", tmp_path / "out").models
    assert (entry["batching"], "dynamic" in entry["batching_reason"]) == (False, True)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a/net.onnx"], [("net", 1, "a/net.onnx")]),
        (["zoo:mlp@small"], [("mlp", 1, "zoo:mlp@small")]),
        (["left=a.onnx", "right=a.onnx"], [("left", 1, "a.onnx"), ("right", 1, "a.onnx")]),
    ],
)
def test_names_come_from_the_user_or_the_path(texts, expected):
    assert [(w.name, w.version, w.source) for w in parse_models(texts, 1)] == expected


def test_numbered_folders_are_versions(tmp_path):
    for number in ("3", "12", "notes"):
        (tmp_path / "net" / number).mkdir(parents=True)
        (tmp_path / "net" / number / "saved_model.pb").write_bytes(b"x")
    assert [(w.name, w.version) for w in parse_models([tmp_path / "net"], 1)] == [("net", 3), ("net", 12)]
    assert [(w.name, w.version) for w in parse_models([tmp_path / "net" / "12"], 5)] == [("net", 5)]


@pytest.mark.parametrize(
    ("texts", "words"), [(["a/m.onnx", "b/m.onnx"], "would both be"), (["my model.onnx"], "cannot be a model's name")]
)
def test_names_that_cannot_be_are_told(texts, words):
    with pytest.raises(UsageError, match=words) as caught:
        parse_models(texts, 1)
    assert "xport package" in caught.value.fix


def test_an_option_of_another_engine_is_refused(proven, tmp_path):
    with pytest.raises(UsageError, match="--storage-uri means nothing to --engine torchserve"):
        package([proven("onnx")], "torchserve", tmp_path / "out", options={"storage_uri": "s3://b/p"})
    with pytest.raises(UsageError, match="There is no engine 'triton'"):
        package([proven("onnx")], "triton", tmp_path / "out")
