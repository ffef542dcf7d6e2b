"""Members of an ONNX file: entries of ``ModelProto.metadata_props``.

The file is never parsed: metadata is a repeated field of the outermost message, so entries are found by
walking the outermost fields and added by appending them. Source: onnx/onnx.proto,
``ModelProto.metadata_props = 14`` and ``StringStringEntryProto { key = 1; value = 2; }``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, BinaryIO

from xport import wire
from xport.carriers.limits import check_size, from_text, to_text

_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
_PREFIX = "xport/"


def write(path: Path, names: Collection[str], members: Mapping[str, bytes]) -> None:
    """Put members into the file; see `xport.carriers.write_members`."""
    with path.open("rb") as file:
        old = [(field.start, field.end) for name, field, _ in _entries(file) if name in names]
    if old:
        _cut(path, old)
    with path.open("ab") as file:
        for name, data in members.items():
            key, value = (_PREFIX + name).encode(), to_text(name, data)
            file.write(wire.encode(_METADATA_PROPS, wire.encode(_KEY, key) + wire.encode(_VALUE, value)))


def read(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read the members; see `xport.carriers.read_members`."""
    members = {}
    with path.open("rb") as file:
        for name, _, value in list(_entries(file)):
            if name in names:
                check_size(path, name, value.end - value.value)
                file.seek(value.value)
                members[name] = from_text(path, name, file.read(value.end - value.value))
    return members


def _entries(file: BinaryIO) -> Iterator[tuple[str, wire.Field, wire.Field]]:
    """Our metadata entries: the member's name, the whole entry, its value."""
    size = os.fstat(file.fileno()).st_size
    for field in wire.fields(file, 0, size):
        if field.number != _METADATA_PROPS:
            continue
        parts = {part.number: part for part in wire.fields(file, field.value, field.end)}
        key = parts.get(_KEY)
        if key is None or _VALUE not in parts or key.end - key.value > 100:
            continue
        file.seek(key.value)
        name = file.read(key.end - key.value).decode(errors="replace")
        if name.startswith(_PREFIX):
            yield name.removeprefix(_PREFIX), field, parts[_VALUE]


def _cut(path: Path, spans: list[tuple[int, int]]) -> None:
    """Take spans of bytes out of a file."""
    with path.open("rb") as source, tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as target:
        try:
            position = 0
            for start, end in [*sorted(spans), (path.stat().st_size, 0)]:
                source.seek(position)
                _copy(source, target, start - position)
                position = end
            shutil.copymode(path, target.name)
            os.replace(target.name, path)
        except BaseException:
            os.unlink(target.name)
            raise


def _copy(source: IO[bytes], target: IO[bytes], count: int) -> None:
    while count > 0:
        chunk = source.read(min(count, 1 << 20))
        target.write(chunk)
        count -= len(chunk)
