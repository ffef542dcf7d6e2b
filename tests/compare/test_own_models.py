"""Models as people have them, on every runtime, with real conversions."""

import numpy as np
import pytest

import xport
from xport.validate.comparing.contenders import CONTENDERS
from xport.validate.comparing.results import Outcome

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class Taste(torch.nn.Module):
    """A vector of numbers and an integer that looks something up."""

    def __init__(self):
        super().__init__()
        self.rows = torch.nn.Embedding(11, 6)
        self.first = torch.nn.Linear(4 + 6, 16)
        self.last = torch.nn.Linear(16, 3)

    def forward(self, numbers, which):
        return self.last(torch.relu(self.first(torch.cat([numbers, self.rows(which)], dim=1))))


class Listener(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = torch.nn.GRU(5, 8, batch_first=True)
        self.last = torch.nn.Linear(8, 3)

    def forward(self, sound):
        heard, _ = self.gru(sound)
        return self.last(heard[:, -1])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch.manual_seed(0)


def save_scripted(module, path):
    torch.jit.save(torch.jit.script(module.eval()), path)
    return path


def check(report, names):
    assert [s.contender.name for s in report] == names
    for standing in report:
        assert standing.outcome in (Outcome.SOURCE, Outcome.SAME), f"{standing.label}: {standing.reason}"
        assert standing.measured
        if standing.outcome is Outcome.SAME and not standing.contender.compiled:
            assert standing.route
    assert report.exit_code == 0


def test_two_inputs_on_every_runtime(tmp_path):
    path = save_scripted(Taste(), tmp_path / "taste.pt")
    specs = ["numbers:float32[batch,4]", "which:int64[batch]"]
    report = xport.compare(path, inputs=specs, batch=[1, 4], runs=30, starts=1)
    check(report, [c.name for c in CONTENDERS if c.makeable])
    assert report["torchscript"].outcome is Outcome.SOURCE
    assert {r.against for r in report.rankings} == {"PyTorch eager"}
    for standing in report:
        assert standing.top1 in (None, 1.0)
        assert len(standing.start_up.starts) == 1
        assert not standing.start_up.reason
        assert (standing.start_up.cached is not None) == standing.contender.compiled
    compiled = report["compile"].start_up
    assert compiled.typical.first > 10 * report["eager"].start_up.typical.first  # it compiles in its first call
    report.write_page(tmp_path / "page.html")
    assert "torch.compile" in (tmp_path / "page.html").read_text()


def test_an_onnx_source(tmp_path):
    path = xport.convert(
        Taste().eval(),
        "onnx",
        tmp_path / "taste.onnx",
        example_inputs=(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)),
    ).path
    report = xport.compare(path, contenders="eager,onnx,litert", batch=4, runs=30, starts=1)
    check(report, ["eager", "onnx", "litert"])
    assert report["onnx"].outcome is Outcome.SOURCE


def test_a_recurrent_model_with_the_users_inputs(tmp_path):
    path = save_scripted(Listener(), tmp_path / "listener.pt")
    sound = np.random.default_rng(0).standard_normal((6, 7, 5)).astype(np.float32)
    report = xport.compare(
        path,
        inputs=["sound:float32[batch,7,5]"],
        contenders="torchscript,onnx,tensorflow",
        input_data={"sound": sound},
        batch=[1, 6],
        runs=30,
        starts=0,
    )
    check(report, ["torchscript", "onnx", "tensorflow"])


def test_a_live_module_and_a_missing_compiler(tmp_path, monkeypatch):
    inductor = pytest.importorskip("torch._inductor.config")
    missing = str(tmp_path / "no-such-compiler")
    monkeypatch.setenv("CXX", missing)  # for new processes; this one has read it, if a test before has compiled
    monkeypatch.setattr(inductor.cpp, "cxx", (None, missing))
    torch.compiler.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))  # nothing that was compiled before
    report = xport.compare(
        Taste().eval(),
        example_inputs=(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)),
        contenders="compile,torchscript",
        batch=3,
        runs=30,
        starts=1,
    )
    assert report["eager"].outcome is Outcome.SOURCE
    assert report["torchscript"].outcome is Outcome.SAME
    assert report["compile"].outcome is Outcome.NOT_RUN
    assert "C++ compiler" in report["compile"].reason
    assert "live module" in report["eager"].start_up.reason
    assert report["torchscript"].start_up.starts
