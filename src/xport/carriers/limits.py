"""What keeps a hostile file from exhausting the memory of whoever reads it."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from xport.errors import UnreadableModelError

MEMBER_LIMIT = 96 * 2**20
"""The most bytes that a member may have, as stored."""


def check_size(path: Path, name: str, size: int) -> None:
    """Refuse a member that is too large, before it is read.

    Args:
        path: The artifact.
        name: The member's name.
        size: Its size in bytes, as the file states it.

    Raises:
        UnreadableModelError: If it is larger than `MEMBER_LIMIT`.
    """
    if size > MEMBER_LIMIT:
        raise UnreadableModelError(
            f"{path} carries a member {name!r} of {size} bytes; xport writes {MEMBER_LIMIT} at most.",
            "The file was not made by xport, or was changed; convert the model again.",
        )


def is_text(name: str) -> bool:
    """Whether a member is text; others are base64 in places that hold text only."""
    return name.endswith(".json")


def to_text(name: str, data: bytes) -> bytes:
    """A member as UTF-8 text, base64 where it is binary."""
    return data if is_text(name) else base64.b64encode(data)


def from_text(path: Path, name: str, data: bytes) -> bytes:
    """Read what `to_text` made.

    Raises:
        UnreadableModelError: If it is not base64.
    """
    if is_text(name):
        return data
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise UnreadableModelError(f"The member {name!r} of {path} is broken: {error}.") from error
