"""The folder of all results, on a disk that this process sees."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xport import posix, replacing
from xport.convert.many.digest import source_digest
from xport.convert.many.places import RECORDS
from xport.convert.staging import Staging, unwritable
from xport.errors import DestinationError

_WAIT = 10.0
"""Seconds that a task waits for another run's process to let go of it: one that was killed needs about one."""


class LocalStore:
    """Results in a folder, with a record of each under ``.xport-many``.

    Args:
        root: The folder; made if it is not there.

    Raises:
        DestinationError: If it cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._records = root / RECORDS
        try:
            for folder in (self._records, self._rooms):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(error, root / RECORDS) from error

    @property
    def _rooms(self) -> Path:
        return self._records / "work"

    def path(self, name: str) -> str:
        """Where the result of a task lies."""
        return str(self.root / name)

    @contextlib.contextmanager
    def locked(self, name: str, wait: float = _WAIT) -> Iterator[None]:
        """Keep other processes from the same task; the system lets go of it when this process ends, however it ends.

        Args:
            name: The task.
            wait: Seconds to wait for another process.

        Raises:
            DestinationError: If another process keeps it.
        """
        with self._file(name, ".lock").open("a") as file:
            deadline = time.monotonic() + wait
            while True:
                try:
                    posix.lock(file, wait=False)
                    break
                except BlockingIOError as error:
                    if time.monotonic() >= deadline:
                        raise DestinationError(
                            f"Another process is making {self.root / name} now.", "Wait for it, or stop it."
                        ) from error
                time.sleep(0.2)
            yield

    @contextlib.contextmanager
    def room(self, name: str) -> Iterator[Path]:
        """A folder to work in, on the disk of the results, gone afterwards; inside `locked`."""
        self.sweep(name)
        made = Path(tempfile.mkdtemp(prefix=f"{_label(name)}.", dir=self._rooms))
        try:
            yield made
        finally:
            _remove(made)

    def sweep(self, name: str) -> None:
        """Remove what a task's killed process left; inside `locked`."""
        for left in self._rooms.glob(f"{_label(name)}.*"):
            _remove(left)
        replacing.sweep(self._file(name, ".json"))

    def checksum(self, name: str) -> str | None:
        """The hash of what lies at a task's place; None if nothing does."""
        path = self.root / name
        if not os.path.lexists(path):
            return None
        return artifact_digest(path)

    def read(self, name: str) -> dict[str, Any] | None:
        """The record of a task; None if there is none that can be read."""
        try:
            found = json.loads(self._file(name, ".json").read_bytes())
        except (OSError, ValueError, RecursionError):  # without a record the task is done again
            return None
        return found if isinstance(found, dict) else None

    def write(self, name: str, record: dict[str, Any]) -> None:
        """Write the record of a task, by one rename."""
        replacing.write_text(
            self._file(name, ".json"), json.dumps(record, indent=1), "Make room, and run the plan again."
        )

    def publish(self, result: Path, name: str) -> None:
        """Move a result to its place, in place of what is there.

        Raises:
            DestinationError: If it cannot be written, or a folder that xport did not make is in the way.
        """
        place = self.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        data = f"{place.name}.data"  # an ONNX model's weights, which a smaller successor may not have
        stale = place.exists() and not result.with_name(data).exists()
        with Staging(place, overwrite=True, room=result.parent) as staging:
            staging.commit(result)
        if stale:
            place.with_name(data).unlink(missing_ok=True)

    def _file(self, name: str, ending: str) -> Path:
        return self._records / f"{_label(name)}{ending}"


def artifact_digest(path: Path) -> str | None:
    """The hash of an artifact with its external data; None if it vanished while it was read."""
    try:
        return source_digest(path)
    except FileNotFoundError:
        return None


def _label(name: str) -> str:
    """A task's place as the name of a file: readable, and like no other's."""
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:60]
    return f"{readable}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:12]}"


def _remove(folder: Path) -> None:
    """Remove a folder in which a process that is about to end may still write."""
    for _ in range(30):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
