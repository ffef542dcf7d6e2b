"""The child processes of one conversion: one a framework, started when first needed, all ended at the end."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

from xport.errors import WorkerError, XportError
from xport.worker import Worker

LONGEST_REQUEST = 3600.0
"""Seconds after which a step, or a run of a model, is taken for endless; the slowest that we know of takes minutes."""

_LEAST = 0.001


class Workers:
    """A pool of workers by framework.

    Args:
        verbose: Let their messages through.
        timeout: Seconds for all that is asked of them together; by default only a single request has a limit, an hour.
    """

    def __init__(self, *, verbose: bool = False, timeout: float | None = None) -> None:
        self.verbose = verbose
        self.timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._workers: dict[str, Worker] = {}
        self._warming: dict[str, threading.Thread] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            if error is not None or any(thread.is_alive() for thread in self._warming.values()):
                worker.kill()
            else:
                worker.close()
        self._workers.clear()

    def check_time(self) -> None:
        """Refuse to go on when the time for all requests is over.

        What was cut short may have been a part of the proof that can be done without, such as the source in float64: a
        weaker proof must not come of a shorter time.

        Raises:
            WorkerError: If it is over.
        """
        if self._deadline is not None and time.monotonic() >= self._deadline:
            error = WorkerError(
                f"The conversion ran out of time ({self.timeout:g} s).", "Give it more seconds with --timeout."
            )
            error.how = "timeout"
            raise error

    def get(self, framework: str) -> Worker:
        """The worker of a framework.

        Args:
            framework: An import name, ``torch`` for example.

        Returns:
            The worker, ready for a request.
        """
        warming = self._warming.pop(framework, None)
        if warming is not None:
            warming.join()
        if framework not in self._workers:
            self._workers[framework] = self._start()
        return self._workers[framework]

    def _start(self) -> Worker:
        return Worker(verbose=self.verbose, limit=self._seconds)

    def _seconds(self) -> float:
        """How long the next request may take."""
        return LONGEST_REQUEST if self._deadline is None else max(self._deadline - time.monotonic(), _LEAST)

    def call(self, framework: str, function: str, *args: Any, **kwargs: Any) -> Any:
        """Run a function in the worker of a framework; a worker that died is replaced at the next call.

        Args:
            framework: An import name.
            function: ``package.module:function``.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            What the function returned.

        Raises:
            XportError: What the function raised, or a WorkerError.
        """
        worker = self.get(framework)
        try:
            return worker.call(function, *args, **kwargs)
        except WorkerError:
            self.replace(framework)
            raise

    def replace(self, framework: str) -> None:
        """End the worker of a framework, if there is one; the next `get` starts another."""
        worker = self._workers.pop(framework, None)
        if worker is not None:
            worker.kill()

    def warm(self, framework: str) -> None:
        """Begin to import a framework in its worker, while something else goes on.

        Args:
            framework: An import name.
        """
        if framework in self._workers:
            return
        worker = self._workers[framework] = self._start()
        thread = threading.Thread(target=_preload, args=(worker, framework), daemon=True)
        self._warming[framework] = thread
        thread.start()


def out_of_time(error: XportError) -> bool:
    """Whether an error says that a request took too long."""
    return isinstance(error, WorkerError) and error.how == "timeout"


def _preload(worker: Worker, framework: str) -> None:
    try:
        worker.call("xport.convert.workers:import_here", framework)
    except (XportError, OSError, ValueError):
        return  # the first real request meets the same trouble, and can tell the user


def import_here(framework: str) -> None:
    """Import a framework in this process, a worker."""
    from xport.runtimes import require

    require(framework)
