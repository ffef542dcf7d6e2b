import importlib.metadata
import json
import subprocess
import sys

import pytest

from xport.cli import doctor as doctor_module
from xport.cli.commands import COMMANDS
from xport.cli.output import bytes_text

FRAMEWORKS = {"torch", "tensorflow", "onnxruntime", "onnx", "onnx_ir", "ai_edge_litert", "keras", "numpy", "rich"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["convert", "--help"], ["completion", "bash"]])
def test_no_framework_is_imported_before_it_is_needed(arguments):
    code = (
        "import sys\nfrom xport.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"assert not {FRAMEWORKS!r} & set(sys.modules), {FRAMEWORKS!r} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_command_has_help(call):
    for name in COMMANDS:
        code, out, _ = call(name, "--help")
        assert code == 0
        assert out.startswith(f"Usage: xport {name}")


def test_python_m_xport_works():
    done = subprocess.run([sys.executable, "-m", "xport", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("xport, version ")


@pytest.mark.usefixtures("without_float64")
def test_convert_verify_inspect(call, call_json, tiny):
    code, out, _ = call("convert", tiny, "--to", "onnx", "-o", "out.onnx")
    assert code == 0
    for word in ("y", "exact", "out.onnx", "onnx → onnx", " s\n", "kB"):
        assert word in out
    code, found = call_json("convert", tiny, "--to", "onnx", "-o", "other.onnx", "--seed", "7", "--rtol", "1e-3")
    assert code == 0
    assert found["verified"]
    assert found["outputs"][0]["output"] == "y"
    assert found["size"] > 0
    code, out, _ = call("verify", "out.onnx")
    assert code == 0
    assert "golden cases" in out
    code, found = call_json("verify", "other.onnx")
    assert (code, found["passed"]) == (0, True)
    code, out, _ = call("inspect", "out.onnx")
    assert code == 0
    for word in ("batch", "MatMul", "Tanh", "Made by xport"):
        assert word in out
    assert call_json("inspect", "other.onnx")[1]["operators"] == {"MatMul": 1, "Tanh": 1}


def test_no_verify_is_told(call, tiny):
    code, out, _ = call("convert", tiny, "--to", "onnx", "-o", "out.onnx", "--no-verify")
    assert code == 0
    assert "Not verified" in out
    code, out, _ = call("inspect", "out.onnx")
    assert "NOT verified" in out
    code, _, err = call("verify", "out.onnx")
    assert code == 2
    assert "no golden inputs" in err


@pytest.mark.usefixtures("without_float64")
def test_an_artifact_whose_numbers_moved_fails_verification(call, call_json, tiny, save_tiny, tmp_path):
    import onnx

    assert call("convert", tiny, "--to", "onnx", "-o", "out.onnx")[0] == 0
    made = onnx.load("out.onnx")
    other = onnx.load(save_tiny(tmp_path / "wrong.onnx", scale=1.01))
    made.graph.initializer[0].CopyFrom(other.graph.initializer[0])
    onnx.save(made, "out.onnx")
    code, _, err = call("verify", "out.onnx")
    assert code == 3
    assert "no longer gives" in err
    code, found = call_json("verify", "out.onnx")
    assert (code, found["passed"]) == (3, False)


def test_formats_lists_routes_and_needs(call, call_json):
    code, out, _ = call("formats")
    assert code == 0
    assert "pytorch → onnx → savedmodel" in out
    found = call_json("formats")[1]["routes"]
    assert {row["target"] for row in found} == {"pytorch", "torchscript", "exported", "onnx", "savedmodel", "tflite"}
    assert any(row["choice"] == 2 for row in found)


@pytest.fixture
def quick_doctor(monkeypatch):
    monkeypatch.setattr(doctor_module, "_ask", lambda name, _: f"{name}:0")


@pytest.mark.usefixtures("quick_doctor")
def test_doctor_shows_versions_and_devices(call_json):
    code, found = call_json("doctor")
    assert code == 0
    assert found["packages"]["numpy"] == importlib.metadata.version("numpy")
    assert set(found["devices"]) <= {"torch", "onnxruntime", "tensorflow"}


@pytest.mark.usefixtures("quick_doctor")
def test_doctor_names_what_is_missing_and_the_impostor(call, monkeypatch):
    version = doctor_module._version
    monkeypatch.setattr(doctor_module, "missing", lambda _: ["tensorflow"])
    monkeypatch.setattr(doctor_module, "_version", lambda *names: "3.2" if names == ("xport",) else version(*names))
    code, out, _ = call("doctor")
    assert code == 0
    assert "pip install 'xport-ml[cpu]'" in out
    assert "SAS" in out
    assert "pip uninstall xport" in out


def test_devices_are_asked_in_a_worker():
    from xport.cli.output import Output

    assert "CPU" in doctor_module._ask("onnxruntime", Output())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(call, shell):
    code, out, _ = call("completion", shell)
    assert code == 0
    assert "_XPORT_COMPLETE" in out


def test_completion_offers_commands_and_formats():
    for words, wanted in (("xport co", "convert"), ("xport convert m.pt --to sa", "savedmodel")):
        env = {"_XPORT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = subprocess.run([sys.executable, "-m", "xport"], env=env, capture_output=True, text=True, check=False)
        assert wanted in done.stdout


def test_the_help_of_a_group_without_arguments():
    done = subprocess.run([sys.executable, "-m", "xport"], capture_output=True, text=True, check=False)
    assert "convert" in done.stdout + done.stderr


def test_json_is_one_object_on_stdout(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "xport", "convert", str(tmp_path / "no.pt"), "--to", "onnx", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["type"] == "UnreadableModelError"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (183_000, "183 kB"), (5_100_000_000, "5.1 GB")]
)
def test_sizes_are_readable(size, text):
    assert bytes_text(size) == text
