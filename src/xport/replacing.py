"""Files that appear whole or not at all: written beside their place, moved there by one rename."""

from __future__ import annotations

import contextlib
import glob
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from xport.errors import DestinationError

_SUFFIX = ".xport"
_SHOWN = 40  # characters of a file's name in that of the one that is written; the end tells names of many tasks apart


def _beginning(place: Path) -> str:
    """What the names of files begin with that are to become this one."""
    return f".{place.name[-_SHOWN:]}."


def sweep(place: Path) -> None:
    """Remove what a killed process left of a file; nobody else may be writing it."""
    for left in place.parent.glob(f"{glob.escape(_beginning(place))}*{_SUFFIX}"):
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path, fix: str) -> Iterator[BinaryIO]:
    """A file to write that takes another's place when the block is left well; otherwise all stays as it was.

    What is no plain file (a pipe, ``/dev/stdout``) is written as it is. A link's target is replaced, not the link.

    Args:
        path: The place.
        fix: What to do if it cannot be written.

    Yields:
        The file, open for writing.

    Raises:
        DestinationError: If it cannot be written; the text says why.
    """
    try:
        place = path.resolve()
        if place.exists() and not place.is_file():
            with place.open("wb") as file:
                yield file
            return
        fresh = place.with_name(f"{_beginning(place)}{os.getpid()}-{threading.get_ident()}{_SUFFIX}")
        try:
            with fresh.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, place)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DestinationError(f"{path} cannot be written: {error.strerror or error}.", fix) from error


def write_text(path: str | Path, text: str, fix: str = "Name another file.") -> None:
    """Write a text file as `replacing` does, in UTF-8; what that lacks stands as an escape.

    Args:
        path: The place.
        text: The content.
        fix: What to do if it cannot be written.

    Raises:
        DestinationError: If it cannot be written.
    """
    with replacing(Path(path), fix) as file:
        file.write(text.encode(errors="backslashreplace"))
