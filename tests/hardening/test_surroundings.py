"""The command line works without what it mostly finds around it: a home, a terminal, UTF-8, room in its own folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sandbox

ODD = "we ird '\"$(touch x);`&|*?\\ 日本é\nnew line"
"""A name with everything that a shell, a locale or a line-based format trips over."""
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A locale that knows 128 characters, and a Python that is told to believe it."""


def converts(source: Path | str, result: Path | str, **settings: object) -> str:
    return sandbox.passed(sandbox.run("convert", source, "--to", "onnx", "-o", result, **settings))


def shell(redirection: str) -> list[str]:
    """What runs a command with its streams redirected or closed."""
    return ["sh", "-c", f'"$@" {redirection}', "sh"]


@pytest.mark.slow
def test_nothing_in_the_environment(tiny: Path, tmp_path: Path) -> None:
    converts(tiny, "a.onnx", cwd=tmp_path, env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")})
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["<&-", "<&- >&- 2>&-"])
def test_closed_streams(streams: str, tiny: Path, tmp_path: Path) -> None:
    converts(tiny, "a.onnx", cwd=tmp_path, before=shell(streams))
    sandbox.passed(sandbox.run("verify", "a.onnx", cwd=tmp_path, before=shell(streams)))
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_what_is_opened_does_not_take_a_closed_streams_number(tmp_path: Path) -> None:
    code = "from xport.cli.surroundings import settle; settle(); import os, sys; file = open('f', 'w'); "
    code += "assert file.fileno() > 2; print('out'); print('err', file=sys.stderr); os.system('echo child')"
    done = subprocess.run(
        [*shell("<&- >&- 2>&-"), sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True
    )
    assert (done.returncode, done.stdout, (tmp_path / "f").read_text()) == (0, b"", "")


@pytest.mark.parametrize("command", [["formats"], ["formats", "--json"]])
def test_an_output_without_room_is_no_bug(command: list[str]) -> None:
    words = sandbox.refused(sandbox.run(*command, before=shell(">/dev/full")), 1)
    assert "No space left on device" in words


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_odd_names(encoding: str, tiny: Path, tmp_path: Path) -> None:
    """In and out, whatever the locale can print; other encodings' output stays readable, and JSON stays JSON."""
    folder = tmp_path / ODD
    folder.mkdir()
    shutil.copy(tiny, folder / "é 日.onnx")
    settings = {"cwd": tmp_path}
    if encoding != "utf-8":
        settings["env"] = sandbox.without("LANG", **POSIX, PYTHONIOENCODING=encoding)
    done = sandbox.run("convert", folder / "é 日.onnx", "--to", "onnx", "-o", folder / "ü 本", "--json", **settings)
    sandbox.passed(done)
    assert json.loads(done.stdout.decode(encoding))["path"] == str(folder / "ü 本")
    sandbox.passed(sandbox.run("verify", folder / "ü 本", **settings))
    assert sorted(p.name for p in folder.iterdir()) == sorted(["é 日.onnx", "ü 本"])
    assert [p.name for p in tmp_path.iterdir()] == [ODD]


@pytest.mark.parametrize("side", ["source", "output"])
def test_a_name_that_is_no_text_is_refused(side: str, tiny: Path, tmp_path: Path) -> None:
    """Frameworks take names as UTF-8; such a file can be there all the same."""
    odd = os.fsdecode(b"bad\xff.onnx")
    shutil.copy(tiny, tmp_path / odd)
    source, result = (odd, "a.onnx") if side == "source" else (tiny, os.fsdecode(b"out\xff"))
    done = sandbox.run("convert", source, "--to", "onnx", "-o", result, cwd=tmp_path)
    assert "not UTF-8" in sandbox.refused(done, 2)
    assert [p.name for p in tmp_path.iterdir()] == [odd]


@pytest.mark.parametrize("command", [["inspect"], ["convert", "--to", "onnx"], ["verify"], ["validate", "{tiny}"]])
def test_a_name_that_is_too_long_is_refused(command: list[str], tiny: Path, tmp_path: Path) -> None:
    words = [word.format(tiny=tiny) for word in command]
    assert "too long" in sandbox.refused(sandbox.run(*words, "a" * 300, cwd=tmp_path), 2)


def test_a_result_with_too_long_a_name_is_refused_at_once(tiny: Path, tmp_path: Path) -> None:
    done = sandbox.run("convert", tiny, "--to", "onnx", "-o", "a" * 300, cwd=tmp_path)
    assert "too long" in sandbox.refused(done, 2)
