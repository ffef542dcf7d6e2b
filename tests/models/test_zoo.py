"""Every reference architecture: structure, determinism, sane numbers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import xport.models
from xport.errors import UsageError
from xport.models.table import FACTORIES

PUBLISHED_PARAMETERS = {
    "mnist_mlp": 407_050,
    "alexnet": 61_100_840,
    "vgg19": 143_667_240,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "densenet121": 7_978_856,
    "vit": 86_567_656,
    "bert": 109_482_240,
    "gpt": 124_439_808,
}
OTHER_SIZES = {"batch": 3, "sequence": 11, "source": 4, "target": 9, "height": 45, "width": 70}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(model, sizes=None, seed=0):
    inputs = model.example_inputs(sizes, seed)
    with torch.no_grad():
        outputs = model.module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return outputs if isinstance(outputs, tuple) else (outputs,)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def same_state(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", xport.models.names())
def test_small_model_is_seeded(name):
    state = torch.get_rng_state()
    model = xport.models.build(name, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert same_state(model.module, xport.models.build(name, seed=3).module)
    other = xport.models.build(name, seed=4).module
    for (key, a), b in zip(model.module.named_parameters(), other.parameters(), strict=True):
        assert not torch.equal(a, b), key


@pytest.mark.parametrize("name", xport.models.names())
def test_small_model_runs_at_two_sizes_with_sane_activations(name):
    model = xport.models.build(name)
    assert not any(module.training for module in model.module.modules())
    assert parameters(model.module) <= 1_500_000
    spreads = []

    def record(module, inputs, output):
        if isinstance(output, torch.Tensor) and output.numel() > 1:
            assert torch.isfinite(output).all()
            spreads.append(float(output.std()))

    for module in model.module.modules():
        if not list(module.children()):
            module.register_forward_hook(record)
    for sizes in (None, OTHER_SIZES):
        outputs = run(model, sizes)
        assert len(outputs) == len(model.outputs)
        for output in outputs:
            assert torch.isfinite(output).all()
            assert output.double().std() > 1e-2
    assert min(spreads) > 1e-2
    assert max(spreads) < 10


@pytest.mark.parametrize("name", [name for name in xport.models.names() if name != "detector"])
def test_outputs_depend_on_the_inputs(name):
    model = xport.models.build(name)
    for output in run(model, {"batch": 6}):
        assert output.std(dim=0).mean() > 0.02 * output.std()


@pytest.mark.parametrize("name", xport.models.names())
def test_normalisation_is_not_the_default(name):
    defaults = {"running_mean": 0.0, "running_var": 1.0, "weight": 1.0, "bias": 0.0}
    norms = (torch.nn.BatchNorm2d, torch.nn.LayerNorm)
    for module in xport.models.build(name).module.modules():
        if isinstance(module, norms):
            for key, default in defaults.items():
                values = getattr(module, key, None)
                if values is not None:
                    assert (values != default).double().mean() > 0.9
                    assert values.std() > 1e-3


@pytest.mark.parametrize(("name", "count"), PUBLISHED_PARAMETERS.items())
def test_real_size_has_the_published_parameter_count(name, count):
    with torch.device("meta"):
        module = getattr(xport.models, name)(size="real")
    assert parameters(module) == count


@pytest.mark.parametrize("name", [name for name in xport.models.names() if name not in PUBLISHED_PARAMETERS])
def test_the_other_real_sizes_are_larger(name):
    with torch.device("meta"):
        factory = getattr(xport.models, name)
        assert parameters(factory()) > 2 * parameters(factory(size="small"))


def test_every_gain_is_of_a_parameter():
    for name in xport.models.names():
        module = xport.models.build(name).module
        paths = [path for path, _ in module.named_parameters()]
        assert all(any(path.endswith(end) for path in paths) for end in module.gains), name


def test_forward_arguments_are_the_inputs():
    for name in xport.models.names():
        model = xport.models.build(name)
        arguments = model.module.forward.__annotations__
        assert [key for key in arguments if key != "return"] == [spec.name for spec in model.inputs]
        assert "batch" in model.symbols


def test_example_inputs_are_seeded_and_sized():
    model = xport.models.build("bert")
    first = model.example_inputs({"batch": 50, "sequence": 3}, seed=1)
    again = model.example_inputs({"batch": 50, "sequence": 3}, seed=1)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first["input_ids"], model.example_inputs({"batch": 50, "sequence": 3})["input_ids"])
    assert {key: (array.shape, str(array.dtype)) for key, array in first.items()} == {
        "input_ids": ((50, 3), "int64"),
        "attention_mask": ((50, 3), "int64"),
    }
    assert first["attention_mask"].any(axis=1).all()
    assert set(np.unique(first["attention_mask"])) == {0, 1}


def test_bert_ignores_masked_tokens_and_gpt_the_future():
    bert, gpt = xport.models.build("bert").module, xport.models.build("gpt").module
    ids = torch.arange(10).reshape(2, 5)
    changed = ids.clone()
    changed[:, 4] = 77
    mask = torch.ones_like(ids)
    mask[:, 4] = 0
    with torch.no_grad():
        assert torch.equal(bert(ids, mask)[0][:, :4], bert(changed, mask)[0][:, :4])
        assert not torch.equal(bert(ids, mask)[1], bert(ids, torch.ones_like(ids))[1])
        assert torch.equal(gpt(ids)[:, :4], gpt(changed)[:, :4])
        assert not torch.equal(gpt(ids)[:, 4], gpt(changed)[:, 4])


def test_unknown_names_are_usage_errors():
    with pytest.raises(UsageError, match="resnet50"):
        xport.models.build("resnet51")
    with pytest.raises(UsageError, match="small, real"):
        xport.models.build("resnet50", size="huge")
    with pytest.raises(AttributeError):
        _ = xport.models.resnet51


def test_factories_are_attributes_of_the_package():
    assert set(FACTORIES) <= set(dir(xport.models))
    assert isinstance(xport.models.digits_cnn(), torch.nn.Module)


def test_importing_the_package_does_not_import_torch():
    code = "import sys, xport.models; xport.models.names(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
