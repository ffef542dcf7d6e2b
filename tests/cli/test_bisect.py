import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    """Where the fault is does not depend on the floor here, and importing PyTorch for it takes time."""
    from xport.convert.workers import Workers
    from xport.errors import XportError
    from xport.validate.matrix import answers

    call = Workers.call

    def without_torch(self, framework, *arguments, **options):
        if framework == "torch":
            raise XportError("no float64 in this test")
        return call(self, framework, *arguments, **options)

    monkeypatch.setattr(answers, "reference64", lambda *_, **__: None)
    monkeypatch.setattr(Workers, "call", without_torch)


@pytest.fixture
def models(tiny, save_tiny, tmp_path):
    """A model, a copy, and one that is off by a hundredth."""
    save_tiny(tmp_path / "copy.onnx")
    save_tiny(tmp_path / "wrong.onnx", scale=1.01)
    return tmp_path


def save(path, nodes, *, dtype=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, ["batch", 4])],
        [helper.make_tensor_value_info("y", dtype, ["batch", 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_copies_agree_and_a_wrong_weight_is_named(call, models):
    code, out, err = call("bisect", "tiny.onnx", "copy.onnx")
    assert code == 0, err
    assert "No value diverges; the outputs agree." in out
    code, out, err = call("bisect", "tiny.onnx", "wrong.onnx", "--json", "out.json", "--reproduce", "small")
    assert code == 3, err
    for words in ("made by MatMul mm", "MatMul's input 1 (w): differs in", "input     x agrees", "the outputs agree"):
        assert words in out
    found = json.loads((models / "out.json").read_text())
    assert found["divergences"][0]["operators"] == [{"name": "mm", "op": "MatMul", "module": ""}]
    assert [point["value"] for point in found["curve"]] == ["h", "y"]
    done = subprocess.run([sys.executable, "small/reproduce.py"], capture_output=True, text=True, check=True)
    assert "RMS of the difference relative to the reference: 0.01" in done.stdout


def test_json_alone_is_one_object(call_json, models):
    code, found = call_json("bisect", "tiny.onnx", "wrong.onnx")
    assert code == 3
    assert not found["agrees"]
    assert found["verdict"].startswith("The first value that diverges is h")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny.onnx", "none.onnx"], "does not exist"),
        (["tiny.onnx"], "Missing argument 'OTHER'"),
        (["tiny.onnx", "wrong.onnx", "--inputs", "none.npz"], "does not exist"),
        (["tiny.onnx", "wrong.onnx", "--inputs", "bad.npz"], "expected x:float32[batch,4]"),
        (["tiny.onnx", "wrong.onnx", "--map", "x"], "Malformed mapping"),
        (["tiny.onnx", "wrong.onnx", "--map", "z=x"], "The reference has no tensor 'z'"),
        (["tiny.onnx", "wrong.onnx", "--map", "x=z"], "No artifact calls 'x' 'z'"),
        (["tiny.onnx", "wrong.onnx", "--reproduce", "there"], "overwrites nothing"),
        (["tiny.onnx", "wrong.onnx", "--reproduce", "no/such"], "does not exist"),
        (["tiny.onnx", "wrong.onnx", "--json", "wrong.onnx"], "would write over"),
        (["tiny.onnx", "other.onnx"], "--map y=out"),
        (["random.onnx", "copy4.onnx"], "is random by itself"),
        (["copy4.onnx", "random.onnx"], "is random by itself"),
        (["strings.onnx", "strings.onnx"], "takes or gives strings"),
    ],
)
def test_wrong_usage_exits_with_2(call, models, save_tiny, arguments, words):
    (models / "there").mkdir()
    np.savez("bad.npz", x=np.ones((2, 5), np.float32))
    save_tiny(models / "other.onnx", names=("in 1", "out"))
    save(
        "random.onnx", [helper.make_node("RandomNormalLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    )
    save("copy4.onnx", [helper.make_node("Relu", ["x"], ["y"])])
    save("strings.onnx", [helper.make_node("Identity", ["x"], ["y"])], dtype=TensorProto.STRING)
    code, _, err = call("bisect", *arguments)
    assert code == 2, err
    assert words in err
    assert not list((models / "there").iterdir())


def test_names_are_mapped(call, models, save_tiny):
    save_tiny(models / "other.onnx", names=("in 1", "out"))
    code, out, err = call("bisect", "tiny.onnx", "other.onnx", "--map", "x=in 1", "--map", "y=out")
    assert code == 0, err
    assert "names as you mapped them: x = in 1, y = out" in out
