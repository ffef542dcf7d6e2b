"""One task from its source to its place, in a way that may be cut off anywhere.

A record is written before the result moves to its place, with the result's checksum in it; so whoever comes later knows
a finished result from one that was cut off, and one of ours from somebody else's.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import kill
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from xport import __version__, posix
from xport.convert.many.local_store import LocalStore, artifact_digest
from xport.convert.many.plan import Task, is_url
from xport.convert.many.plan_options import arguments
from xport.convert.many.remote import fetch
from xport.convert.many.results import Status, TaskResult
from xport.convert.many.url_store import UrlStore
from xport.errors import DestinationError, WorkerError, XportError
from xport.worker import Worker

_WRITING, _DONE = "writing", "done"
JOB = "xport.convert.many.job:convert_one"
"""What a task's own process runs."""


class Store(Protocol):
    """The folder of all results, here or behind a URL."""

    def path(self, name: str) -> str: ...  # noqa: D102
    def locked(self, name: str, wait: float = ...) -> contextlib.AbstractContextManager[None]: ...  # noqa: D102
    def room(self, name: str) -> contextlib.AbstractContextManager[Path]: ...  # noqa: D102
    def sweep(self, name: str) -> None: ...  # noqa: D102
    def checksum(self, name: str) -> str | None: ...  # noqa: D102
    def read(self, name: str) -> dict[str, Any] | None: ...  # noqa: D102
    def write(self, name: str, record: dict[str, Any]) -> None: ...  # noqa: D102
    def publish(self, result: Path, name: str) -> None: ...  # noqa: D102


def open_store(output: str) -> Store:
    """The store of a folder or a URL.

    Raises:
        UsageError: If it cannot be opened or written.
    """
    return UrlStore(output) if is_url(output) else LocalStore(Path(output))


@dataclass
class Processes:
    """The child processes of running tasks, so that an interruption can end them."""

    _workers: set[Worker] = field(default_factory=set)
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def worker(self, *, verbose: bool = False) -> Iterator[Worker]:
        """A process for one task.

        Raises:
            WorkerError: If everything has been stopped.
        """
        with self._lock:
            if self._stopped:
                raise WorkerError("Stopped before it began.")
            worker = Worker(verbose=verbose)
            self._workers.add(worker)
        try:
            yield worker
        finally:
            with self._lock:
                self._workers.discard(worker)
            worker.kill()  # its own children end by themselves when it is gone

    def stop(self) -> None:
        """End them all, and let no other start."""
        with self._lock:
            self._stopped = True
            for worker in self._workers:
                with contextlib.suppress(ProcessLookupError):
                    kill(worker.pid, posix.KILL)


def finished(store: Store, task: Task, fingerprint: str) -> TaskResult | None:
    """The result of an earlier run that still holds: same fingerprint, and the artifact is the one it wrote.

    Args:
        store: Where the results are.
        task: The task.
        fingerprint: What its result has to be made of.

    Returns:
        The result; None if there is work to do.
    """
    record = store.read(task.name)
    if not record or record.get("fingerprint") != fingerprint or record.get("checksum") != store.checksum(task.name):
        return None
    try:
        result = TaskResult.of(task, Status.KEPT, **_figures(record["result"]))
        cut_off = record["state"] != _DONE  # between the move and the record of it
    except (KeyError, TypeError):  # a record that xport did not write, or not this version of it
        return None
    if cut_off:
        store.write(task.name, {**record, "state": _DONE})
    return result


def _figures(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "route": tuple(found["route"])}


def carry_out(
    task: Task,
    output: str,
    fingerprint: str,
    *,
    overwrite: bool = False,
    verbose: bool = False,
    version: str = __version__,
    cwd: str = "",
    processes: Processes | None = None,
) -> TaskResult:
    """Convert a model in a process of its own, and put the result into its place.

    Args:
        task: What to do.
        output: The folder or URL of all results.
        fingerprint: What the result is known by later.
        overwrite: Replace what an earlier run did not write, too.
        verbose: Let the frameworks' messages through.
        version: The version of xport that made the plan; another one here is refused.
        cwd: The folder that the child process works in, where modules of ``arch`` are found; by default this one's.
        processes: Where the child process is registered.

    Returns:
        What became of it; a failure is a result.
    """
    started = time.monotonic()
    try:
        if version != __version__:
            raise XportError(
                f"This machine has xport {__version__}, the one that made the plan {version}.",
                f"pip install xport-ml=={version}",
            )
        store = open_store(output)
        with store.locked(task.name):
            if (kept := finished(store, task, fingerprint)) is not None:
                return kept
            _check_free(store, task, overwrite=overwrite)
            figures = _convert(store, task, fingerprint, processes or Processes(), verbose=verbose, cwd=cwd)
    except XportError as error:
        return TaskResult.failure(task, error, seconds=time.monotonic() - started)
    except OSError as error:
        told = DestinationError(f"{task.name} cannot be written: {error}", "Check the disk and its permissions.")
        return TaskResult.failure(task, told, seconds=time.monotonic() - started)
    return TaskResult.of(task, Status.CONVERTED, **figures)


def _check_free(store: Store, task: Task, *, overwrite: bool) -> None:
    """Only what an earlier run wrote may be replaced, and only if nobody changed it since."""
    found = store.checksum(task.name)
    record = store.read(task.name)
    if found is None or overwrite or (record and (record.get("state") == _WRITING or record.get("checksum") == found)):
        return
    why = "was changed since xport wrote it" if record else "exists already, and no earlier run of a plan wrote it"
    raise DestinationError(f"{store.path(task.name)} {why}.", "Add --force to replace it, or move it away.")


def _convert(
    store: Store, task: Task, fingerprint: str, processes: Processes, *, verbose: bool, cwd: str
) -> dict[str, Any]:
    started = time.monotonic()
    with store.room(task.name) as room, processes.worker(verbose=verbose) as worker:
        source = task.source
        if task.remote:
            (room / "source").mkdir()
            source = str(fetch(task.source, room / "source"))
        (room / "result").mkdir()
        result = room / "result" / PurePosixPath(task.name).name
        keywords = arguments(task.options)
        figures = worker.call(JOB, source, task.target.value, str(result), keywords, cwd, timeout=task.timeout)
        figures |= {"path": store.path(task.name), "seconds": round(time.monotonic() - started, 3)}
        record = {"task": task.name, "fingerprint": fingerprint, "checksum": artifact_digest(result), "result": figures}
        store.write(task.name, {"state": _WRITING, **record})
        store.publish(result, task.name)
        store.write(task.name, {"state": _DONE, **record})
    return _figures(figures)
