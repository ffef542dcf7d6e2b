import importlib
import json
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch
from sklearn import linear_model
from torch import nn
from torch_samples import Net

from xport.convert.source import open_source
from xport.convert.torch_loading import load_module
from xport.errors import UnreadableModelError, UntrustedCodeError, UsageError, XportWarning

MODEL = """
import torch
from layers import WIDTH

class Net(torch.nn.Module):
    def __init__(self, features=4):
        super().__init__()
        self.linear = torch.nn.Linear(features, WIDTH)

    def forward(self, x):
        return torch.relu(self.linear(x))

def wide():
    return Net(5)

def broken():
    raise ValueError("no such size")

number = 3

def three():
    return 3
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    name = f"model_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODEL.replace("layers", f"{name}_layers"))
    (tmp_path / f"{name}_layers.py").write_text("WIDTH = 3\n")
    monkeypatch.chdir(tmp_path)
    return name


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(Net().state_dict(), path)
    return path


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def same_weights(module):
    assert torch.equal(module.linear.weight, Net().linear.weight)
    assert not module.training


def test_state_dict(code, weights):
    same_weights(load_module(open_source(weights, arch=f"{code}:Net")))


def test_safetensors(code, tmp_path):
    from safetensors.torch import save_file

    save_file(Net().state_dict(), tmp_path / "w.safetensors")
    same_weights(load_module(open_source(tmp_path / "w.safetensors", arch=f"{code}:Net")))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "lr": 0.1},
        lambda state: {"model": state},
        lambda state: {f"module.{k}": v for k, v in state.items()},
        lambda state: {"state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}},
    ],
)
def test_usual_wrappers(code, tmp_path, wrap):
    torch.save(wrap(Net().state_dict()), tmp_path / "w.pt")
    same_weights(load_module(open_source(tmp_path / "w.pt", arch=f"{code}:Net")))


def test_state_dict_of_old_pickle_format(code, tmp_path):
    torch.save(Net().state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    same_weights(load_module(open_source(tmp_path / "w.pt", arch=f"{code}:Net")))


def test_state_dict_without_arch(weights):
    with pytest.raises(UsageError, match=r"linear\.weight") as caught:
        load_module(open_source(weights))
    assert "--arch model:Net" in caught.value.fix
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("Absent", "has no 'Absent'"),
        ("number", "is a int"),
        ("three", "returned a int"),
        ("broken", "no such size"),
        ("wide", "size mismatch"),
    ],
)
def test_arch_that_does_not_work(code, weights, factory, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_module(open_source(weights, arch=f"{code}:{factory}"))
    assert caught.value.fix


def test_arch_in_a_missing_module(weights):
    with pytest.raises(UsageError, match="no Python module 'absent_module'"):
        load_module(open_source(weights, arch="absent_module:Net"))


def test_arch_whose_import_is_missing(tmp_path, weights, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import absent_package\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        load_module(open_source(weights, arch="needs_more:Net"))
    assert "pip install absent_package" in caught.value.fix


def test_keys_that_do_not_fit(code, tmp_path):
    torch.save({"linear.weight": torch.ones(3, 4), "other": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"1 missing \(linear\.bias\)\. 1 unexpected \(other\)"):
        load_module(open_source(tmp_path / "w.pt", arch=f"{code}:Net"))


def test_pickled_module_needs_trust(tmp_path):
    torch.save(Net(), tmp_path / "m.pt")
    with pytest.raises(UntrustedCodeError) as caught:
        load_module(open_source(tmp_path / "m.pt"))
    assert "--trust-pickle" in caught.value.fix
    same_weights(load_module(open_source(tmp_path / "m.pt", trust_pickle=True)))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_payload_does_not_run_without_trust(tmp_path, zipped, protocol):
    witness = tmp_path / "witness"
    torch.save(
        {"weights": Payload(witness)},
        tmp_path / "m.pt",
        _use_new_zipfile_serialization=zipped,
        pickle_protocol=protocol,
    )
    with pytest.raises(UsageError):
        load_module(open_source(tmp_path / "m.pt"))
    assert not witness.exists()


def test_bare_pickle_payload_does_not_run(tmp_path):
    witness = tmp_path / "witness"
    (tmp_path / "m.pt").write_bytes(pickle.dumps(Payload(witness), protocol=2))
    with pytest.raises(UsageError):
        load_module(open_source(tmp_path / "m.pt"))
    assert not witness.exists()


@pytest.mark.parametrize("content", [[1, 2], 3, "text", {}, {"epoch": 3}, torch.ones(2), {1: torch.ones(1)}])
def test_pickle_of_something_else(tmp_path, content):
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(UnreadableModelError, match="holds no model"):
        load_module(open_source(tmp_path / "m.pt"))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_module_by_pickle_itself(tmp_path, protocol):
    path = tmp_path / "m.pkl"
    module = nn.Linear(4, 3)
    path.write_bytes(pickle.dumps(module, protocol=protocol))
    with pytest.raises(UntrustedCodeError, match="trust-pickle"):
        load_module(open_source(path))
    loaded = load_module(open_source(path, trust_pickle=True))
    torch.testing.assert_close(loaded.weight, module.weight, rtol=0, atol=0)


@pytest.mark.parametrize("trust", [False, True])
def test_pickles_of_other_libraries_are_named(tmp_path, trust):
    path = tmp_path / "m.pkl"
    model = linear_model.LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])
    path.write_bytes(pickle.dumps(model))
    with pytest.raises(UnreadableModelError, match="an object of sklearn") as caught:
        load_module(open_source(path, trust_pickle=trust))
    assert "skl2onnx" in caught.value.fix


def test_weights_that_the_module_rounds_are_told(code, tmp_path):
    path = tmp_path / "w.pt"
    torch.save({n: v.double() for n, v in Net().state_dict().items()}, path)
    with pytest.warns(XportWarning, match=r"'linear.weight' as torch.float64.* 2 tensors are rounded"):
        load_module(open_source(path, arch=f"{code}:Net"))


def test_weights_that_the_module_widens_are_not_told(code, tmp_path):
    path = tmp_path / "w.pt"
    torch.save({n: v.half() for n, v in Net().state_dict().items()}, path)
    assert load_module(open_source(path, arch=f"{code}:Net")).linear.weight.dtype is torch.float32


def test_pickled_module_whose_code_is_gone(tmp_path, code, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    torch.save(importlib.import_module(code).Net(), tmp_path / "m.pt")
    (tmp_path / f"{code}.py").unlink()
    monkeypatch.delitem(sys.modules, code)
    importlib.invalidate_caches()
    with pytest.raises(UnreadableModelError, match="code cannot be found") as caught:
        load_module(open_source(tmp_path / "m.pt", trust_pickle=True))
    assert "--arch" in caught.value.fix


def test_truncated_old_pickle(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableModelError):
        load_module(open_source(tmp_path / "w.pt", arch="torch_samples:Net"))


def test_torchscript(tmp_path):
    torch.jit.script(Net()).save(str(tmp_path / "m.pt"))
    x = torch.randn(2, 4)
    assert torch.equal(load_module(open_source(tmp_path / "m.pt"))(x), Net()(x))


def test_broken_torchscript(tmp_path):
    torch.jit.script(Net()).save(str(tmp_path / "m.pt"))
    _rewrite(tmp_path / "m.pt", "data.pkl", lambda data: data[: len(data) // 2])
    with pytest.raises(UnreadableModelError, match="TorchScript"):
        load_module(open_source(tmp_path / "m.pt"))


def _program(path, module=None, inputs=None):
    torch.export.save(torch.export.export(module or Net(), inputs or (torch.ones(2, 4),)), path)
    return path


def _rewrite(path, ending, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert any(name.endswith(ending) for name in members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, change(data) if name.endswith(ending) else data)


def test_exported_program(tmp_path):
    x = torch.randn(2, 4)
    module = load_module(open_source(_program(tmp_path / "m.pt2")))
    assert torch.equal(module(x), Net()(x))
    assert torch.equal(module(x=x), Net()(x))


def test_broken_exported_program(tmp_path):
    path = _program(tmp_path / "m.pt2")
    _rewrite(path, "models/model.json", lambda data: data[:-9])
    with pytest.raises(UnreadableModelError, match=r"\.pt2"):
        load_module(open_source(path))


@pytest.mark.parametrize("record", ["data/sample_inputs/model.pt", "data/weights/weight_0"])
def test_exported_program_with_a_pickled_payload(tmp_path, record):
    witness = tmp_path / "witness"
    torch.save(Payload(witness), tmp_path / "payload")
    path = _program(tmp_path / "m.pt2")

    def use_pickle(data):
        config = json.loads(data)
        for entry in config["config"].values():
            entry["use_pickle"] = entry["use_pickle"] or entry["path_name"] == "weight_0"
        return json.dumps(config).encode()

    _rewrite(path, record, lambda _: (tmp_path / "payload").read_bytes())
    if record.endswith("weight_0"):
        _rewrite(path, "model_weights_config.json", use_pickle)
    with pytest.raises(UntrustedCodeError, match=record):
        load_module(open_source(path))
    assert not witness.exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"torch.ops.aten.relu.default"', '"torch.os.system"'),
        ('"torch.ops.aten.relu.default"', '"torch.ops.load_library"'),
        ('{"as_int": 3}', '{"as_expr": {"expr_str": "__import__(\'os\').system(\'true\')", "hint": null}}'),
        ('{"as_int": 3}', '{"as_expr": {"expr_str": "preview(1)", "hint": null}}'),
        ('"name": "x"', '"name": "x=print(1)"'),
    ],
)
def test_exported_program_with_code_in_its_text(tmp_path, old, new):
    path = _program(tmp_path / "m.pt2")

    def change(data):
        text = data.decode()
        assert old in text
        return text.replace(old, new).encode()

    _rewrite(path, "models/model.json", change)
    with pytest.raises(UntrustedCodeError, match="json has"):
        load_module(open_source(path))


@pytest.mark.parametrize(
    "module",
    [nn.LSTM(4, 3), nn.Sequential(nn.Conv1d(2, 3, 1), nn.GELU(), nn.BatchNorm1d(3)), nn.MultiheadAttention(4, 2)],
)
def test_honest_programs_pass_the_screen(tmp_path, module):
    inputs = {nn.LSTM: (torch.ones(5, 2, 4),), nn.Sequential: (torch.ones(3, 2, 4),)}
    args = inputs.get(type(module), (torch.ones(3, 2, 4),) * 3)
    load_module(open_source(_program(tmp_path / "m.pt2", module.eval(), args)))


def test_honest_size_arithmetic_passes_the_screen(tmp_path):
    dynamic = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    module = nn.Upsample(scale_factor=1.5, mode="bilinear")
    program = torch.export.export(module, (torch.ones(2, 3, 8, 6),), dynamic_shapes={"input": dynamic})
    torch.export.save(program, tmp_path / "m.pt2")
    assert load_module(open_source(tmp_path / "m.pt2"))(torch.ones(1, 3, 4, 2)).shape == (1, 3, 6, 3)


def test_zoo_model():
    assert not load_module(open_source("zoo:digits_cnn@small")).training


def test_a_live_module_stays_as_it_is():
    module = nn.Sequential(Net(), nn.Dropout()).train()
    module[0].eval()
    assert not any(child.training for child in load_module(open_source(module)).modules())
    assert (module.training, module[0].training, module[1].training) == (True, False, True)
    assert load_module(open_source(module[0])) is module[0]


def test_live_wrappers_are_taken_off():
    module = Net().eval()
    assert load_module(open_source(nn.DataParallel(module).eval())) is module
    assert load_module(open_source(torch.compile(module))) is module
