import errno
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_onnx import save_tiny

import xport
from xport.convert import api, expectation
from xport.convert.attempts import Attempts
from xport.convert.source import open_source
from xport.errors import (
    ConversionError,
    DestinationError,
    InputsError,
    ParityError,
    UnsupportedError,
    UsageError,
    WorkerError,
)
from xport.formats import Format
from xport.validate.verdicts import OutputVerdict


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "in").mkdir()
    return save_tiny(tmp_path / "in" / "tiny.onnx")


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def without_float64(monkeypatch):
    """Saves the time of importing PyTorch where the floor does not matter."""
    monkeypatch.setattr(expectation, "reference64", lambda *_, **__: None)


def take_instead(monkeypatch, action):
    """Let every step do something else: ``action(step, target)``."""

    def take(self, prefix, source):
        room = self.staging.room(f"step-{len(self._made)}")
        action(prefix[-1], room / self.staging.destination.name)
        return room / self.staging.destination.name

    monkeypatch.setattr(Attempts, "_take", take)


def test_a_conversion_is_proven_and_carries_its_proof(tiny, out):
    told = []
    artifact = xport.convert(tiny, to="onnx", output=out / "copy.onnx", progress=told.append)
    assert artifact.path == out / "copy.onnx"
    assert [p.name for p in out.iterdir()] == ["copy.onnx"]
    assert artifact.proof.verified
    assert artifact.proof.route == ("onnx", "onnx")
    assert len(artifact.proof.source["sha256"]) == 64
    assert "onnx" in artifact.proof.versions
    (verdict,) = map(OutputVerdict.from_json, artifact.proof.parity)
    assert verdict.passed
    assert len(verdict.cases) == 3
    assert verdict.floor is not None, artifact.proof.options
    assert any("proving" in text for text in told)
    assert xport.verify(artifact.path).passed


def test_a_live_module_converts_in_this_process(out):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh())
    artifact = xport.convert(module, "torchscript", out / "m.pt", example_inputs=(torch.zeros(2, 4),))
    assert artifact.proof.verified
    assert artifact.proof.source["sha256"] == ""
    with xport.load(artifact.path) as model:
        name = artifact.signature.inputs[0].name
        (answer,) = model({name: np.ones((5, 4), np.float32)}).values()
    assert answer.shape == (5, 3)


def test_no_verification_is_recorded(tiny, out):
    artifact = api.convert(tiny, "onnx", out / "m.onnx", verify=False)
    assert not artifact.proof.verified
    assert not xport.inspect(artifact.path).proof.verified


@pytest.mark.usefixtures("without_float64")
def test_a_wrong_result_leaves_the_destination_untouched(tiny, out, monkeypatch):
    (out / "m.onnx").write_text("mine")
    take_instead(monkeypatch, lambda _, target: save_tiny(target, scale=1.01))
    with pytest.raises(ParityError, match="y:"):
        api.convert(tiny, "onnx", out / "m.onnx", overwrite=True)
    assert [p.name for p in out.iterdir()] == ["m.onnx"]
    assert (out / "m.onnx").read_text() == "mine"


@pytest.mark.usefixtures("without_float64")
def test_a_wrong_result_can_be_kept_under_a_name_that_says_so(tiny, out, monkeypatch):
    take_instead(monkeypatch, lambda _, target: save_tiny(target, scale=1.01))
    with pytest.raises(ParityError, match=r"failed-parity\.onnx"):
        api.convert(tiny, "onnx", out / "m.onnx", keep_failed=True)
    assert [p.name for p in out.iterdir()] == ["m.failed-parity.onnx"]


@pytest.mark.usefixtures("without_float64")
def test_a_changed_interface_fails(tiny, out, monkeypatch):
    take_instead(monkeypatch, lambda _, target: save_tiny(target, names=("renamed", "y")))
    with pytest.raises(ParityError, match="inputs are renamed, expected x"):
        api.convert(tiny, "onnx", out / "m.onnx")
    take_instead(monkeypatch, lambda _, target: save_tiny(target, batch=2))
    with pytest.raises(ParityError, match="another shape"):
        api.convert(tiny, "onnx", out / "m.onnx")


