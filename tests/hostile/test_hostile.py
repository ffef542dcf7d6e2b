"""Hostile files through every reader: a clear error or a sound answer, in bounded time and memory, and nothing runs."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

MOST_SECONDS, MOST_BYTES = 60, 2 << 30
READABLE_ANYWAY = (
    "-flip",
    "-doubled",
    "-zeros",
    "-ones",
    "-link",
    "graph-",
    "-novariables",
    "-shortvariables",
    "program-payload",
)
"""What ``xport inspect`` may be able to describe: it looks at the graph, not at weights, and runs nothing."""

Call = Callable[..., tuple[int, str, str]]


def inspected(call: Call, path: Path) -> tuple[int, str]:
    """Exit code and messages of ``xport inspect``, within its limits of time and memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hung = threading.Timer(MOST_SECONDS, lambda: pytest.exit(f"xport inspect {path.name} hangs", 1))
    hung.start()
    try:
        code, out, err = call("inspect", path)
    finally:
        hung.cancel()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_BYTES >> 10
    assert "bug in xport" not in err
    return code, out + err


GROUPS = ("state", "pickled", "bare", "script", "program", "x", "graph", "data", "saved")
"""What a name begins with; the rest are oddities."""


@pytest.mark.slow
@pytest.mark.parametrize("group", [*GROUPS, "odd"])
def test_every_file_is_described_or_refused(hostile: Path, call: Call, group: str) -> None:
    paths = [p for p in hostile.iterdir() if p.suffix != ".bin"]
    groups = {p.name: first if (first := p.name.partition("-")[0]) in GROUPS else "odd" for p in paths}
    wrong = {}
    for path in sorted(p for p in paths if groups[p.name] == group):
        code, words = inspected(call, path)
        if code != 2 and not (code == 0 and any(part in path.name for part in READABLE_ANYWAY)):
            wrong[path.name] = (code, words[-300:])
        elif code == 2 and path.name not in words:
            wrong[path.name] = (code, "does not name the file: " + words[-300:])
    assert not wrong
    assert not (hostile.parent / "mark").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    {
        "x-bomb.keras": "zip bomb",
        "program-bomb.pt2": "zip bomb",
        "state-bomb.pt": "zip bomb",
        "script-outside.pt": "leads out of it",
        "data-up.onnx": "outside its folder",
        "data-absolute.onnx": "outside its folder",
        "data-link.onnx": "outside its folder",
        "data-missing.onnx": "is not there",
        "pipe.onnx": "neither a file nor a folder",
        "endless.onnx": "neither a file nor a folder",
        "graph-recursive.onnx": "calls itself",
        "graph-billions.onnx": "expand to more than",
        "pickled-payload.pt": "--trust-pickle",
    }.items(),
)
def test_messages(hostile: Path, call: Call, name: str, words: str) -> None:
    code, said = inspected(call, hostile / name)
    assert (code, words in said) == (2, True), said


CONVERTED = [
    "graph-cycle.onnx",
    "graph-two-of-a-name.onnx",
    "graph-huge-constant.onnx",
    "graph-huge-expand.onnx",
    "graph-declared-weight.onnx",
    "graph-negative-weight.onnx",
    "graph-unknown-dtype.onnx",
    "graph-missing-output.onnx",
    "data-far.onnx",
    "data-negative.onnx",
    "data-long.onnx",
    "data-words.onnx",
    "data-folder.onnx",
    "data-nul.onnx",
    "saved-shortvariables",
    "script-payload.pt",
    "program-payload.pt2",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVERTED)
def test_nothing_is_made_of_it(hostile: Path, call: Call, tmp_path: Path, name: str) -> None:
    target = tmp_path / "out.onnx"
    extra = [] if name.endswith((".onnx", "variables")) else ["--input", "x:float32[batch,4]"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    code, _, err = call("convert", hostile / name, "--to", "onnx", "-o", target, *extra)
    assert code in (1, 2), err
    assert "bug in xport" not in err
    assert "Error" in err
    assert list(tmp_path.iterdir()) == []
    assert not (hostile.parent / "mark").exists()
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert after == before or after < MOST_BYTES >> 10
