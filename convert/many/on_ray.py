"""The same tasks on a Ray cluster: each on some machine, and there in a process of its own.

Ray's own retries are off: a task that was lost with its machine is started again from here, so that it can be counted.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from xport import __version__
from xport.convert.many.carry_out import carry_out
from xport.convert.many.plan import Task
from xport.convert.many.results import TaskResult
from xport.convert.many.run import Perform
from xport.errors import UsageError, WorkerError
from xport.runtimes import require

_START = "Start one with `ray start --head` and give --ray-address HOST:6379, or leave --ray-address out."
_SECONDS = 10.0

MOST_ATTEMPTS = 4
"""How often a task is started before its loss is told as a failure."""


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine; left at the end, and stopped if it was started here.

    Args:
        address: Of the cluster's head; None for one on this machine.

    Yields:
        The module ``ray``, connected.

    Raises:
        MissingRuntimeError: If ray is not installed.
        UsageError: If there is no cluster at the address.
    """
    ray = require("ray")
    if ray.is_initialized():  # the caller's own connection is used and left alone
        yield ray
        return
    if address is not None:
        _check_answers(address)
    # "local": a cluster that happens to run here is somebody's, and not to be found by chance.
    where = {"address": address} if address else {"address": "local", "include_dashboard": False}
    try:
        ray.init(**where, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises plain exceptions where a node does not start in time
        what = f"No Ray cluster answers at {address}" if address else "Ray does not start here"
        raise UsageError(f"{what}: {_first(error)}", _START) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Ask at the address whether anybody is there: Ray itself goes on trying for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"Malformed address {address!r}: expected HOST:PORT.", _START)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"No Ray cluster answers at {address}: {error}.", _START) from error


def cpus(ray: Any) -> int:
    """How many tasks the cluster takes at once."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def ray_performer(
    ray: Any, output: str, *, overwrite: bool = False, verbose: bool = False
) -> tuple[Perform, Callable[[], None]]:
    """What carries out tasks on a cluster, and what ends those that run.

    Args:
        ray: The connected module.
        output: The folder or URL of all results, the same for all machines.
        overwrite: Replace what no earlier run wrote.
        verbose: Let the frameworks' messages through.

    Returns:
        Both functions.

    Raises:
        UsageError: If no other machine can see the output.
    """
    _refuse_memory(output)
    remote = ray.remote(num_cpus=1, max_retries=0)(carry_out)
    running: set[Any] = set()
    lock, stopped = threading.Lock(), threading.Event()

    def perform(task: Task, mark: str) -> TaskResult:
        _refuse_memory(task.source)
        for attempt in range(1, MOST_ATTEMPTS + 1):
            with lock:
                if stopped.is_set():
                    raise WorkerError("Stopped before it began.")
                reference = remote.remote(
                    task, output, mark, overwrite=overwrite, verbose=verbose, version=__version__, cwd=os.getcwd()
                )
                running.add(reference)
            try:
                result: TaskResult = ray.get(reference)
                return result.after(attempt)
            except (ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError) as error:
                raise WorkerError(f"The task broke on its machine: {_first(error)}") from error
            except ray.exceptions.RayError as error:  # its machine or its process is gone
                lost = error
            finally:
                with lock:
                    running.discard(reference)
        raise WorkerError(
            f"Lost {MOST_ATTEMPTS} times with the machine or process it ran on: {_first(lost)}",
            "It may need more memory than the machines have; run it alone with --executor local.",
        ) from lost

    def stop() -> None:
        with lock:
            stopped.set()
            for reference in running:
                ray.cancel(reference, force=True)

    return perform, stop


def _refuse_memory(url: str) -> None:
    if url.startswith("memory://"):
        raise UsageError(
            f"{url} lies in the memory of one process, and a cluster has many.",
            "Use a shared folder, or the URL of a store that all machines reach.",
        )


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:400]