def run_routes(monkeypatch, tiny, out, action, **arguments):
    """Convert ONNX to ONNX over two routes that are made up."""
    from xport.convert import planner
    from xport.convert.routes import Step

    steps = tuple(Step(Format.ONNX, Format.ONNX, name, (), cost) for name, cost in (("first", 1), ("second", 5)))
    plan = planner.plan
    monkeypatch.setattr(api, "plan", lambda *a, **k: plan(*a, **{**k, "steps": steps}))
    take_instead(monkeypatch, action)
    return api.convert(tiny, "onnx", out / "m.onnx", **arguments)


@pytest.mark.usefixtures("without_float64")
def test_a_route_that_fails_parity_gives_way_and_the_story_is_kept(monkeypatch, tiny, out):
    artifact = run_routes(
        monkeypatch, tiny, out, lambda step, t: save_tiny(t, scale=1.01 if step.module == "first" else 1.0)
    )
    (lost,) = artifact.proof.options["tried"]
    assert lost["route"] == "onnx → onnx"
    assert lost["error"] == "ParityError"
    assert "y:" in lost["reason"]


@pytest.mark.usefixtures("without_float64")
def test_a_route_that_breaks_gives_way(monkeypatch, tiny, out):
    def action(step, target):
        if step.module == "first":
            raise UnsupportedError("Einsum is missing.")
        save_tiny(target)

    artifact = run_routes(monkeypatch, tiny, out, action)
    assert artifact.proof.options["tried"][0]["reason"] == "Einsum is missing."


def test_when_every_route_fails_all_are_told(monkeypatch, tiny, out):
    def action(step, target):
        raise UnsupportedError(f"{step.module} lacks an operator.", "Replace it.")

    with pytest.raises(UnsupportedError, match=r"first lacks(.|\n)*second lacks") as caught:
        run_routes(monkeypatch, tiny, out, action)
    assert caught.value.fix == "Replace it."
    assert list(out.iterdir()) == []


def test_a_fault_of_the_source_is_not_tried_again(monkeypatch, tiny, out):
    seen = []

    def action(step, target):
        seen.append(step.module)
        raise UsageError("The source has no inputs.")

    with pytest.raises(UsageError, match="no inputs"):
        run_routes(monkeypatch, tiny, out, action)
    assert seen == ["first"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), WorkerError("OSError: [Errno 28] No space left on device")]
)
def test_a_full_disk_ends_the_work_and_leaves_nothing(monkeypatch, tiny, out, error):
    def action(step, target):
        target.write_text("half of it")
        raise error

    with pytest.raises(DestinationError, match="is full"):
        run_routes(monkeypatch, tiny, out, action)
    assert list(out.iterdir()) == []


