"""Conversion, validation, inspection and serving reach for no network, and tell nobody about themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sandbox

OFFLINE = ["unshare", "-n", sys.executable, str(sandbox.HERE / "offline.py")]
TARGETS = {
    "torchscript": "m.pt",
    "pt2": "m.pt2",
    "onnx": "m.onnx",
    "savedmodel": "m",
    "tflite": "m.tflite",
}
RECORDS = "Microsoft"
"""The folder that onnxruntime's telemetry keeps its files in, somewhere below the home."""
IMPORT = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
ROOT = sandbox.HERE.parents[1]
SILENCERS = ("ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TRAVIS")
SILENCERS += ("JENKINS_URL", "CODEBUILD_BUILD_ID", "BUILDKITE", "TEAMCITY_VERSION", "APPVEYOR")
"""Variables under which onnxruntime keeps quiet of itself: its own, and those by which it knows a build machine."""


def needs(*flags: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not sandbox.may_unshare(*flags), reason=f"unshare {' '.join(flags)} is not permitted here; it takes root"
    )


def fresh(home: Path) -> dict[str, str]:
    """An environment in which nobody has switched telemetry off."""
    return sandbox.without(*SILENCERS, "XDG_CACHE_HOME", HOME=str(home))


def records(home: Path) -> list[Path]:
    """What telemetry left below a home."""
    return [path for path in home.rglob("*") if RECORDS in path.parts]


def quiet(done: subprocess.CompletedProcess[bytes]) -> str:
    """What a command printed that succeeded without trying to reach anything."""
    words = sandbox.passed(done)
    assert words.rstrip().endswith("ATTEMPTS 0"), words
    return words


@needs("-n")
@pytest.mark.parametrize(
    "code", ["__import__('socket').create_connection(('192.0.2.1', 80))", "__import__('socket').gethostbyname('a.org')"]
)
def test_an_attempt_would_be_seen(code: str) -> None:
    done = subprocess.run([*OFFLINE, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert int(done.stderr.rpartition("ATTEMPTS ")[2]) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' wheels keep their records elsewhere")
def test_onnxruntime_by_itself_leaves_records(tmp_path: Path) -> None:
    """The control: if this fails, the next tests see nothing."""
    command = [sys.executable, "-c", "import onnxruntime, time; time.sleep(1)"]
    subprocess.run(command, env=fresh(tmp_path), check=True, timeout=60)
    assert records(tmp_path)


def test_the_command_line_leaves_none(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    sandbox.passed(sandbox.run("convert", tiny, "--to", "onnx", "-o", tmp_path / "again.onnx", env=fresh(home)))
    sandbox.passed(sandbox.run("validate", tiny, tmp_path / "again.onnx", "--runs", 0, env=fresh(home)))
    assert records(home) == []


@needs("-n")
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_conversion_stays_at_home(target: str, tmp_path: Path) -> None:
    result, home = TARGETS[target], tmp_path / "home"
    home.mkdir()
    there = {"before": OFFLINE, "cwd": tmp_path, "env": fresh(home)}
    quiet(sandbox.run("convert", "zoo:digits_cnn", "--to", target, "-o", result, **there))
    quiet(sandbox.run("verify", result, **there))
    quiet(sandbox.run("inspect", result, **there))
    quiet(sandbox.run("validate", "zoo:digits_cnn", result, "--runs", 0, **there))
    assert records(home) == []


@needs("-n")
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("what", ["bisect", "package", "plan", "compare"])
def test_other_work_stays_at_home(what: str, tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "plan.yaml").write_text(f"models:\n  - {{source: {tiny}, to: onnx}}\n")
    commands = {
        "bisect": [("bisect", tiny, tiny)],
        "package": [
            ("convert", tiny, "--to", "onnx", "-o", "m.onnx"),
            ("package", "m.onnx", "--engine", "embedded", "-o", "bundle"),
        ],
        "plan": [("convert", "--many", "plan.yaml", "-o", "many")],
        "compare": [("compare", tiny, "--contenders", "onnx,tflite", "--runs", 2, "--starts", 1, "--report", "c.html")],
    }
    for command in commands[what]:
        quiet(sandbox.run(*command, before=OFFLINE, cwd=tmp_path, env=fresh(home), timeout=2 * sandbox.SECONDS))
    assert records(home) == []


@needs("-n")
@pytest.mark.slow
def test_a_server_needs_this_machine_only(tiny: Path) -> None:
    command = [*OFFLINE, "--loopback", sys.executable, str(sandbox.HERE / "ask_server.py"), str(tiny)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=sandbox.SECONDS)
    assert "SHAPE (2, 3)" in quiet(done)


def test_every_import_of_onnxruntime_comes_after_the_setting() -> None:
    """By way of `xport.runtimes.require`, or of the variable itself in code that stands alone."""
    found, wrong = 0, []
    for area in ("src/xport", "convert", "serve", "validate", "models"):
        for path in sorted((ROOT / area).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if first := IMPORT.search(text):
                found += 1
                before = text[: first.start()]
                if 'require("onnxruntime")' not in before and "ORT_DISABLE_TELEMETRY" not in before:
                    wrong.append(str(path))
    assert found >= 3
    assert wrong == []
