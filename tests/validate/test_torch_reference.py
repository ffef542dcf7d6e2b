import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from xport.convert.source import open_source  # noqa: E402
from xport.convert.torch_loading import load_module  # noqa: E402
from xport.convert.torch_signature import call_module, derive_signature  # noqa: E402
from xport.validate.reference import reference64  # noqa: E402
from xport.validate.torch_bounds import table_bounds  # noqa: E402


class Stubborn(torch.nn.Module):
    """Asks for single precision by name wherever that can be done."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
        self.lstm = torch.nn.LSTM(8, 8, batch_first=True)

    def forward(self, x):
        h = self.linear(x.float()) + torch.arange(8, dtype=torch.float32) * 0.1
        y, _ = self.lstm(h)
        z = torch.zeros(y.shape, dtype=torch.float32)
        z[:, 0] = y[:, 0]
        z += torch.softmax(y, -1, dtype=torch.float32)
        return z


@pytest.fixture(scope="module", params=["live", "traced", "frozen", "exported"])
def source(request, tmp_path_factory):
    torch.manual_seed(0)
    module, example = Stubborn().eval(), torch.randn(2, 5, 8)
    path = tmp_path_factory.mktemp("models") / "m.pt2"
    if request.param == "live":
        return open_source(module, inputs=["x:float32[batch,5,8]"])
    if request.param == "exported":
        batch = torch.export.Dim("batch")
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=({0: batch},)), path)
        return open_source(path)
    script = torch.jit.trace(module, example)
    torch.jit.save(torch.jit.freeze(script) if request.param == "frozen" else script, path)
    return open_source(path, inputs=["x:float32[batch,5,8]"])


def test_the_whole_model_runs_in_double_precision(source, monkeypatch):
    # In this process: a worker would import PyTorch again for every kind of source.
    from xport.validate import torch_reference

    module = load_module(source)
    signature = derive_signature(source, module)
    inputs = {signature.inputs[0].name: np.random.default_rng(0).standard_normal((3, 5, 8)).astype(np.float32)}
    (narrow,) = call_module(module, signature, inputs).values()
    before = copy.deepcopy(list(module.state_dict().values())) if source.live else None
    wide_module = torch_reference.wide_module(source, signature)
    (wide,) = torch_reference.run_wide(wide_module, signature, inputs).values()
    assert wide.dtype == np.float64
    error = np.sqrt(np.mean((narrow - wide) ** 2)) / np.sqrt(np.mean(wide**2))
    assert 1e-9 < error < 1e-6
    assert not np.array_equal(wide, wide.astype(np.float32))
    if before is not None:
        assert all(torch.equal(a, b) for a, b in zip(before, module.state_dict().values(), strict=True))
    assert torch.get_default_dtype() is torch.float32


def test_a_file_is_run_in_a_worker_and_twice_gives_the_same(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(4, 3)), tmp_path / "m.pt")
    source = open_source(tmp_path / "m.pt", inputs=["input:float32[batch,4]"])
    signature = derive_signature(source)
    runner = reference64(source, signature)
    inputs = {"input": np.ones((2, 4), np.float32)}
    (first,), (second,) = runner.run(inputs).values(), runner.run(inputs).values()
    runner.close()
    runner.close()
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, second)


def test_an_onnx_model_has_a_float64_result_too(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    from xport.convert.onnx_signature import read_signature
    from xport.validate import torch_reference

    weights = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    source, signature = open_source(tmp_path / "m.onnx"), read_signature(tmp_path / "m.onnx")
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    wide = torch_reference.run_wide(torch_reference.wide_module(source, signature), signature, {"x": x})
    np.testing.assert_allclose(wide["y"], np.tanh(x.astype(np.float64) @ weights.astype(np.float64)), rtol=1e-14)


class Lookups(torch.nn.Module):
    """Two tables, one with an offset, one input that looks nothing up, one that is gathered twice."""

    def __init__(self):
        super().__init__()
        self.words, self.places = torch.nn.Embedding(50, 4), torch.nn.Embedding(12, 4)
        self.small = torch.nn.Parameter(torch.randn(7, 4))

    def forward(self, ids, positions, kinds, mask):
        total = self.words(ids) + self.places(positions + 2) + self.small[kinds] + self.words(kinds)
        return total * mask.unsqueeze(-1)


def test_table_bounds_watch_the_model_look_things_up():
    specs = [f"{name}:int64[batch,time]" for name in ("ids", "positions", "kinds", "mask")]
    source = open_source(Lookups().eval(), inputs=specs)
    found = table_bounds(source, derive_signature(source))
    assert found == {"ids": (0, 50), "positions": (0, 10), "kinds": (0, 7)}
