"""The hostile files, made once for all tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of hostile files; ``mark`` beside it appears if one of them gets its way."""
    import files
    import seeds

    root = tmp_path_factory.mktemp("hostile")
    sound, target = root / "seeds", root / "files"
    sound.mkdir()
    target.mkdir()
    seeds.build(sound)
    for name, content in files.damaged(sound):
        (target / name).write_bytes(content)
    for name, content in files.graphs():
        (target / f"graph-{name}.onnx").write_bytes(content)
    files.archives(sound, target, root / "mark")
    files.folders(sound, target)
    files.oddities(target)
    files.locations(target)
    return target
