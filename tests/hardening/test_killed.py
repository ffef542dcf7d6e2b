"""Conversions that are ended at any moment leave nothing half made, nobody behind, and nothing that is in the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import sandbox

SECONDS_TO_END = 20.0
"""A worker looks once a second whether its parent lives; a busy machine may take long to let it."""
MODELS = 3


def visible(folder: Path) -> list[str]:
    """What a user sees in a folder."""
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def everyone_ends(below: dict[int, str]) -> bool:
    return bool(sandbox.wait_for(lambda: not sandbox.alive(below), SECONDS_TO_END))


def interrupted(number: signal.Signals, moment: str, folder: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """Send a signal to a command once it has said something; every process has to end by itself."""
    with sandbox.started(*arguments, cwd=folder, start_new_session=True) as process:
        assert process.stderr is not None
        words = ""
        while moment not in words:
            line = process.stderr.readline().decode()
            assert line, f"it ended before it said {moment}: {words}"
            words += line
        time.sleep(random.Random(moment).random() / 2)
        below = sandbox.descendants(process.pid)
        assert below
        process.send_signal(number)
        began = time.monotonic()
        _, rest = process.communicate(timeout=60)
        assert number is signal.SIGKILL or time.monotonic() - began < SECONDS_TO_END
        assert b"Traceback" not in rest
        assert everyone_ends(below)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["reading", "running"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_conversion_and_all_its_traces(
    number: signal.Signals, code: int, moment: str, tiny: Path, tmp_path: Path
) -> None:
    process = interrupted(number, moment, tmp_path, "convert", tiny, "--to", "onnx", "-o", "a.onnx")
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["opening", "timing"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_validation(number: signal.Signals, code: int, moment: str, tiny: Path, tmp_path: Path) -> None:
    process = interrupted(number, moment, tmp_path, "validate", tiny, tiny, "--report", "r.html")
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_server_ends_well_once_it_serves_and_not_before(number: signal.Signals, code: int, tiny: Path) -> None:
    command = ("serve", tiny, "--port", 0, "--no-grpc")
    with sandbox.started(*command) as process:
        assert sandbox.wait_for(lambda: sandbox.descendants(process.pid))  # it opens its model, and takes signals
        below = sandbox.descendants(process.pid)
        process.send_signal(number)
        assert process.wait(60) == code
        assert everyone_ends(below)
    with sandbox.started(*command) as process:
        assert process.stderr is not None
        line = b"."
        while b"Serving" not in line:
            line = process.stderr.readline()
            assert line
        below = sandbox.descendants(process.pid)
        process.send_signal(number)
        assert process.wait(60) == 0
        assert everyone_ends(below)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["→", "proving"])
def test_killed_at_any_moment_nothing_is_half_there(moment: str, tiny: Path, tmp_path: Path) -> None:
    interrupted(signal.SIGKILL, moment, tmp_path, "convert", tiny, "--to", "onnx", "-o", "a.onnx")
    if visible(tmp_path):  # it came through in time
        sandbox.passed(sandbox.run("verify", "a.onnx", cwd=tmp_path))
        return
    for left in tmp_path.iterdir():  # as if it had happened a while ago
        os.utime(left, (0, 0))
    sandbox.passed(sandbox.run("convert", tiny, "--to", "onnx", "-o", "a.onnx", cwd=tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


MOMENTS = {
    "it began": lambda out: True,
    "a result grows": lambda out: any(out.glob(".xport-many/work/*/result/*")),
    "a record is written": lambda out: len(list(out.glob(".xport-many/*.json"))) > len(finished_now(out)),
    "one more is finished": lambda out: len(finished_now(out)) > 0,
}
"""When a plan is killed, give or take a random moment; each may be over before it is seen."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_plan_that_is_killed_again_and_again(tiny: Path, tmp_path: Path) -> None:
    """Another seed in every run; ``XPORT_TEST_SEED`` repeats one."""
    seed = int(os.environ.get("XPORT_TEST_SEED") or time.time_ns() % 10**6)
    print(f"XPORT_TEST_SEED={seed}")  # shown where the test fails
    draw = random.Random(seed)
    lines = "".join(f"  - {{source: {tiny}, to: {{onnx: {{output: m{i}.onnx, seed: {i}}}}}}}\n" for i in range(MODELS))
    (tmp_path / "plan.yaml").write_text(f"models:\n{lines}")
    command = ("convert", "--many", "plan.yaml", "-o", "out", "--jobs", "2")
    finished: dict[str, tuple[bytes, int]] = {}
    for moment in draw.sample(list(MOMENTS), len(MOMENTS)):
        with sandbox.started(*command, cwd=tmp_path) as process:
            sandbox.wait_for(lambda process=process: sandbox.descendants(process.pid))
            sandbox.wait_for(lambda moment=moment: MOMENTS[moment](tmp_path / "out"), draw.uniform(1, 40))
            time.sleep(draw.uniform(0, 1))
            below = sandbox.descendants(process.pid)
            process.kill()
            process.wait()
            assert everyone_ends(below)
        for name in finished_now(tmp_path / "out"):
            path = tmp_path / "out" / name
            now = (path.read_bytes(), path.stat().st_mtime_ns)
            assert finished.setdefault(name, now) == now  # neither changed nor written again
    done = sandbox.run(*command, "--json", cwd=tmp_path, timeout=1200)
    sandbox.passed(done)
    report = {result["name"]: result["status"] for result in json.loads(done.stdout)["results"]}
    assert len(report) == MODELS
    assert all(report[name] == "kept" for name in finished)
    assert visible(tmp_path / "out") == sorted(report)
    for name, (content, age) in finished.items():
        assert ((tmp_path / "out" / name).read_bytes(), (tmp_path / "out" / name).stat().st_mtime_ns) == (content, age)
    for name in report:
        sandbox.passed(sandbox.run("verify", tmp_path / "out" / name))
    assert list((tmp_path / "out" / ".xport-many" / "work").iterdir()) == []


def finished_now(output: Path) -> list[str]:
    """The tasks whose record says that they are finished."""
    records = [json.loads(path.read_text()) for path in output.glob(".xport-many/*.json")]
    return [record["task"] for record in records if record["state"] == "done"]
