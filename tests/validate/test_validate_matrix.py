"""Whole runs through real workers; a stand-in runner misbehaves in them on purpose."""

import numpy as np
import pytest

import xport
from xport.errors import ParityError, UnreadableModelError, UsageError
from xport.validate.matrix import surroundings
from xport.validate.results import Status


def statuses(report, artifact):
    return {(c.device, c.batch): c.status for c in report.cells if c.artifact == artifact}


def run(*artifacts, **options):
    return xport.validate(*artifacts, **{"runs": 0, "threads": 1, **options})


def test_copies_are_the_same_model(tiny, save_tiny, tmp_path):
    copy = save_tiny(tmp_path / "copy.onnx")
    report = run(tiny, copy, batch=[1, 3])
    assert report.passed
    assert report.exit_code == 0
    assert statuses(report, "copy.onnx") == {("cpu", 1): Status.PASSED, ("cpu", 3): Status.PASSED}
    (cell,) = (c for c in report.cells if c.key == ("copy.onnx", "cpu", 1))
    assert cell.outputs[0].verdict == "exact"
    assert {edge.set for edge in cell.edges} >= {"batch=1 zeros", "batch=1 large"}
    assert cell.peak_memory > cell.idle_memory > 10**6
    assert cell.load_seconds > 0
    assert cell.first_seconds > 0
    assert "CPUExecutionProvider" in cell.placement
    assert report.verdict.startswith("copy.onnx is the same model as tiny.onnx")
    report.check()


@pytest.mark.usefixtures("without_float64")
def test_another_model_fails_and_says_where(tiny, save_tiny, tmp_path):
    report = run(tiny, save_tiny(tmp_path / "wrong.onnx", scale=1.01), batch=2)
    (cell,) = report.failures
    assert cell.status is Status.FAILED
    assert cell.outputs[0].rule == "table"
    assert "dtype table" in report.notes[0]
    with pytest.raises(ParityError, match=r"wrong\.onnx \(cpu, batch 2\): failed"):
        report.check()
    assert run(tiny, tmp_path / "wrong.onnx", batch=2, tolerance=(0.1, 0.1)).passed


@pytest.mark.usefixtures("without_float64")
def test_a_crash_a_hang_a_kill_and_a_refusal_cost_one_cell_each(tiny, stand_in):
    bad = stand_in("crash@2", "kill@3", "hang@4", "memory@5", "refuse@6")
    report = run(tiny, bad, batch=[1, 2, 3, 4, 5, 6, 7], timeout=4)
    assert {batch: status for (_, batch), status in statuses(report, bad.name).items()} == {
        1: Status.PASSED,
        2: Status.CRASHED,
        3: Status.OUT_OF_MEMORY,
        4: Status.TIMED_OUT,
        5: Status.OUT_OF_MEMORY,
        6: Status.ERROR,
        7: Status.PASSED,
    }
    assert report.exit_code == 3
    assert "SIGABRT" in next(c.reason for c in report.cells if c.status is Status.CRASHED)


@pytest.mark.usefixtures("without_float64")
def test_an_artifact_that_cannot_be_opened_is_told_by_its_cells(tiny, stand_in):
    bad, good = stand_in("abort-at-load", name="bad.tflite"), stand_in(name="good.tflite")
    report = run(tiny, bad, good, batch=[1, 2])
    assert set(statuses(report, "bad.tflite").values()) == {Status.CRASHED}
    assert set(statuses(report, "good.tflite").values()) == {Status.PASSED}


@pytest.mark.usefixtures("without_float64")
def test_a_crash_while_timing_is_the_cells_result(tiny, stand_in, monkeypatch):
    from xport.errors import WorkerError
    from xport.validate.matrix.lane import Lane

    real = Lane.take_turn

    def take_turn(self, calls):
        if self.subject.name.endswith(".tflite"):
            error = WorkerError("It was ended by SIGSEGV.")
            error.how = "crashed"
            raise error
        return real(self, calls)

    monkeypatch.setattr(Lane, "take_turn", take_turn)
    report = run(tiny, stand_in(), batch=2, runs=5)
    assert statuses(report, "standin.tflite") == {("cpu", 2): Status.CRASHED}
    assert report.cells[0].latency.runs == 5


