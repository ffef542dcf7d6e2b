import importlib.util

import pytest

from xport.convert.planner import available, missing, pip_command, plan, targets
from xport.convert.routes import DISTRIBUTIONS, RUNTIME_OF, STEPS, Step
from xport.errors import MissingRuntimeError, UsageError
from xport.formats import Format


def routes(source, target, **arguments):
    return [str(route) for route in plan(Format.parse(source), Format.parse(target), **arguments)]


def test_a_direct_step_comes_before_the_hub():
    assert routes("pytorch", "torchscript")[:2] == ["pytorch → torchscript", "pytorch → onnx → torchscript"]


def test_second_choices_come_last():
    found = routes("pytorch", "tflite")
    assert found[:2] == ["pytorch → onnx → tflite", "pytorch → onnx (torch_to_onnx_legacy) → tflite"]


def test_optional_engines_come_after_everything_of_ours():
    found = routes("pytorch", "tflite")[2:]
    assert found[0] == "pytorch → tflite (litert-torch)"
    assert found[1] == "pytorch → onnx → tflite (onnx2tf)"
    assert all("onnx2tf" in route or "litert-torch" in route for route in found)
    assert routes("onnx", "savedmodel", via=["onnx2tf"]) == ["onnx → savedmodel (onnx2tf)"]
    assert routes("exported", "tflite", via=["litert-torch"]) == ["exported → tflite (litert-torch)"]


def test_an_engine_that_is_not_installed_is_no_route():
    found = plan(Format.ONNX, Format.TFLITE)
    assert [str(route) for route in available(found, installed=lambda name: name != "onnx2tf")] == ["onnx → tflite"]
    with pytest.raises(MissingRuntimeError, match="needs onnx2tf, which is not installed") as caught:
        available(plan(Format.ONNX, Format.TFLITE, via=["onnx2tf"]), installed=lambda name: name != "onnx2tf")
    assert caught.value.fix.startswith("xport engines add onnx2tf")
    assert pip_command(["torch", "onnx2tf"]).splitlines() == [
        "pip install 'xport-ml[torch]'",
        "xport engines add onnx2tf",
    ]


def test_every_source_reaches_every_target():
    wanted = {Format.TORCHSCRIPT, Format.EXPORTED, Format.ONNX, Format.SAVEDMODEL, Format.TFLITE}
    for source in (Format.PYTORCH, Format.TORCHSCRIPT, Format.EXPORTED, Format.ONNX):
        assert set(targets(source)) >= wanted - {source}
        for target in targets(source):
            assert plan(source, target)[0].formats[0] == source.value


def test_via_forces_a_format_or_a_step():
    assert routes("pytorch", "onnx", via=["torchscript"])[0].startswith("pytorch → torchscript → onnx")
    assert routes("pytorch", "onnx", via=["torch_to_onnx_legacy"]) == ["pytorch → onnx (torch_to_onnx_legacy)"]
    assert routes("pytorch", "torchscript", via=["onnx"])[0] == "pytorch → onnx → torchscript"


@pytest.mark.parametrize(
    ("source", "target", "via", "words"),
    [
        ("onnx", "keras", [], "No route leads from onnx to keras"),
        ("keras", "keras", [], "already"),
        ("pytorch", "onnx", ["keras"], "via keras"),
        ("pytorch", "onnx", ["nonsense"], "Unknown format"),
    ],
)
def test_what_cannot_be_is_refused_with_a_fix(source, target, via, words):
    with pytest.raises(UsageError, match=words) as caught:
        routes(source, target, via=via)
    assert caught.value.fix


def test_missing_packages_are_named_with_the_pip_command():
    found = plan(Format.PYTORCH, Format.SAVEDMODEL)
    with pytest.raises(MissingRuntimeError, match="tensorflow-cpu") as caught:
        available(found, installed=lambda name: name != "tensorflow")
    assert "pip install 'xport-ml[cpu]'" in caught.value.fix


def test_a_missing_runtime_can_be_done_without_if_nothing_is_verified():
    found = plan(Format.PYTORCH, Format.ONNX)
    with pytest.raises(MissingRuntimeError, match="onnxruntime") as caught:
        available(found, installed=lambda name: name != "onnxruntime")
    assert "--no-verify" in caught.value.fix
    assert available(found, verify=False, installed=lambda name: name != "onnxruntime")


def test_a_route_with_missing_packages_gives_way():
    steps = (
        Step(Format.ONNX, Format.TFLITE, "a", ("absent",)),
        Step(Format.ONNX, Format.TFLITE, "b", (), 9),
    )
    found = available(plan(Format.ONNX, Format.TFLITE, steps=steps), installed=lambda name: name != "absent")
    assert [route.steps[0].module for route in found] == ["b"]


def test_the_table_names_modules_and_packages_that_exist():
    for step in STEPS:
        assert importlib.util.find_spec(f"xport.convert.{step.module}") is not None
        assert set(step.needs) <= set(DISTRIBUTIONS)
    assert {step.target for step in STEPS} | {step.source for step in STEPS} <= set(RUNTIME_OF)
    assert missing(["sys", "no_such_package_at_all"]) == ["no_such_package_at_all"]
    assert pip_command(["torch", "onnxruntime"]) == "pip install 'xport-ml[torch,cpu]'"
