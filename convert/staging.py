"""Where a result grows until it is proven: a hidden folder beside its destination, gone whatever happens.

Only SIGKILL or a power cut leaves one behind; the next conversion to the same destination removes it.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from xport.carriers import MEMBERS
from xport.convert import leftovers
from xport.errors import DestinationError, MissingRuntimeError, ParityError, UsageError
from xport.formats import SOURCE_FILE, WEIGHTS_FILE, spelled_in_utf8

_FULL_BELOW = 2**20
_SUFFIX = ".xport"
_SHOWN = 40  # characters of a destination's name in a folder's; a name that the system only just takes gets no longer


class Staging:
    """A folder beside a destination, on the same file system, so that one rename moves the result into place.

    Args:
        destination: The file or folder that the result will be.
        overwrite: Whether something that is there may be replaced.
        marker: The file by which a folder is known as one that xport wrote and may replace; "" for a model's folder.
        room: A folder on the destination's disk to make the staging folder in; by default the destination's own.

    Attributes:
        destination: As given, absolute.
        folder: The folder; it exists inside the ``with`` block only.

    Raises:
        DestinationError: If the destination exists and may not be replaced, or cannot be written.
    """

    def __init__(
        self, destination: Path, *, overwrite: bool = False, marker: str = "", room: Path | None = None
    ) -> None:
        self.destination = Path(os.path.abspath(destination))  # not resolve(): a link is replaced, not followed
        self.overwrite = overwrite
        self.marker = marker
        self._parent = room or self.destination.parent
        self.folder = self.destination
        self._made: Path | None = None
        self._lock: int | None = None
        self._check()

    def _check(self) -> None:
        parent = spelled_in_utf8(self.destination).parent
        if not parent.is_dir():
            raise DestinationError(f"The folder {parent} does not exist.", f"Make it: mkdir -p '{parent}'")
        self._check_free()

    def _check_free(self) -> None:
        if not os.path.lexists(self.destination):
            return
        if not self.overwrite:
            raise DestinationError(
                f"{self.destination} exists already.",
                "Add --force to replace it, or choose another --output.",
            )
        if self.destination.is_dir() and not self.destination.is_symlink() and not self._replaceable():
            what = self.marker or "SavedModel and no PyTorch source"
            raise DestinationError(
                f"{self.destination} is a folder that holds no {what}; xport does not replace it.",
                "Choose another --output.",
            )

    def _replaceable(self) -> bool:
        names = {entry.name for entry in self.destination.iterdir()}
        if not names or self.marker:
            return not names or (self.destination / self.marker).is_file()
        source_only = {SOURCE_FILE, WEIGHTS_FILE} <= names <= {SOURCE_FILE, WEIGHTS_FILE, "__pycache__", *MEMBERS}
        return source_only or (self.destination / "saved_model.pb").is_file()

    def __enter__(self) -> Self:
        prefix = f".{self.destination.name[:_SHOWN]}."
        try:
            leftovers.sweep(self._parent, prefix, _SUFFIX)
            self._made = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=self._parent))
        except OSError as error:
            raise unwritable(error, self.destination) from error
        self._lock = leftovers.hold(self._made)
        self.folder = self._made
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        full = None
        if self._made is not None and error is not None and is_full(self._made, error):
            full = _some_disk_full(self.destination)  # while what fills it is there
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if full is not None and not isinstance(error, DestinationError):
            raise full from error

    def room(self, name: str) -> Path:
        """A new folder inside the staging folder.

        Args:
            name: What it is called.

        Returns:
            The folder.
        """
        room = self.folder / name
        room.mkdir()
        return room

    def commit(self, result: Path, destination: Path | None = None) -> Path:
        """Move a result to its destination; files beside it whose names begin with its name go along.

        Args:
            result: A file or folder inside the staging folder.
            destination: Where to; by default the staging's own destination.

        Returns:
            The destination.

        Raises:
            DestinationError: If it cannot be written, or something appeared there meanwhile.
        """
        final = destination or self.destination
        if destination is None:
            self._check_free()
        try:
            for companion in sorted(result.parent.glob(f"{result.name}.*")):
                self._move(companion, final.with_name(final.name + companion.name.removeprefix(result.name)))
            self._move(result, final)
        except OSError as error:
            raise unwritable(error, final) from error
        return final

    def _move(self, source: Path, target: Path) -> None:
        """Rename; a folder in the way is set aside first and comes back if the rename fails."""
        if not os.path.lexists(target) or not (source.is_dir() or target.is_dir()):
            os.replace(source, target)
            return
        aside = self.folder / f"old-{target.name}"
        os.replace(target, aside)
        try:
            os.replace(source, target)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                os.replace(aside, target)
            raise


def is_full(folder: Path, error: BaseException) -> bool:
    """Whether an error means that the disk is full; frameworks hide the errno in a text or lose it.

    Args:
        folder: A folder on the disk in question.
        error: The error.

    Returns:
        True if its text or a cause says so, or if next to nothing is left on the disk.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(link) or "Disk quota exceeded" in str(link):
            return True
        link = link.__cause__ or link.__context__
    if not isinstance(error, Exception) or isinstance(error, (UsageError, ParityError, MissingRuntimeError)):
        return False
    try:
        return shutil.disk_usage(folder).free < _FULL_BELOW
    except OSError:
        return False


def disk_full(destination: Path) -> DestinationError:
    """The error for a full disk."""
    return DestinationError(
        f"The disk of {destination.parent} is full; nothing was written to {destination.name}.",
        "Free some space, or choose an --output on another disk.",
    )


def _some_disk_full(destination: Path) -> DestinationError:
    """The error where frameworks do not say which disk: that of temporary files, if it has less room."""
    temporary = Path(tempfile.gettempdir())
    if _free(temporary) >= _free(destination.parent):
        return disk_full(destination)
    return DestinationError(
        f"The disk for temporary files, {temporary}, is full; nothing was written to {destination.name}.",
        "Free some space there, or have them elsewhere: export TMPDIR=/path/with/room",
    )


def _free(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return math.inf


def unwritable(error: OSError, destination: Path) -> DestinationError:
    """The error for an operating system's refusal to write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(destination)
    return DestinationError(
        f"Cannot write to {destination.parent}: {error.strerror or error}.",
        "Check the folder's permissions, or choose another --output.",
    )
