import pytest
import torch
from torch import nn
from torch_samples import Branching, Net, TwoInputs, arrays, same

from xport.convert import torch_to_exported, torch_to_torchscript
from xport.convert.source import open_source
from xport.convert.torch_loading import load_module
from xport.convert.torch_signature import call_module, derive_signature
from xport.errors import ConversionError

STEPS = {"torchscript": torch_to_torchscript.convert, "exported": torch_to_exported.convert}


def check(source, step, path, *settings):
    module = load_module(source)
    signature = derive_signature(source, module)
    step(source, path, signature, {})
    names = [spec.name for spec in signature.outputs]
    again = open_source(path, inputs=signature.inputs, output_names=names)
    result = load_module(again)
    assert derive_signature(again, result) == signature
    for sizes in settings:
        inputs = arrays(signature, **sizes)
        same(call_module(module, signature, inputs), call_module(result, signature, inputs))
    return result


@pytest.mark.parametrize("target", STEPS)
def test_module(tmp_path, target):
    source = open_source(Net(), inputs=["x:float32[batch,4]"])
    check(source, STEPS[target], tmp_path / "m", {"batch": 1}, {"batch": 5})


@pytest.mark.parametrize("target", STEPS)
def test_containers_are_kept(tmp_path, target):
    class Plain(TwoInputs):
        def forward(self, ids, scale, bias=None):
            result = super().forward(ids, scale, bias)
            return {name: tensor for name, tensor in result.items() if tensor is not None}

    source = open_source(Plain(), inputs=["ids:int64[batch,seq]", "scale:float32[batch]"])
    result = check(source, STEPS[target], tmp_path / "m", {"batch": 1, "seq": 3}, {"batch": 5, "seq": 4})
    returned = result(ids=torch.ones(2, 3, dtype=torch.int64), scale=torch.ones(2))
    assert list(returned) == ["hidden", "pooled"]


@pytest.mark.parametrize("target", STEPS)
def test_weights_keep_their_names(tmp_path, target):
    source = open_source(nn.Sequential(Net(), nn.BatchNorm1d(3)), inputs=["input:float32[batch,4]"])
    module = check(source, STEPS[target], tmp_path / "m", {"batch": 3})
    names = {name.removeprefix("program.") for name, _ in module.named_parameters()}
    assert {"0.linear.weight", "1.bias"} <= names


def test_torchscript_is_copied(tmp_path):
    torch.jit.script(Branching()).save(str(tmp_path / "m.pt"))
    source = open_source(tmp_path / "m.pt", inputs=["x:float32[n]"])
    check(source, STEPS["torchscript"], tmp_path / "copy.pt", {"n": 1}, {"n": 5})


def test_a_trace_that_fixes_sizes_is_not_used(tmp_path):
    result = check(
        open_source(Branching(), inputs=["x:float32[n]"]), STEPS["torchscript"], tmp_path / "m", {"n": 1}, {"n": 5}
    )
    assert torch.equal(result(-torch.ones(2)), Branching()(-torch.ones(2)))


def test_dynamic_recurrent_net(tmp_path):
    source = open_source(nn.GRU(3, 4, batch_first=True), inputs=["input:float32[batch,seq,3]"])
    check(source, STEPS["torchscript"], tmp_path / "m", {"batch": 1, "seq": 1}, {"batch": 5, "seq": 6})
    with pytest.raises(ConversionError, match=r"torch\.export failed"):
        STEPS["exported"](source, tmp_path / "n", derive_signature(source), {})


class Arithmetic(nn.Module):
    def forward(self, x, flags):
        half = x[:, : x.shape[1] // 2]
        table = torch.arange(x.shape[1], dtype=torch.float32)
        return x.reshape(-1, 2, 4) + 1, half.clone(), flags & (x.sum(1) > 0), x + table


def test_a_program_keeps_its_dynamic_sizes(tmp_path):
    given = open_source(Arithmetic(), inputs=["x:float32[batch,8]", "flags:bool[batch]"])
    STEPS["exported"](given, tmp_path / "m.pt2", derive_signature(given), {})
    source = open_source(tmp_path / "m.pt2", inputs=given.inputs)
    check(source, STEPS["torchscript"], tmp_path / "m.pt", {"batch": 1}, {"batch": 5})


@pytest.mark.parametrize("name", ["bert", "unet"])
def test_zoo_from_a_program(tmp_path, name):
    given = open_source(f"zoo:{name}@small")
    signature = derive_signature(given)
    STEPS["exported"](given, tmp_path / "m.pt2", signature, {})
    source = open_source(tmp_path / "m.pt2", inputs=signature.inputs, output_names=[s.name for s in signature.outputs])
    sizes = {"batch": 3, "sequence": 6, "height": 64, "width": 32}
    check(source, STEPS["torchscript"], tmp_path / "m.pt", sizes)


def test_branches_on_values_are_compiled_not_traced(tmp_path):
    class Sign(nn.Module):
        def forward(self, x):
            if x.sum() > 1000:
                return x * 2
            return x

    result = check(open_source(Sign(), inputs=["x:float32[n]"]), STEPS["torchscript"], tmp_path / "m", {"n": 2})
    assert torch.equal(result(torch.full((2,), 900.0)), torch.full((2,), 1800.0))


def test_traced_torchscript_to_exported(tmp_path):
    torch.jit.trace(Net(), torch.ones(2, 4)).save(str(tmp_path / "m.pt"))
    source = open_source(tmp_path / "m.pt", inputs=["x:float32[n,4]"])
    result = check(source, STEPS["exported"], tmp_path / "m.pt2", {"n": 1}, {"n": 5})
    assert "program.linear.weight" in result.state_dict()


def test_scripted_control_flow_to_exported_is_refused(tmp_path):
    torch.jit.script(Branching()).save(str(tmp_path / "m.pt"))
    source = open_source(tmp_path / "m.pt", inputs=["x:float32[n]"])
    with pytest.raises(ConversionError, match="converter failed"):
        STEPS["exported"](source, tmp_path / "n", derive_signature(source), {})


def test_size_checks_do_not_keep_a_module_from_being_traced(tmp_path):
    class Limited(nn.Module):
        def forward(self, x):
            if x.shape[0] > 100:
                raise ValueError("too long")
            return x[: x.shape[0]] + 1

    result = check(open_source(Limited(), inputs=["x:float32[n]"]), STEPS["torchscript"], tmp_path / "m", {"n": 7})
    assert "prim::If" not in str(result.inlined_graph)


def test_own_operators_stay_out_of_torchscript(tmp_path):
    source = open_source("zoo:detector@small")
    with pytest.raises(ConversionError, match="operator of xport's own"):
        STEPS["torchscript"](source, tmp_path / "m", derive_signature(source), {})


def test_the_live_module_is_left_alone(tmp_path):
    module = Net()
    before = {**module.__dict__}
    source = open_source(module, inputs=["x:float32[batch,4]"])
    for step in STEPS.values():
        check(source, step, tmp_path / "m", {"batch": 2})
    assert type(module) is Net
    assert set(module.__dict__) == set(before)
    assert all(parameter.requires_grad for parameter in module.parameters())
