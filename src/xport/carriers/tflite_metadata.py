"""Members of a TFLite file: ``Metadata`` entries, each naming a buffer.

A flatbuffer cannot grow in place, but everything in it is found by relative, forward offsets: the old file
is kept whole, byte by byte, and a new root table is put in front of it, whose vectors of buffers and
metadata point to the old entries and to ours. That costs one copy of the file, whatever is in it, and is
undone exactly.
Sources: https://flatbuffers.dev/internals/, tensorflow/lite/schema/schema.fbs (tables Model, Buffer,
    Metadata).
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import flatbuffers.number_types as number_types
from flatbuffers.table import Table

from xport.carriers import sidecar
from xport.carriers.limits import check_size
from xport.errors import UnreadableModelError

_PREFIX = "xport/"
_ORIGIN = "xport/origin"  # where the file as it was before us begins: eight bytes
_ALIGNMENT = 64  # tensors are mapped from the file; schema.fbs asks for 16
_LIMIT = 2**31 - 2**20  # flatbuffers end at 2 GiB
# Slots of schema.fbs, table Model: 0 version, 1 operator_codes, 2 subgraphs, 3 description, 4 buffers,
# 5 metadata_buffer, 6 metadata, 7 signature_defs, and offsets only in whatever was added since.
_BUFFERS, _METADATA = 4, 6


def write(path: Path, names: Collection[str], members: Mapping[str, bytes]) -> None:
    """Put members into the file; see `xport.carriers.write_members`."""
    data = _original(path, path.read_bytes())
    model = _Model.parse(path, data)
    if model.has_external_data or len(data) + sum(map(len, members.values())) > _LIMIT:
        # Buffers beyond the flatbuffer are found by their place in the file, which must not move.
        sidecar.write(path, names, members)
        return
    _replace(path, model.with_members(members) if members else data)


def read(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read the members; see `xport.carriers.read_members`."""
    members = {}
    if path.stat().st_size == 0:  # which cannot be mapped
        raise _broken(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        entries = _entries(_Model.parse(path, data))
        for name in names:
            if _PREFIX + name in entries:
                start, size = entries[_PREFIX + name]
                check_size(path, name, size)
                members[name] = data[start : start + size]
    return members or sidecar.read(path, names)


def _replace(path: Path, data: bytes | bytearray) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            os.chmod(file.name, path.stat().st_mode)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _original(path: Path, data: bytes) -> bytes:
    """The file as it was before members were put in."""
    place = _entries(_Model.parse(path, data)).get(_ORIGIN)
    if place is None:
        return data
    start, size = struct.unpack("<II", data[place[0] : place[0] + place[1]][:8].ljust(8, b"\0"))
    if start + size + -size % _ALIGNMENT != len(data):
        return data  # rewritten since by somebody who does not know us: what was noted then is no longer so
    original = data[start : start + size]
    if len(original) != size or original[4:8] != b"TFL3":
        raise UnreadableModelError(f"{path} carries broken metadata.", "Convert the model again.")
    return original


def _entries(model: _Model) -> dict[str, tuple[int, int]]:
    """Start and size of the content of every metadata entry of ours, by its full name."""
    found = {}
    try:
        buffers = model.vector(_BUFFERS)
        for position in model.vector(_METADATA):
            entry = Table(model.data, position)
            name, index = entry.Offset(4), entry.Offset(6)
            key = entry.String(name + entry.Pos).decode(errors="replace") if name else ""
            if key.startswith(_PREFIX):
                number = entry.Get(number_types.Uint32Flags, index + entry.Pos) if index else 0
                found[key] = _content(Table(model.data, buffers[number]))
    except (struct.error, IndexError, TypeError, ValueError) as error:
        raise _broken(model.path) from error
    return found


def _content(buffer: Table) -> tuple[int, int]:
    """Start and size of what a ``Buffer`` holds."""
    slot = buffer.Offset(4)
    if not slot:
        return 0, 0
    start, size = buffer.Vector(slot), buffer.VectorLen(slot)
    if start + size > len(buffer.Bytes):
        raise IndexError("a buffer ends beyond the file")
    return start, size


def _broken(path: Path) -> UnreadableModelError:
    return UnreadableModelError(f"{path} is a broken TFLite file.", "It may be truncated; copy or convert it again.")


@dataclass(frozen=True)
class _Model:
    """The root table of a TFLite file."""

    path: Path
    data: Any  # bytes or a memory map
    root: Table
    slots: int

    @classmethod
    def parse(cls, path: Path, data: Any) -> _Model:
        try:
            start = struct.unpack_from("<I", data, 0)[0]
            root = Table(data, start)
            vtable = start - struct.unpack_from("<i", data, start)[0]
            if vtable < 0:
                raise IndexError("the table of fields lies before the file")
            return cls(path, data, root, (struct.unpack_from("<H", data, vtable)[0] - 4) // 2)
        except (struct.error, IndexError, TypeError) as error:
            raise _broken(path) from error

    def _field(self, slot: int) -> int:
        """The absolute place of a field, 0 where it is absent."""
        offset: int = self.root.Offset(4 + 2 * slot) if slot < self.slots else 0
        return offset + self.root.Pos if offset else 0

    def vector(self, slot: int) -> list[int]:
        """The absolute places of the tables in a vector."""
        field = self._field(slot)
        if not field:
            return []
        start, count = self.root.Vector(field - self.root.Pos), self.root.VectorLen(field - self.root.Pos)
        if start + 4 * count > len(self.data):
            raise _broken(self.path)
        relative = struct.unpack_from(f"<{count}I", self.data, start)
        return [start + 4 * i + offset for i, offset in enumerate(relative)]

    @property
    def has_external_data(self) -> bool:
        """Whether tensors lie behind the flatbuffer (``Buffer.offset``, slot 1)."""
        return any(Table(self.data, position).Offset(6) for position in self.vector(_BUFFERS))

    def with_members(self, members: Mapping[str, bytes]) -> bytearray:
        """The file with members in front of the old one."""
        size = len(self.data)
        room = size + sum(map(len, members.values())) + 8 * len(self.vector(_BUFFERS)) + 4096
        builder = flatbuffers.Builder(room)
        builder.Prep(_ALIGNMENT, 0)
        padded = size + -size % _ALIGNMENT
        builder.head -= padded
        builder.Bytes[builder.head : builder.head + size] = self.data
        # What the builder counts from the end; everything behind us is that far away.
        entries = {_PREFIX + name: data for name, data in members.items()}
        entries[_ORIGIN] = bytes(8)
        buffers = [padded - place for place in self.vector(_BUFFERS)]
        metadata = [padded - place for place in self.vector(_METADATA)]
        for name, data in entries.items():
            metadata.append(_metadata(builder, name, len(buffers)))
            buffers.append(_buffer(builder, data))
        vectors = {_BUFFERS: _offsets(builder, buffers), _METADATA: _offsets(builder, metadata)}
        out = self._finish(builder, vectors, padded)
        _patch_origin(out, len(out) - padded, size)
        return out

    def _finish(self, builder: flatbuffers.Builder, vectors: Mapping[int, int], padded: int) -> bytearray:
        builder.StartObject(max(self.slots, _METADATA + 1))
        version = self._field(0)
        if version:
            builder.PrependUint32Slot(0, struct.unpack_from("<I", self.data, version)[0], 0)
        for slot in range(1, max(self.slots, _METADATA + 1)):
            field = self._field(slot)
            if slot in vectors:
                builder.PrependUOffsetTRelativeSlot(slot, vectors[slot], 0)
            elif field:
                place = field + struct.unpack_from("<I", self.data, field)[0]
                builder.PrependUOffsetTRelativeSlot(slot, padded - place, 0)
        root = builder.EndObject()
        builder.Prep(_ALIGNMENT, 8)
        builder.Finish(root, file_identifier=b"TFL3")
        output: bytearray = builder.Output()
        return output


def _buffer(builder: flatbuffers.Builder, data: bytes) -> int:
    builder.StartVector(1, len(data), 16)
    builder.head -= len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    content = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, content, 0)
    return int(builder.EndObject())


def _metadata(builder: flatbuffers.Builder, name: str, buffer: int) -> int:
    text = builder.CreateString(name)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependUint32Slot(1, buffer, 0)
    return int(builder.EndObject())


def _offsets(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _patch_origin(data: bytearray, start: int, size: int) -> None:
    """Write where the old file lies into the buffer that was kept for it."""
    place, _ = _entries(_Model.parse(Path(), data))[_ORIGIN]
    struct.pack_into("<II", data, place, start, size)
