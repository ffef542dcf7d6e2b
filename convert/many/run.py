"""A plan's tasks, several at a time; what an earlier run finished is not done again."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from xport.convert.many.carry_out import Processes, Store, carry_out, finished, open_store
from xport.convert.many.digest import fingerprint, source_digest
from xport.convert.many.plan import Plan, Task
from xport.convert.many.remote import fetched_digest
from xport.convert.many.results import Status, TaskResult
from xport.convert.source import ZOO_PREFIX
from xport.errors import UnreadableModelError, XportError

Perform = Callable[[Task, str], TaskResult]
"""Carries out a task, with its fingerprint, and gives its result; a failure is a result."""

Tell = Callable[[Task, TaskResult | None], None]
"""Told of a task when it begins (None) and when it is over; called by several threads."""


class Sources:
    """The hashes of sources, each read once however many targets it has."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def digest(self, task: Task) -> str:
        """The hash of a task's source.

        Raises:
            UnreadableModelError: If it cannot be read.
        """
        if task.source.startswith(ZOO_PREFIX):
            return task.source  # the version of xport, which is hashed too, says the rest
        with self._lock:
            lock = self._locks.setdefault(task.source, threading.Lock())
        with lock:
            if task.source not in self._known:
                self._known[task.source] = _digest(task)
            return self._known[task.source]


def _digest(task: Task) -> str:
    try:
        if not task.remote:
            return source_digest(Path(task.source))
        with tempfile.TemporaryDirectory(prefix="xport-many-") as folder:
            return fetched_digest(task.source, Path(folder))[1]
    except OSError as error:
        raise UnreadableModelError(f"{task.source} cannot be read: {error}", "Check the path.") from error


def run_tasks(plan: Plan, perform: Perform, *, jobs: int, tell: Tell, stop: Callable[[], None]) -> list[TaskResult]:
    """Carry out every task of a plan.

    Args:
        plan: The plan.
        perform: Carries out one.
        jobs: How many at a time.
        tell: Told what goes on.
        stop: Ends what is running, after an interruption.

    Returns:
        One result a task, in the plan's order.

    Raises:
        UsageError: If the folder of all results cannot be opened.
    """
    store, sources = open_store(plan.output), Sources()

    def one(task: Task) -> TaskResult:
        tell(task, None)
        result = _one(task, store, sources, perform)
        tell(task, result)
        return result

    pool = ThreadPoolExecutor(jobs, thread_name_prefix="xport-many")
    futures: dict[Future[TaskResult], int] = {pool.submit(one, task): i for i, task in enumerate(plan.tasks)}
    try:
        for future in as_completed(futures):
            future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        stop()
        pool.shutdown(wait=True)
        _sweep(plan, store)
        raise
    pool.shutdown()
    _sweep(plan, store)
    return [future.result() for future in futures]


def _one(task: Task, store: Store, sources: Sources, perform: Perform) -> TaskResult:
    started = time.monotonic()
    try:
        mark = fingerprint(task, sources.digest(task))
        result = finished(store, task, mark) or perform(task, mark)
        if result.status is not Status.FAILED and finished(store, task, mark) is None:
            raise XportError(
                f"{result.path} was made, but is not in {store.path(task.name)} as seen from here.",
                "All machines need the same --output: a shared folder, or an fsspec URL.",
            )
    except (XportError, OSError) as error:
        return TaskResult.failure(task, error, seconds=time.monotonic() - started)
    return result


def _sweep(plan: Plan, store: Store) -> None:
    """Remove what killed processes left, of tasks that nobody works on."""
    for task in plan.tasks:
        with contextlib.suppress(XportError, OSError), store.locked(task.name, 0):
            store.sweep(task.name)


def local_performer(
    output: str, *, overwrite: bool = False, verbose: bool = False
) -> tuple[Perform, Callable[[], None]]:
    """What carries out tasks in processes of this machine, and what ends those that run.

    Args:
        output: The folder or URL of all results.
        overwrite: Replace what no earlier run wrote.
        verbose: Let the frameworks' messages through.

    Returns:
        Both functions.
    """
    processes = Processes()

    def perform(task: Task, mark: str) -> TaskResult:
        return carry_out(task, output, mark, overwrite=overwrite, verbose=verbose, processes=processes)

    return perform, processes.stop
