"""A walk over the fields of a serialised protobuf message, without reading their values.

A model of gigabytes can so be asked for its interface and its metadata in milliseconds, and given new
metadata by
appending: for a repeated field, concatenated messages mean concatenated lists.
Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from xport.errors import UnreadableModelError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Field:
    """Where one field of a message lies in a file.

    Attributes:
        number: The field's number in the ``.proto`` file.
        kind: Its wire type.
        start: Where its tag begins.
        value: Where its value begins.
        end: Where its value ends, and the next field begins.
    """

    number: int
    kind: int
    start: int
    value: int
    end: int


def fields(file: BinaryIO, start: int, end: int) -> Iterator[Field]:
    """Walk the fields of the message between two positions of a file.

    Args:
        file: A file open for reading; it is moved about.
        start: Where the message begins.
        end: Where it ends.

    Yields:
        Its fields in the order they are stored.

    Raises:
        UnreadableModelError: If the bytes are no protobuf message.
    """
    position = start
    while position < end:
        file.seek(position)
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        value = file.tell()
        if kind == _VARINT:
            _varint(file)
            stop = file.tell()
        elif kind == _BYTES:
            length = _varint(file)
            value = file.tell()
            stop = value + length
        elif kind in (_FIXED64, _FIXED32):
            stop = value + (8 if kind == _FIXED64 else 4)
        else:
            raise _broken(position)
        if number == 0 or stop > end:
            raise _broken(position)
        yield Field(number, kind, position, value, stop)
        position = stop


def encode(number: int, value: bytes) -> bytes:
    """The bytes of one length-delimited field (text, bytes, or a message)."""
    return _to_varint(number << 3 | _BYTES) + _to_varint(len(value)) + value


def _varint(file: BinaryIO) -> int:
    result = shift = 0
    while shift < 70:
        byte = file.read(1)
        if not byte:
            break
        result |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return result
        shift += 7
    raise _broken(file.tell())


def _to_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _broken(position: int) -> UnreadableModelError:
    return UnreadableModelError(
        f"The protobuf data is broken at byte {position}.",
        "The file may be truncated; copy or save it again.",
    )
