"""What a validation ran on and with: versions, processor, devices, threads."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from xport import posix
from xport.convert.provenance import versions
from xport.errors import WorkerError
from xport.worker import running

_ASK_SECONDS = 60.0


def usable_processors() -> int:
    """How many processors this process may use."""
    return posix.processors()


def load() -> float:
    """How many processes wanted a processor in the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def environment() -> dict[str, Any]:
    """Versions, platform and processor."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "processor": processor(),
        "processors": usable_processors(),
    }


def cuda_devices() -> int:
    """How many CUDA devices this machine has; asked in a process of its own, which a broken driver may take along."""
    try:
        with running() as worker:
            count: int = worker.call("xport.validate.matrix.remote:cuda_devices", timeout=_ASK_SECONDS)
            return count
    except WorkerError:
        return 0
