"""Members of a SavedModel: files in ``assets.extra/xport``.

TensorFlow keeps ``assets.extra`` for "custom assets" and copies it along without looking into it.
Source: tensorflow/cc/saved_model/README.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from xport.carriers.limits import check_size


def write(path: Path, names: Collection[str], members: Mapping[str, bytes]) -> None:
    """Put members into the folder; see `xport.carriers.write_members`."""
    folder = path / "assets.extra" / "xport"
    if folder.is_dir():
        shutil.rmtree(folder)
    if members:
        folder.mkdir(parents=True)
    for name, data in members.items():
        (folder / name).write_bytes(data)


def read(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read the members; see `xport.carriers.read_members`."""
    members = {}
    for name in names:
        file = path / "assets.extra" / "xport" / name
        if file.is_file():
            check_size(path, name, file.stat().st_size)
            members[name] = file.read_bytes()
    return members
