"""`xport.convert_many`: the models of a plan, each proven, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from xport.convert.many.on_ray import cpus, ray_performer
from xport.convert.many.plan import Plan, Task
from xport.convert.many.plan_check import check_plan
from xport.convert.many.plan_text import PlanText, read_plan
from xport.convert.many.results import ManyReport, TaskResult
from xport.convert.many.run import Tell, local_performer, run_tasks
from xport.errors import UsageError
from xport.ray_cluster import cluster

EXECUTORS = ("local", "ray")
"""Where tasks can run."""


def read(
    plan: str | Path | Mapping[str, Any], *, output: str | Path | None = None, timeout: float | None = None
) -> Plan:
    """Read and check a plan, and start nothing.

    Args:
        plan: A YAML file, or the same as data; docs/many.md says what stands in it.
        output: The folder or fsspec URL of all results, before what the plan says.
        timeout: Seconds for a task whose plan gives none.

    Returns:
        The plan.

    Raises:
        UsageError: Naming line and column of the first mistake.
    """
    if isinstance(plan, Mapping):
        text, base = PlanText(dict(plan)), Path.cwd()
    else:
        text, base = read_plan(Path(plan)), Path(plan).absolute().parent
    return check_plan(text, base, None if output is None else str(output), timeout)


def convert_many(
    plan: str | Path | Mapping[str, Any] | Plan,
    *,
    output: str | Path | None = None,
    jobs: int | None = None,
    executor: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    timeout: float | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    progress: Tell | None = None,
) -> ManyReport:
    """Convert many models into many formats; one that fails costs only itself.

    A run that was interrupted, even killed, is taken up again by the same call: what is finished is known by the
    source's content, the options and xport's version, and by the checksum of the artifact.

    Args:
        plan: A YAML file, the same as data, or what `read` gave.
        output: The folder or fsspec URL of all results, before what the plan says.
        jobs: How many at a time; by default half the processors, or on a cluster all of them.
        executor: ``local`` or ``ray``.
        ray_address: Of the cluster's head; by default a cluster is started on this machine and stopped at the end.
        timeout: Seconds for a task whose plan gives none.
        overwrite: Replace artifacts that no earlier run of a plan wrote, or that were changed since.
        verbose: Let the frameworks' messages through.
        progress: Told of each task when it begins and when it is over, from several threads.

    Returns:
        The report; call its ``check`` to have failures raised.

    Raises:
        UsageError: If the plan has a mistake or the output cannot be written; nothing was started.
        MissingRuntimeError: If Ray or fsspec is wanted and not installed.

    Example:
        >>> report = xport.convert_many("plan.yaml", output="converted")  # doctest: +SKIP
        >>> report.check()  # doctest: +SKIP
    """
    if executor not in EXECUTORS:
        raise UsageError(f"Unknown executor {executor!r}.", f"Use one of {', '.join(EXECUTORS)}.")
    if ray_address is not None and executor != "ray":
        raise UsageError("--ray-address is for --executor ray.", "Add --executor ray.")
    checked = plan if isinstance(plan, Plan) else read(plan, output=output, timeout=timeout)
    started = time.monotonic()
    told = progress or _silent
    with contextlib.ExitStack() as stack:
        if executor == "ray":
            ray = stack.enter_context(cluster(ray_address))
            perform, stop = ray_performer(ray, checked.output, overwrite=overwrite, verbose=verbose)
            most = jobs or cpus(ray)
        else:
            perform, stop = local_performer(checked.output, overwrite=overwrite, verbose=verbose)
            most = jobs or max(1, (os.cpu_count() or 2) // 2)
        results = run_tasks(checked, perform, jobs=most, tell=told, stop=stop)
    return ManyReport(checked, tuple(results), time.monotonic() - started, executor)


def _silent(task: Task, result: TaskResult | None) -> None:
    """Progress that nobody wants to hear of."""
