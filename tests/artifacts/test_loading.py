from __future__ import annotations

import numpy as np
import pytest

from xport import proof
from xport.artifact import Proof
from xport.errors import InputsError, UnreadableModelError, UsageError
from xport.formats import Format
from xport.loading import load


@pytest.mark.parametrize("file_format", [Format.ONNX, Format.TFLITE, Format.TORCHSCRIPT, Format.EXPORTED])
def test_one_callable_for_every_format(file_format, odd, odd_model):
    path = odd_model(file_format)
    torch_names = {"x:0": "x0", "input.1": "input1", "1": "one"}
    is_torch = file_format in (Format.TORCHSCRIPT, Format.EXPORTED)
    specs = ("x0:float32[batch,3]", "input1:float32[batch,3]", "one:float32[]")
    with load(str(path), inputs=specs if file_format is Format.TORCHSCRIPT else ()) as model:
        assert model.format is file_format
        assert model.proof is None
        for batch in (2, 7):
            inputs = odd.inputs(batch)
            given = {torch_names[k]: v for k, v in inputs.items()} if is_torch else inputs
            outputs = model(given)
            for name, expected in odd.outputs(inputs).items():
                np.testing.assert_array_equal(outputs[name], expected)
        with pytest.raises(InputsError):
            model({})
    model.close()


def test_the_proof_comes_with_the_model(odd, odd_model):
    path = odd_model(Format.TFLITE)
    made = Proof({"name": "m"}, ("onnx",), {})
    proof.attach(path, Format.TFLITE, odd.signature, made, [])
    with load(path, isolated=True) as model:
        assert model.proof == made
        assert model.signature == odd.signature


def test_a_live_module_and_a_state_dict(tmp_path):
    import torch

    module = torch.nn.Linear(3, 2).eval()
    x = np.ones((4, 3), np.float32)
    with load(module, example_inputs=(torch.ones(2, 3),)) as model:
        expected = model({"input": x})["output"]
    torch.save({"weight": module.weight, "bias": module.bias}, tmp_path / "weights.pt")
    (tmp_path / "linear_arch_for_loading.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(3, 2)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        with load(
            tmp_path / "weights.pt", arch="linear_arch_for_loading:build", inputs=["input:float32[batch,3]"]
        ) as model:
            np.testing.assert_array_equal(model({"input": x})["output"], expected)


def test_what_cannot_be_loaded(tmp_path):
    with pytest.raises(UnreadableModelError, match="does not exist"):
        load(tmp_path / "nothing.onnx")
    with pytest.raises(UsageError, match=r"Expected a path"):
        load(3)
