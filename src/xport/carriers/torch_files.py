"""Members of a PyTorch model: inside a folder of source, beside a file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from xport.carriers import sidecar
from xport.carriers.limits import check_size


def write(path: Path, names: Collection[str], members: Mapping[str, bytes]) -> None:
    """Put members into the folder or beside the file; see `xport.carriers.write_members`."""
    if not path.is_dir():
        sidecar.write(path, names, members)
        return
    for name in names:
        if name in members:
            (path / name).write_bytes(members[name])
        else:
            (path / name).unlink(missing_ok=True)


def read(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read the members; see `xport.carriers.read_members`."""
    if not path.is_dir():
        return sidecar.read(path, names)
    members = {}
    for name in names:
        file = path / name
        if file.is_file():
            check_size(path, name, file.stat().st_size)
            members[name] = file.read_bytes()
    return members
