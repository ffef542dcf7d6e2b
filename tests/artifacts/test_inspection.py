from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xport import proof
from xport.artifact import Proof
from xport.errors import UnreadableModelError, UntrustedCodeError, UsageError, XportWarning
from xport.formats import Format
from xport.inspection import inspect

ALL = [Format.ONNX, Format.SAVEDMODEL, Format.TFLITE, Format.TORCHSCRIPT, Format.EXPORTED]


@pytest.mark.parametrize("file_format", ALL)
def test_what_every_format_tells(file_format, odd_model):
    path = odd_model(file_format)
    found = inspect(path)
    assert found.format is file_format
    assert found.parameters == 6
    assert found.size >= (path.stat().st_size if path.is_file() else 1000)
    assert found.proof is None
    assert sum(found.operators.values()) >= 3
    matmul = {
        Format.ONNX: "MatMul",
        Format.SAVEDMODEL: "MatMul",
        Format.TFLITE: "FULLY_CONNECTED",
        Format.TORCHSCRIPT: "aten::matmul",
        Format.EXPORTED: "aten.matmul.default",
    }
    assert found.operators[matmul[file_format]] == 1
    assert list(found.operators.values()) == sorted(found.operators.values(), reverse=True)
    json.dumps(found.to_json())


@pytest.mark.parametrize("file_format", ALL)
def test_the_proof_is_shown(file_format, odd, odd_model):
    path = odd_model(file_format)
    made = Proof({"name": "m"}, ("onnx",), {"onnx": "1"})
    proof.attach(path, file_format, odd.signature, made, [(odd.inputs(2), odd.outputs(odd.inputs(2)))])
    if file_format in (Format.TORCHSCRIPT, Format.EXPORTED):
        found = inspect(path)
    else:
        found = inspect(path)
        assert found.dynamic_dimensions == {
            "batch": ["input x:0[0]", "input input.1[0]", "output z[0]"],
        }
    assert found.proof == made
    assert found.golden_cases == 1
    assert found.signature == odd.signature
    assert found.to_json()["proof"]["route"] == ["onnx"]


def test_a_scripted_module_does_not_tell_its_shapes(odd_model):
    found = inspect(odd_model(Format.TORCHSCRIPT))
    assert found.signature is None
    assert "--input" in found.notes[0]
    assert found.dynamic_dimensions == {}
    specs = ["x0:float32[batch,3]", "input1:float32[batch,3]", "one:float32[]"]
    again = inspect(odd_model(Format.TORCHSCRIPT), inputs=specs)
    assert [spec.name for spec in again.signature.outputs] == ["z", "a"]


def test_onnx_details(tmp_path):
    value = helper.make_tensor_value_info
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["b"]), helper.make_node("Thing", ["b"], ["c"], domain="my.domain")],
        "branch",
        [],
        [value("c", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((2, 2), np.float32), "inner")],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)],
        "g",
        [value("flag", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, ["n", None])],
        [value("y", TensorProto.FLOAT, ["n", None])],
        [
            numpy_helper.from_array(np.ones((4, 4), np.float32), "w"),
            numpy_helper.from_array(np.arange(9), "shape"),
            numpy_helper.from_array(np.float32(1).reshape(()), "epsilon"),
        ],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("my.domain", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "m.onnx")
    found = inspect(tmp_path / "m.onnx")
    assert found.operators == {"Relu": 2, "my.domain::Thing": 2, "If": 1}
    assert found.opsets == {"ai.onnx": 21, "my.domain": 3}
    assert found.parameters == 16 + 4 + 4  # wide integers and scalars are not weights
    assert found.details["subgraphs"] == 2
    assert found.dynamic_dimensions["n"] == ["input x[0]", "output y[0]"]


def test_onnx_external_data_counts(odd_model):
    path = odd_model(Format.ONNX)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    found = inspect(path)
    assert found.size == path.stat().st_size + (path.parent / "w.bin").stat().st_size
    assert found.parameters == 6


def test_savedmodel_details(odd_model):
    found = inspect(odd_model(Format.SAVEDMODEL))
    assert found.details["signatures"] == ["serving_default"]
    assert found.details["tags"] == ["serve"]
    assert "SaveV2" not in found.operators  # what saves checkpoints is not the model
    assert "VarHandleOp" in found.operators


def test_tflite_details(tensorflow_models):
    found = inspect(tensorflow_models / "types.tflite")
    assert found.operators["LOGICAL_NOT"] == 1
    assert found.details["subgraphs"]["main"] == found.operators
    dtypes = {spec.name: spec.dtype for spec in found.signature.inputs}
    assert dtypes == {"h": "float16", "q": "bool", "i": "int64", "bf": "bfloat16"}


def test_pytorch_files(tmp_path):
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    found = inspect(tmp_path / "weights.pt")
    assert found.parameters == 3 * 4 + 4 + 4 * 2 + 2
    assert found.signature is None
    assert "--arch" in found.notes[0]
    torch.save(module, tmp_path / "whole.pt")
    with pytest.raises(UntrustedCodeError):
        inspect(tmp_path / "whole.pt")
    found = inspect(tmp_path / "whole.pt", trust_pickle=True, inputs=["input:float32[n,3]"])
    assert found.operators == {"Linear": 2, "ReLU": 1}
    assert found.signature.outputs[0].shape == ("n", 2)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UnreadableModelError):
        inspect(tmp_path / "list.pt")


@pytest.mark.parametrize("file_format", ALL)
def test_broken_files(file_format, odd_model):
    path = odd_model(file_format)
    file = path / "saved_model.pb" if path.is_dir() else path
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableModelError):
        inspect(path)


def test_hostile_tflite_bytes_never_escape_as_other_errors(odd_model):
    path = odd_model(Format.TFLITE)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(8, len(whole), 6):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            inspect(path)
        except (UnreadableModelError, XportWarning):
            continue


def test_keras_is_not_looked_into(tmp_path):
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UsageError, match="cannot look into"):
        inspect(tmp_path / "m.h5")


@pytest.mark.parametrize("file_format", [Format.ONNX, Format.SAVEDMODEL, Format.TFLITE])
def test_no_framework_is_loaded_here(file_format, odd_model):
    code = (
        "import sys; from xport.inspection import inspect; inspect(sys.argv[1]);"
        "print([m for m in ('torch', 'tensorflow', 'onnxruntime') if m in sys.modules])"
    )
    path = str(odd_model(file_format))
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_copies_do_not_matter(odd_model, tmp_path):
    path = odd_model(Format.SAVEDMODEL)
    shutil.copytree(path, tmp_path / "7")
    assert inspect(tmp_path / "7").operators == inspect(path).operators


def test_a_model_of_the_zoo_is_no_file():
    with pytest.raises(UsageError, match="xport convert zoo:digits_cnn --to onnx"):
        inspect("zoo:digits_cnn")
