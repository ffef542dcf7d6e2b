"""Pages that a reader walks through run as they stand, each section (or the whole page) in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks

_EXIT = re.compile(r"  # exits with (\d+)$")
_START_SECONDS = 600
WALKED = ("docs/getting-started.md", "docs/howto.md", "docs/extending.md")


@dataclass(frozen=True)
class Step:
    """One command or script of a walk, with its exit code and the lines that it must print."""

    command: tuple[str, ...]
    code: int = 0
    background: bool = False
    prints: tuple[str, ...] = ()


def walks() -> dict[str, list[Step]]:
    """The whole of getting-started, each section of the others that has something to run."""
    start, howto, extending = ((ROOT / name).read_text() for name in WALKED)
    found = {"getting started": steps(start)}
    for page in (howto, extending):
        for head, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
            if section := steps(body):
                found[re.sub(r"\W+", " ", head).strip()] = section
    return found


def steps(body: str) -> list[Step]:
    found: list[Step] = []
    for block in blocks(body):
        if block.language == "python":
            found.append(Step((sys.executable, "-c", block.text)))
        elif block.language == "console":
            found += [_step(line[2:]) for line in block.text.splitlines() if line.startswith("$ ")]
        elif block.language == "text":  # what the last command prints, among other things
            last = found.pop()
            found.append(Step(last.command, last.code, last.background, tuple(map(_blurred, block.text.splitlines()))))
    return found


def _step(line: str) -> Step:
    exits = _EXIT.search(line)
    words = shlex.split(line[: exits.start()] if exits else line)
    background = words[-1] == "&"
    return Step(tuple(words[:-1] if background else words), int(exits[1]) if exits else 0, background)


def _blurred(line: str) -> str:
    """A line without its figures and the width of its columns."""
    return re.sub(r"\d+", "#", " ".join(line.split()))


WALKS = walks()


def test_the_walks_are_found() -> None:
    assert len(WALKS) >= 18
    assert sum(step.background for walk in WALKS.values() for step in walk) >= 2
    assert any(step.prints for step in WALKS["getting started"])


@pytest.mark.slow
@pytest.mark.timeout(3000)  # forty processes that import frameworks, on a machine that may be busy
@pytest.mark.parametrize("walk", WALKS)
def test_walk(walk: str, tmp_path: Path) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    places = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))  # examples use the tests' helpers
    environment = {**os.environ, "PATH": path, "PYTHONPATH": places, "PYTHONUNBUFFERED": "1"}
    with contextlib.ExitStack() as servers:
        for step in WALKS[walk]:
            if step.background:
                servers.enter_context(_server(step, tmp_path, environment))
                continue
            done = subprocess.run(
                step.command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            said = f"{shlex.join(step.command)}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == step.code, said
            assert "Traceback" not in done.stderr, said
            printed = {_blurred(line) for line in done.stdout.splitlines()}
            assert not [line for line in step.prints if line not in printed], said


@contextlib.contextmanager
def _server(step: Step, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A command in the background: ready when it tells its URL, ended by SIGTERM, which must end it well."""
    url = f"http://127.0.0.1:{step.command[step.command.index('--port') + 1]}"
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(step.command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while url not in log.read_text():
            assert process.poll() is None, f"{shlex.join(step.command)}\n{log.read_text()}"
            assert time.monotonic() < deadline, f"it does not tell its URL\n{log.read_text()}"
            time.sleep(0.5)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert code == 0, log.read_text()