@pytest.mark.usefixtures("without_float64")
def test_nan_disagreement_fails_with_place_and_values(tiny, stand_in):
    report = run(tiny, stand_in("nan"), batch=2)
    (cell,) = report.failures
    assert "NaN" in cell.reason
    assert "[0, 0]: nan, expected" in cell.reason


@pytest.mark.usefixtures("without_float64")
def test_a_difference_on_an_edge_set_alone_fails(tiny, stand_in):
    (cell,) = run(tiny, stand_in("off-at-zero"), batch=2).failures
    assert cell.status is Status.FAILED
    assert all(verdict.passed for verdict in cell.outputs)
    assert [edge.set for edge in cell.edges if not edge.passed] == ["batch=2 zeros"]
    assert "with batch=2 zeros" in cell.reason


@pytest.mark.usefixtures("without_float64")
def test_a_folder_of_own_inputs_is_one_set_a_file(tiny, stand_in, tmp_path):
    (tmp_path / "mine").mkdir()
    for name, rows in (("a", 3), ("b", 5)):
        np.savez(tmp_path / "mine" / f"{name}.npz", x=np.full((rows, 4), rows, np.float32))
    report = run(tiny, stand_in(), input_data=tmp_path / "mine")
    assert [(s.name, s.batch) for s in report.sets] == [("a.npz", 3), ("b.npz", 5)]
    assert {c.batch for c in report.cells} == {3, 5}


@pytest.mark.usefixtures("without_float64")
def test_a_random_candidate_is_said_to_be_random(tiny, stand_in):
    (cell,) = run(tiny, stand_in("random"), batch=2).failures
    assert "random by itself" in cell.reason


def test_a_random_reference_is_refused(tiny, stand_in):
    with pytest.raises(UsageError, match="random by itself"):
        run(stand_in("random"), tiny, batch=2)


@pytest.mark.usefixtures("without_float64")
def test_where_the_reference_does_not_run_nothing_is_judged(tiny, stand_in):
    reference = stand_in("crash@4")
    report = run(reference, tiny, batch=[2, 4])
    assert statuses(report, reference.name) == {("cpu", 2): Status.REFERENCE, ("cpu", 4): Status.CRASHED}
    assert statuses(report, "tiny.onnx") == {("cpu", 2): Status.PASSED, ("cpu", 4): Status.NO_REFERENCE}


@pytest.mark.usefixtures("without_float64")
def test_without_a_gpu_cuda_cells_say_so_and_the_run_succeeds(tiny, stand_in, monkeypatch):
    monkeypatch.setattr(surroundings, "cuda_devices", lambda: 0)
    report = run(tiny, stand_in(), device=["cpu", "cuda"], batch=2)
    absent = [c for c in report.cells if c.device == "cuda"]
    assert {(c.status, c.reason) for c in absent} == {(Status.NO_DEVICE, "no CUDA device")}
    assert report.exit_code == 0
    assert "2 cells could not run here (no CUDA device)" in report.verdict


@pytest.fixture
def one_gpu(monkeypatch):
    """A machine that has a GPU, and a format whose stand-in runner runs there."""
    from xport.formats import Format
    from xport.validate.runners import RUNNERS

    monkeypatch.setattr(surroundings, "cuda_devices", lambda: 1)
    # This process asks the class which devices it knows; PyTorch's answers like the stand-in in the workers.
    monkeypatch.setitem(RUNNERS, Format.TFLITE, "xport.validate.runners.pytorch:PyTorchRunner")


@pytest.mark.usefixtures("without_float64", "one_gpu")
def test_cells_on_a_gpu_are_judged_timed_and_compared(stand_in):
    first, second = stand_in(name="a.tflite"), stand_in(name="b.tflite")
    report = run(first, second, device=["cpu", "cuda"], batch=[2, 5], runs=10)
    assert statuses(report, "a.tflite")["cuda", 5] is Status.PASSED
    assert statuses(report, "b.tflite")["cuda", 2] is Status.PASSED
    assert all(cell.latency is not None for cell in report.cells)
    pairs = {(s.device, s.comparison.name, s.comparison.other) for s in report.speeds}
    assert ("cuda", "a.tflite on cuda", "a.tflite on cpu") in pairs
    assert ("cuda", "b.tflite", "a.tflite") in pairs


