"""The sections of docs/howto.md run as they stand, each in a folder of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "howto.md").read_text()
SECTIONS = {
    re.sub(r"\W+", " ", head).strip(): body
    for head, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
}
DRIFT = "  # exits with 3"


def steps(body: str) -> list[tuple[list[str], int]]:
    """The commands and snippets of a section in order, each with its exit code."""
    found: list[tuple[list[str], int]] = []
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", body, re.MULTILINE | re.DOTALL):
        if language == "python":
            found.append(([sys.executable, "-c", block], 0))
            continue
        lines = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
        found += [(shlex.split(line.removesuffix(DRIFT)), 3 if line.endswith(DRIFT) else 0) for line in lines]
    return found


def test_the_page_has_sections() -> None:
    assert len(SECTIONS) >= 9
    assert all(map(steps, SECTIONS.values()))


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_section(section: str, tmp_path: Path) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for command, code in steps(SECTIONS[section]):
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
