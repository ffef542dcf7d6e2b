"""``torch.compile`` as one more artifact."""

import pytest

import xport
from xport.errors import UsageError
from xport.validate.results import Status

torch = pytest.importorskip("torch")


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh()).eval()
    dims = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(module, (torch.zeros(2, 4),), dynamic_shapes=dims), tmp_path / "m.pt2")
    return tmp_path / "m.pt2"


def cells(report):
    return {cell.artifact: cell for cell in report.cells}


@pytest.mark.slow
def test_a_compiled_program_is_an_artifact_of_its_own(program):
    report = xport.validate(program, batch=3, runs=0, threads=1, compiled=True)
    assert report.passed, report.verdict
    assert set(cells(report)) == {"m.pt2", "m.pt2 (torch.compile)"}
    compiled = cells(report)["m.pt2 (torch.compile)"]
    assert compiled.outputs[0].rule in ("floor", "exact")
    assert list((program.parent / "cache").rglob("*.cpp"))  # it was compiled, not run eagerly


@pytest.mark.slow
def test_a_missing_compiler_is_the_cells_result(program, monkeypatch):
    monkeypatch.setenv("CXX", str(program.parent / "no-such-compiler"))
    report = xport.validate(program, batch=3, runs=0, threads=1, compiled=True)
    found = cells(report)
    assert found["m.pt2"].status is Status.REFERENCE
    assert found["m.pt2 (torch.compile)"].status is Status.NOT_INSTALLED
    assert "C++ compiler" in found["m.pt2 (torch.compile)"].reason
    assert "CXX=" in found["m.pt2 (torch.compile)"].reason


def test_a_live_module_is_compiled_and_left_alone():
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 3).eval()
    from xport.convert.source import open_source
    from xport.validate.runners import new_runner

    runner = new_runner(open_source(module, inputs=["input:float32[batch,4]"]), device="cpu", threads=1)
    runner.compile()
    assert type(runner._module).__name__ == "OptimizedModule"
    assert type(module) is torch.nn.Linear


def test_without_anything_to_compile_it_is_refused(tiny):
    with pytest.raises(UsageError, match="nothing here can be compiled"):
        xport.validate(tiny, tiny, compiled=True)
