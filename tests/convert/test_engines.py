import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import save_tiny

import xport
from xport.convert.engines import child, environment, pythons, running, table
from xport.convert.engines.table import Engine
from xport.errors import ConversionError, MissingRuntimeError, ParityError, UsageError

HERE = tuple(sys.version_info[:2])
REAL = table.ENGINES["onnx2tf"]

STANDIN = '''
import pathlib, shutil

def convert(input_onnx_file_path, output_folder_path, keep_shape_absolutely_input_names, **options):
    """Instead of converting: what was prepared beside the model."""
    prepared = pathlib.Path(input_onnx_file_path).with_suffix(".prepared")
    if not prepared.exists():
        print("Converting 10%|#   |\\rthe standin has no operator Frobnicate")
        raise SystemExit(3)
    if options["flatbuffer_direct_output_saved_model"]:
        shutil.copytree(prepared, output_folder_path, dirs_exist_ok=True)
    else:
        shutil.copyfile(prepared, pathlib.Path(output_folder_path) / "m_float32.tflite")
'''


def make_wheel(folder, name="onnx2tf", code=STANDIN, version="9.9"):
    """A wheel of one module, without dependencies."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def engines(tmp_path, monkeypatch):
    """A folder for environments, and a table whose engines are stand-ins."""
    monkeypatch.setenv("XPORT_ENGINES", str(tmp_path / "engines"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    wheel = make_wheel(tmp_path)
    monkeypatch.setitem(table.ENGINES, "onnx2tf", Engine("onnx2tf", (str(wheel),), HERE, HERE, "a stand-in", 60))
    return tmp_path / "engines"


@pytest.fixture
def fake_environment(engines):
    """What looks like an installed engine and is this interpreter."""
    place = engines / "onnx2tf"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to(sys.executable)
    (place / environment.CARD).write_text(json.dumps({"requirements": list(table.ENGINES["onnx2tf"].requirements)}))
    return place


def test_the_folder_is_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("XPORT_ENGINES", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert environment.folder() == tmp_path / "xport" / "engines"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert environment.folder() == tmp_path / ".local" / "share" / "xport" / "engines"
    monkeypatch.setenv("XPORT_ENGINES", str(tmp_path / "mine"))
    assert environment.folder() == tmp_path / "mine"


def test_an_engine_is_added_and_removed(engines):
    assert not environment.is_ready("onnx2tf")
    with pytest.raises(MissingRuntimeError, match="not installed") as caught:
        environment.python("onnx2tf")
    assert caught.value.fix == "xport engines add onnx2tf"
    (engines / "onnx2tf" / "lib").mkdir(parents=True)  # what a killed `add` leaves
    assert not environment.is_ready("onnx2tf")
    card = environment.add("onnx2tf")
    assert card["versions"]["onnx2tf"] == "9.9"
    assert environment.is_ready("onnx2tf")
    assert not (engines / "onnx2tf" / "lib" / "nothing").exists()
    code = "import onnx2tf, sys; print(sys.prefix)"
    done = subprocess.run([environment.python("onnx2tf"), "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(engines / "onnx2tf")
    with pytest.raises(UsageError, match="installed already"):
        environment.add("onnx2tf")
    environment.remove("onnx2tf")
    assert not (engines / "onnx2tf").exists()
    with pytest.raises(UsageError, match="is not installed"):
        environment.remove("onnx2tf")
    with pytest.raises(UsageError, match="There is no engine 'nonsense'"):
        environment.add("nonsense")


def test_pips_last_words_are_told_and_nothing_stays(engines, monkeypatch):
    broken = Engine("onnx2tf", ("no-such-package-of-anybody==1.2.3",), HERE, HERE, "")
    monkeypatch.setitem(table.ENGINES, "onnx2tf", broken)
    with pytest.raises(MissingRuntimeError, match="no-such-package-of-anybody") as caught:
        environment.add("onnx2tf")
    assert "xport engines add onnx2tf" in caught.value.fix
    assert [p.name for p in engines.iterdir() if not p.name.startswith(".")] == []


def test_an_interruption_leaves_nothing(engines, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "_run", lambda command, *_: (engines / "onnx2tf").mkdir(exist_ok=True))
    monkeypatch.setattr(environment.subprocess, "run", interrupt)
    monkeypatch.setattr(environment, "find_python", lambda *_: Path(sys.executable))
    with pytest.raises(KeyboardInterrupt):
        environment.add("onnx2tf")
    assert not (engines / "onnx2tf").exists()


def test_other_versions_do_not_count(fake_environment, monkeypatch):
    assert environment.is_ready("onnx2tf")
    monkeypatch.setitem(table.ENGINES, "onnx2tf", Engine("onnx2tf", ("onnx2tf==10",), HERE, HERE, ""))
    assert not environment.is_ready("onnx2tf")


def write_python(path, version):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version}'\n" if version else "#!/bin/sh\necho no such command >&2; exit 127\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("place", ["path", "pyenv", "uv"])
def test_a_python_is_looked_for_where_people_keep_them(tmp_path, monkeypatch, place):
    engine = Engine("onnx2tf", (), (4, 2), (4, 3), "")
    shim = write_python(tmp_path / "first" / "python4.2", "")  # as pyenv's shims fail for a version that is not chosen
    write_python(tmp_path / "first" / "python4.3", "4 1")
    places = {
        "path": tmp_path / "second" / "python4.2",
        "pyenv": tmp_path / "pyenv" / "versions" / "4.3.1" / "bin" / "python",
        "uv": tmp_path / "uv-pythons" / "python",
    }
    right = write_python(places[place], "4 2")
    if place == "uv":
        write_python(tmp_path / "second" / "uv", str(right))
    monkeypatch.setenv("PATH", os.pathsep.join([str(shim.parent), str(tmp_path / "second"), "/bin", "/usr/bin"]))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert pythons.find_python(engine) == right


def test_no_fitting_python_is_told_with_what_was_found(tmp_path, monkeypatch):
    engine = Engine("onnx2tf", (), (4, 2), (4, 3), "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(MissingRuntimeError, match=r"needs Python 4\.2 to 4\.3, and none was found") as caught:
        pythons.find_python(engine)
    assert f"{HERE[0]}.{HERE[1]}" in caught.value.message
    assert "--python" in caught.value.fix
    with pytest.raises(UsageError, match="is Python 3"):
        pythons.find_python(engine, sys.executable)
    with pytest.raises(UsageError, match="is not a Python"):
        pythons.find_python(engine, str(tmp_path / "none"))


@pytest.mark.usefixtures("fake_environment")
def test_a_failure_has_the_end_of_the_log_without_progress_bars(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('  5%|# | 1/2\\rthe reason', file=sys.stderr)\nsys.exit(4)\n")
    monkeypatch.setattr(child, "__file__", str(script))
    with pytest.raises(ConversionError, match="onnx2tf exited with code 4") as caught:
        running.run("onnx2tf", "onnx2tf", {})
    assert "the reason" in caught.value.message
    assert "%|" not in caught.value.message
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    with pytest.raises(ConversionError, match="SIGSEGV"):
        running.run("onnx2tf", "onnx2tf", {})


@pytest.mark.usefixtures("fake_environment")
def test_a_time_limit_ends_all_processes(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(
        "import subprocess, sys, time\nc = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(c.pid))\ntime.sleep(99)\n"
    )
    monkeypatch.setattr(child, "__file__", str(script))
    with pytest.raises(ConversionError, match="ran out of time"):
        running.run("onnx2tf", "onnx2tf", {}, seconds=4)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.usefixtures("fake_environment")
def test_an_engine_ends_with_the_process_that_asked(tmp_path):
    (tmp_path / "onnx2tf.py").write_text("import time\n\ndef convert(**_):\n    time.sleep(99)\n")
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"source": "", "folder": "", "inputs": [], "savedmodel": False}))
    runner = (
        "import subprocess, sys, os, time\n"
        f"p = subprocess.Popen([sys.executable, {child.__file__!r}, 'onnx2tf', {str(request)!r}, str(os.getpid())])\n"
        "print(p.pid, flush=True)\ntime.sleep(99)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", runner],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_what_an_engine_makes_passes_the_same_gate(engines, tmp_path, monkeypatch):
    save_tiny(tmp_path / "good.onnx")
    xport.convert(tmp_path / "good.onnx", to="tflite", output=tmp_path / "good.prepared", verify=False)
    xport.convert(tmp_path / "good.onnx", to="savedmodel", output=tmp_path / "folder", verify=False)
    save_tiny(tmp_path / "other.onnx", scale=1.001)
    save_tiny(tmp_path / "renamed.onnx", names=("input", "y"))
    save_tiny(tmp_path / "missing.onnx")
    for name in ("other", "renamed"):
        (tmp_path / f"{name}.prepared").write_bytes((tmp_path / "good.prepared").read_bytes())
    environment.add("onnx2tf")
    card = engines / "onnx2tf" / environment.CARD  # workers look into the real table
    card.write_text(json.dumps({**json.loads(card.read_text()), "requirements": list(REAL.requirements)}))
    monkeypatch.setitem(table.ENGINES, "onnx2tf", REAL)
    made = xport.convert(tmp_path / "good.onnx", to="tflite", output=tmp_path / "made.tflite", via=["onnx2tf"])
    assert made.proof.verified
    assert made.proof.versions["onnx2tf"] == "9.9"
    x = np.ones((2, 4), np.float32)
    with xport.load(made.path) as model:
        assert model({"x": x})["y"].shape == (2, 3)
    with pytest.raises(ParityError):
        xport.convert(tmp_path / "other.onnx", to="tflite", output=tmp_path / "o.tflite", via=["onnx2tf"])
    with pytest.raises(ConversionError, match="The engine changed the interface: it has x, expected input"):
        xport.convert(tmp_path / "renamed.onnx", to="tflite", output=tmp_path / "r.tflite", via=["onnx2tf"])
    with pytest.raises(ConversionError, match="no operator Frobnicate"):
        xport.convert(tmp_path / "missing.onnx", to="tflite", output=tmp_path / "m.tflite", via=["onnx2tf"])
    (tmp_path / "good.prepared").unlink()
    (tmp_path / "folder").rename(tmp_path / "good.prepared")
    saved = xport.convert(tmp_path / "good.onnx", to="savedmodel", output=tmp_path / "saved", via=["onnx2tf"])
    assert saved.proof.verified


def test_the_command_lists_and_doctor_shows(engines, capsys):
    from xport.cli.engines import describe
    from xport.cli.run import run

    before = signal.getsignal(signal.SIGTERM)
    try:
        assert run(["engines", "list", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["engines"]
        assert {row["engine"]: row["ready"] for row in rows} == {"onnx2tf": False, "litert-torch": False}
        assert run(["engines", "list"]) == 0
        assert "xport engines add onnx2tf" in capsys.readouterr().out.replace("\n", " ")
        assert run(["engines", "add", "nonsense"]) == 2
        assert run(["engines", "remove", "onnx2tf"]) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [row["engine"] for row in describe()] == list(table.ENGINES)
    assert all(
        "==" in requirement
        for row in table.ENGINES.values()
        for requirement in row.requirements
        if "/" not in requirement
    )
