"""The folder of all results behind an fsspec URL.

No rename and no lock is promised there, so a record says beforehand that a result is being written, and afterwards that
it is whole; what is not known to be whole is done again.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xport.convert.many.places import RECORDS
from xport.convert.many.remote import file_system, remote_digest
from xport.errors import DestinationError


class UrlStore:
    """Results behind a URL, with a record of each under ``.xport-many``.

    Args:
        url: For example ``s3://bucket/converted``.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._system, self._root = file_system(self.url)

    def path(self, name: str) -> str:
        """Where the result of a task lies."""
        return f"{self.url}/{name}"

    @contextlib.contextmanager
    def locked(self, name: str, wait: float = 0) -> Iterator[None]:
        """Nothing is locked behind a URL: of two runs at once, the later result stays."""
        yield

    @contextlib.contextmanager
    def room(self, name: str) -> Iterator[Path]:
        """A local folder to work in, gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="xport-many-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def sweep(self, name: str) -> None:
        """Nothing of a killed process stays there but what the next run replaces."""

    def checksum(self, name: str) -> str | None:
        """The hash of what lies at a task's place; None if nothing does."""
        with self._told(name):
            return remote_digest(self.path(name))

    def read(self, name: str) -> dict[str, Any] | None:
        """The record of a task; None if there is none that can be read."""
        place = self._record(name)
        with self._told(name):
            if not self._system.exists(place):
                return None
            try:
                found = json.loads(self._system.cat_file(place))
            except (ValueError, RecursionError):  # without a record the task is done again
                return None
        return found if isinstance(found, dict) else None

    def write(self, name: str, record: dict[str, Any]) -> None:
        """Write the record of a task."""
        place = self._record(name)
        with self._told(name):
            self._system.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(place, json.dumps(record, indent=1).encode())

    def publish(self, result: Path, name: str) -> None:
        """Put a result at its place, in place of what is there; an ONNX model's external data first.

        Raises:
            DestinationError: If it cannot be written.
        """
        place = f"{self._root}/{name}"
        with self._told(name):
            if self._system.exists(place):
                self._system.rm(place, recursive=True)
                if self._system.exists(f"{place}.data"):
                    self._system.rm(f"{place}.data")
            self._system.makedirs(place.rpartition("/")[0], exist_ok=True)
            if result.is_dir():
                for file in sorted(f for f in result.rglob("*") if f.is_file()):
                    target = f"{place}/{file.relative_to(result).as_posix()}"
                    self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
                    self._system.put_file(str(file), target)
                return
            for file in (*sorted(result.parent.glob(f"{result.name}.*")), result):
                self._system.put_file(str(file), place + file.name.removeprefix(result.name))

    def _record(self, name: str) -> str:
        return f"{self._root}/{RECORDS}/{name}.json"

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Errors of the file system as ours; each has its own."""
        try:
            yield
        except Exception as error:
            raise DestinationError(
                f"{self.path(name)} cannot be reached: {type(error).__name__}: {error}",
                "Check the URL and the credentials; what is finished is not done twice.",
            ) from error