def test_ctrl_c_leaves_nothing(monkeypatch, tiny, out):
    def action(step, target):
        target.write_text("half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_routes(monkeypatch, tiny, out, action)
    assert list(out.iterdir()) == []


def test_an_unwritable_destination_is_refused_before_the_work(monkeypatch, tiny, out):
    take_instead(monkeypatch, lambda *_: pytest.fail("work began"))
    with pytest.raises(DestinationError):
        api.convert(tiny, "onnx", out / "missing" / "m.onnx")
    (out / "m.onnx").write_text("mine")
    with pytest.raises(DestinationError, match="exists already"):
        api.convert(tiny, "onnx", out / "m.onnx")
    with pytest.raises(UsageError, match="the source itself"):
        api.convert(tiny, "onnx", tiny, overwrite=True)


def test_the_users_inputs_must_fit(tiny, out):
    with pytest.raises(InputsError, match="float64"):
        api.convert(tiny, "onnx", out / "m.onnx", input_data={"x": np.zeros((2, 4))})
    with pytest.raises(InputsError, match="missing"):
        api.convert(tiny, "onnx", out / "m.onnx", input_data={"z": np.zeros((2, 4), np.float32)})
    assert list(out.iterdir()) == []


@pytest.mark.usefixtures("without_float64")
def test_the_users_inputs_are_proven_and_kept(tiny, out):
    given = {"x": np.full((7, 4), 0.5, np.float32)}
    artifact = api.convert(tiny, "onnx", out / "m.onnx", input_data=given, tolerance=(1e-5, 1e-6))
    assert artifact.proof.parity[0]["cases"][-1]["case"] == "your inputs"
    assert artifact.proof.options["tolerance"] == {"rtol": 1e-5, "atol": 1e-6}
    from xport import proof

    kept = proof.read(artifact.path, Format.ONNX)[2]
    assert any(np.array_equal(inputs["x"], given["x"]) for inputs, _ in kept)


def test_a_spec_for_an_onnx_source_must_fit_its_interface(tiny, out):
    with pytest.raises(UsageError, match="records its own interface"):
        api.convert(tiny, "onnx", out / "m.onnx", inputs=["z:float32[1,4]"])


def test_the_default_output_is_named_after_the_source(tiny, monkeypatch):
    source = open_source(tiny)
    assert api.default_output(source, Format.TFLITE).name == "tiny.tflite"
    assert api.default_output(source, Format.SAVEDMODEL).name == "tiny_savedmodel"
    monkeypatch.chdir(tiny.parent)
    assert api.default_output(source, Format.ONNX).name == "tiny_onnx.onnx"
    assert api.default_output(open_source("zoo:digits_cnn@small"), Format.ONNX).name == "digits_cnn.onnx"


def test_unexpected_errors_of_a_live_modules_exporter_are_ours(monkeypatch):
    from xport.convert import attempts
    from xport.convert.routes import STEPS

    class Exporter:
        @staticmethod
        def convert(*_):
            raise ZeroDivisionError("inside")

    monkeypatch.setattr(attempts.importlib, "import_module", lambda _: Exporter)
    with pytest.raises(ConversionError, match="ZeroDivisionError: inside"):
        attempts._take_here(STEPS[0], None, None, None, {})


def test_importing_xport_imports_no_framework_and_the_packages_are_callable():
    code = (
        "import sys, xport; heavy = {'torch', 'tensorflow', 'onnxruntime', 'onnx', 'numpy', 'rich', 'click'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "assert callable(xport.convert) and callable(xport.verify) and callable(xport.load);"
        "import xport.convert.planner, xport.verify; assert callable(xport.convert) and callable(xport.verify);"
        "assert not {'torch', 'tensorflow', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_names_of_the_public_interface_exist():
    for name in xport.__all__:
        assert getattr(xport, name) is not None
    with pytest.raises(AttributeError):
        _ = xport.no_such_name


class Quotient(torch.nn.Module):
    """Fails on the zeros that seeded integers hold."""

    def forward(self, a, b):
        return torch.div(a, b, rounding_mode="floor"), a % b


def test_inputs_of_the_user_are_enough_where_a_model_refuses_others(tmp_path):
    torch.jit.script(Quotient()).save(str(tmp_path / "m.pt"))
    data = {"a": np.array([[7, -7, 3], [1, 2, 9]]), "b": np.array([[2, 3, -2], [1, 5, 4]])}
    artifact = xport.convert(tmp_path / "m.pt", to="onnx", output=tmp_path / "m.onnx", input_data=data)
    assert [str(spec) for spec in artifact.signature.inputs] == ["a:int64[batch,3]", "b:int64[batch,3]"]
    tried = [case["case"] for case in artifact.proof.parity[0]["cases"]]
    assert tried == ["your inputs", "your inputs batch=3", "your inputs batch=1"]


def test_examples_are_enough_where_a_module_refuses_other_inputs(tmp_path):
    examples = (torch.tensor([[7, -7, 3], [1, 2, 9]]), torch.tensor([[2, 3, -2], [1, 5, 4]]))
    artifact = xport.convert(Quotient(), to="torchscript", output=tmp_path / "m.pt", example_inputs=examples)
    assert artifact.proof.parity[0]["cases"][0]["case"] == "your inputs"
