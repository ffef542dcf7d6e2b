"""Two conversions to one destination at once."""

from __future__ import annotations

import contextlib
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
