"""Members of a model without room for them: files beside it, ``model.pt.xport.json`` for ``model.pt``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from xport.carriers.limits import check_size


def sidecar(path: Path, name: str) -> Path:
    """Where a member of a model lies."""
    return path.with_name(f"{path.name}.{name}")


def write(path: Path, names: Collection[str], members: Mapping[str, bytes]) -> None:
    """Put members beside the model; see `xport.carriers.write_members`."""
    for name in names:
        if name in members:
            sidecar(path, name).write_bytes(members[name])
        else:
            sidecar(path, name).unlink(missing_ok=True)


def read(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read the members; see `xport.carriers.read_members`."""
    members = {}
    for name in names:
        file = sidecar(path, name)
        if file.is_file():
            check_size(path, name, file.stat().st_size)
            members[name] = file.read_bytes()
    return members