@pytest.mark.usefixtures("without_float64", "one_gpu")
def test_a_silent_fallback_is_a_failure(tiny, stand_in):
    report = run(tiny, stand_in("falls-back"), device="cuda", batch=2)
    (cell,) = (c for c in report.failures if c.artifact == "standin.tflite")
    assert cell.status is Status.WRONG_DEVICE
    assert "asked to run on cuda, it ran on cpu (a stand-in says so)" in cell.reason


@pytest.mark.usefixtures("without_float64", "one_gpu")
def test_a_runtime_without_cuda_on_a_machine_with_cuda_is_a_failure(tiny, stand_in):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    report = run(stand_in(), tiny, device="cuda", batch=2)
    assert statuses(report, "tiny.onnx") == {("cuda", 2): Status.WRONG_DEVICE}


@pytest.mark.usefixtures("without_float64")
def test_own_inputs_replace_the_seeded_ones(tiny, stand_in):
    x = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32)
    report = run(tiny, stand_in(), input_data={"x": x})
    assert [s.kind for s in report.sets] == ["your inputs"]
    assert {c.batch for c in report.cells} == {6}


@pytest.mark.usefixtures("without_float64")
def test_tensors_are_saved(tiny, stand_in, tmp_path):
    run(tiny, stand_in(), batch=2, save_tensors=tmp_path / "kept")
    folder = next((tmp_path / "kept").glob("*-batch=2"))
    found = {file.name: dict(np.load(file)) for file in folder.iterdir()}
    assert set(found) == {"inputs.npz", "reference.npz", "standin.tflite.cpu.npz"}
    x = found["inputs.npz"]["x"]
    assert x.shape == (2, 4)
    np.testing.assert_allclose(found["standin.tflite.cpu.npz"]["y"], found["reference.npz"]["y"], rtol=1e-5)


def test_usage_errors(tiny, tmp_path):
    with pytest.raises(UsageError, match="nothing to be compared with"):
        run(tiny)
    with pytest.raises(UnreadableModelError, match="does not exist"):
        run(tiny, tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="Unknown device"):
        run(tiny, tiny, device="tpu")
    with pytest.raises(UsageError, match="no tensor 'q'"):
        run(tiny, tiny, names={"q": "x"})
    with pytest.raises(UsageError, match="does not exist"):
        run(tiny, tiny, input_data=tmp_path / "none.npz")


def test_one_artifact_twice_is_told_apart(tiny):
    from xport.validate.matrix.subjects import open_subjects

    assert [s.name for s in open_subjects([tiny, tiny])] == [f"{tiny} #1", f"{tiny} #2"]


def test_a_live_module_with_integer_bool_and_empty_outputs_against_torchscript(tmp_path):
    import torch

    class Several(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(7, 5)
            self.out = torch.nn.Linear(5, 4)

        def forward(self, ids: torch.Tensor):
            y = self.out(self.table(ids)).mean(1)
            return y, y.argmax(1), y > 0, y[:, :0]

    torch.manual_seed(0)
    module = Several().eval()
    path = tmp_path / "several.pt"
    torch.jit.trace(module, torch.zeros(2, 3, dtype=torch.int64)).save(path)
    spec = "ids:int64[batch,time]"
    report = xport.validate(module, path, inputs=[spec], batch=[1, 4], runs=10, threads=1)
    assert report.passed, report.verdict
    cell = next(c for c in report.cells if c.key == ("several.pt", "cpu", 4))
    assert [v.rule for v in cell.outputs][1:] == ["exact"] * 3
    assert cell.latency.runs == 10
    live = report.cells[0]
    assert (live.status, live.peak_memory) == (Status.REFERENCE, None)
    assert all(s.sizes["time"] > 1 for s in report.sets)
    assert report.reference.path == "a live Several"
