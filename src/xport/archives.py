"""Zip archives, looked at before anything in them is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

from xport.errors import UnreadableModelError

LARGEST_RATIO = 100
"""How many times its stored size a file may unpack to; frameworks store weights as they are."""
ALWAYS_FINE = 64 << 20
"""Bytes that may be unpacked whatever the ratio."""

_UNPACKING: tuple[type[Exception], ...] = (zipfile.BadZipFile, zlib.error)
try:
    from lzma import LZMAError

    _UNPACKING += (LZMAError,)
except ImportError:  # a Python without lzma; `zipfile` refuses such members by a RuntimeError
    pass
BROKEN: tuple[type[Exception], ...] = (
    *(*_UNPACKING, struct.error, EOFError, OSError, TokenError, SyntaxError, TypeError, OverflowError),
    *(ValueError, KeyError, IndexError, RuntimeError, MemoryError),
)
"""What `zipfile`, and `numpy.load` on top of it, raise on a broken archive: found by fuzzing, stated nowhere."""


def check_members(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse an archive that would fill the memory or lead out of its folder.

    The sizes are those of the archive's directory; reading a member never gives more.

    Args:
        path: The file, for messages and its size.
        archive: The same, opened.

    Raises:
        UnreadableModelError: If it would unpack to far more than it is, or has a member such as ``../../x``.
    """
    refuse_bomb(path, sum(info.file_size for info in archive.infolist()), path.stat().st_size)
    for info in archive.infolist():
        if info.filename.startswith(("/", "\\")) or ".." in Path(info.filename).parts:
            raise UnreadableModelError(f"{path} holds a member that leads out of it: {info.filename!r}.")


def is_bomb(total: int, stored: int) -> bool:
    """Whether bytes once unpacked are far more than those that are stored."""
    return total > LARGEST_RATIO * stored


def refuse_bomb(path: Path, total: int, stored: int) -> None:
    """Refuse a file that would unpack to far more than it is.

    Args:
        path: The file, for messages.
        total: Bytes once unpacked.
        stored: Bytes that it takes.

    Raises:
        UnreadableModelError: If it would.
    """
    if total > ALWAYS_FINE and is_bomb(total, stored):
        raise UnreadableModelError(
            f"{path} takes {stored / 1e6:.1f} MB and would unpack to {total / 1e6:.0f} MB, more than "
            f"{LARGEST_RATIO} times as much: it looks like a zip bomb, and nothing was unpacked.",
            "Get the file from where it was made, or save the model again.",
        )
