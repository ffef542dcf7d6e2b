"""The same tasks on a Ray cluster: each on some machine, and there in a process of its own.

Ray's own retries are off: a task that was lost with its machine is started again from here, so that it can be counted.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from xport import __version__
from xport.convert.many.carry_out import carry_out
from xport.convert.many.plan import Task
from xport.convert.many.results import TaskResult
from xport.convert.many.run import Perform
from xport.errors import UsageError, WorkerError
from xport.ray_cluster import first_line

MOST_ATTEMPTS = 4
"""How often a task is started before its loss is told as a failure."""


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
                raise WorkerError(f"The task broke on its machine: {first_line(error)}") from error
            except ray.exceptions.RayError as error:  # its machine or its process is gone
                lost = error
            finally:
                with lock:
                    running.discard(reference)
        raise WorkerError(
            f"Lost {MOST_ATTEMPTS} times with the machine or process it ran on: {first_line(lost)}",
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
