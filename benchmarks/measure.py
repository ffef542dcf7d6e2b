"""What benchmarks share: seconds and peak memory of a child process and all it starts, machine facts, earlier rows."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

INTERVAL = 0.1
"""Seconds between two looks at the memory."""
KILLED = 124
"""The exit code of what took too long, as ``timeout`` of coreutils has it."""


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: Wall-clock time.
        cpu_seconds: Processor time of the command and of all that it waited for; what else the machine does hardly
            changes it.
        peak_bytes: The largest sum of private and shared memory (PSS) over the command and its children.
        code: Its exit code.
        output: What it printed to stdout.
        log: What it printed to stderr.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    code: int
    output: str
    log: str


def run(command: list[str], env: dict[str, str] | None = None, limit: float | None = None) -> Cost:
    """Run a command to its end and watch its process tree.

    Args:
        command: Program and arguments.
        env: Its environment; this process's own if None.
        limit: Seconds of processor time that each of its processes may take, so that a busy machine changes no count;
            after ten times as many by the clock all are killed, since something hangs. `KILLED` is its exit code then.
    """
    start, before = time.perf_counter(), _cpu_of_children()
    process = subprocess.Popen(
        ["bash", "-c", f'ulimit -t {limit:.0f}; exec "$@"', "limited", *command] if limit else command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    peak = [0]
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
    watcher.start()
    late = False
    try:
        output, log = process.communicate(timeout=limit and limit * 10)
    except subprocess.TimeoutExpired:
        _kill(process.pid)
        late = True
        output, log = process.communicate()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    code = process.returncode
    if late or (limit and code in (-signal.SIGKILL, -signal.SIGXCPU)):
        code, log = KILLED, f"{log}\nkilled: it had {limit:.0f} s of processor time"
    return Cost(seconds, _cpu_of_children() - before, peak[0], code, output, log)


def _kill(pid: int) -> None:
    root = psutil.Process(pid)
    for process in (*root.children(recursive=True), root):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _cpu_of_children() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


def _watch(pid: int, peak: list[int], done: threading.Event) -> None:
    while not done.wait(INTERVAL):
        peak[0] = max(peak[0], _tree_memory(pid))


def _tree_memory(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        return sum(_memory(p) for p in (root, *root.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def _memory(process: psutil.Process) -> int:
    """Resident memory; of pages that several processes share, each has its part (PSS) where the system tells."""
    try:
        return int(getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def earlier(results: Path, models: Collection[str]) -> list[dict[str, Any]]:
    """The rows of an earlier run's results that a run of these models does not replace."""
    rows: list[dict[str, Any]] = json.loads(results.read_text())["rows"]
    return [row for row in rows if row["model"] not in models]


def machine() -> dict[str, object]:
    """The facts that a figure depends on."""
    packages = ("torch", "tensorflow-cpu", "onnx", "onnxruntime", "ai-edge-litert", "numpy")
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
