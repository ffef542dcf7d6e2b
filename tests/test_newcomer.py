"""A newcomer's first hour: a fresh clone, and the README's two commands, with all that they set up themselves."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICK = "tests/docs/test_links.py"
"""One file of tests in place of all of them."""


def commands() -> list[str]:
    """The commands below the heading, word for word, without what stands behind them."""
    section = (ROOT / "README.md").read_text().partition("\n## Two commands\n")[2]
    block = re.search(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert block is not None
    return [line.partition("#")[0].strip() for line in block[1].splitlines()]


def on_a_terminal(command: str, folder: Path, **environment: str) -> str:
    """What somebody at a terminal sees of a command that succeeds."""
    ours, theirs = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                seen.append(os.read(ours, 1 << 16))
            except OSError:  # Linux's word for: everybody has closed the other side
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        done = subprocess.run(
            shlex.split(command), cwd=folder, env=fresh(**environment), stdout=theirs, stderr=theirs, stdin=theirs
        )
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    text = b"".join(seen).decode(errors="replace")
    assert done.returncode == 0, text
    return text


def fresh(**more: str) -> dict[str, str]:
    """This environment without what a virtual environment and the test run have put into it."""
    kept = {n: v for n, v in os.environ.items() if n not in ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")}
    kept = {n: v for n, v in kept.items() if not n.startswith(("PYTHON", "PYTEST", "XPORT"))}
    return {**kept, "PYTHON": str(Path(sys.base_prefix) / "bin" / "python3"), **more}


def test_there_are_two_commands() -> None:
    assert commands() == ["make demo", "make test"]


@pytest.mark.slow(turn=17, turns=30)
@pytest.mark.timeout(10800)  # two installations of large wheels, perhaps over a slow network
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="there is no repository to clone, only its files")
@pytest.mark.skipif(shutil.which("make") is None or shutil.which("git") is None, reason="a newcomer has make and git")
def test_the_two_commands_in_a_fresh_clone(tmp_path: Path) -> None:
    clone = tmp_path / "xport"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    demo, test = commands()

    said = on_a_terminal(demo, clone)
    for line in ("== creating .venv", "== installing xport", "1/4  training", "epoch 8", "4/4  timing"):
        assert line in said, said
    assert "One model, five formats" in said
    behind = said.partition("1/4  training")[2]  # pip has its own complaints, of a machine's package indexes
    assert not re.search(r"Traceback|Warning|WARNING|Error|ERROR|failed", behind), said
    for line in re.findall(r"^ +(\.venv/bin/xport .*?)\r?$", said, re.MULTILINE):  # what it tells to do next
        on_a_terminal(line, clone)
    assert (clone / "my_model" / "saved_model.pb").is_file()

    said = on_a_terminal(test, clone, ARGS=QUICK)
    for line in ("== installing xport", "== tests", " passed"):
        assert line in said, said
    assert "== creating .venv" not in said
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert sorted(changed.stdout.split()) in ([], ["??", "my_model/"]), changed.stdout
