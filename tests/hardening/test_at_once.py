"""Two conversions to one destination at once."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import sandbox


@pytest.mark.slow
@pytest.mark.parametrize(("target", "force"), [("onnx", False), ("onnx", True), ("savedmodel", True)])
def test_one_wins_whole(target: str, force: bool, tiny: Path, tmp_path: Path) -> None:
    more = ["--force"] if force else []
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(
                sandbox.started("convert", tiny, "--to", target, "-o", "a", "--seed", n, *more, cwd=tmp_path)
            )
            for n in range(2)
        ]
        words = [b"".join(process.communicate(timeout=sandbox.SECONDS)).decode() for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes == [0, 0] if force else codes == [0, 2], words
    assert not any("Traceback" in text or "bug in xport" in text for text in words)
    if not force:
        assert any("exists already" in text for text in words)
    sandbox.passed(sandbox.run("verify", "a", cwd=tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.slow
def test_two_runs_of_one_plan(tiny: Path, tmp_path: Path) -> None:
    """Each task is done whole, by one of them or by both in turn; one may be told that the other has it."""
    lines = "".join(f"  - {{source: {tiny}, to: {{onnx: {{output: m{i}.onnx, seed: {i}}}}}}}\n" for i in range(2))
    (tmp_path / "plan.yaml").write_text(f"models:\n{lines}")
    command = ("convert", "--many", "plan.yaml", "-o", "out", "--jobs", 1)
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(sandbox.started(*command, "--json", cwd=tmp_path)) for _ in range(2)]
        told = [process.communicate(timeout=2 * sandbox.SECONDS) for process in both]
    results = [result for out, _ in told for result in json.loads(out)["results"]]
    assert {result["name"] for result in results if result["status"] == "converted"} == {"m0.onnx", "m1.onnx"}
    for result in results:
        assert result["status"] != "failed" or "Another process is making" in result["error"]["message"], result
    assert not any(b"Traceback" in err or b"bug in xport" in err for _, err in told)
    done = sandbox.run(*command, "--json", cwd=tmp_path)
    sandbox.passed(done)
    assert [result["status"] for result in json.loads(done.stdout)["results"]] == ["kept", "kept"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".xport-many", "m0.onnx", "m1.onnx"]
    assert list((tmp_path / "out" / ".xport-many" / "work").iterdir()) == []
