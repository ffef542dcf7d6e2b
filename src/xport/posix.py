"""Everything that only POSIX systems have, each with what happens elsewhere; no other module names these functions.

Windows and macOS are untested. What is here keeps the core importable on Windows, and says so where it cannot work
there (`tests/test_platforms.py` and ``mypy --platform win32`` keep it so).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

from xport.errors import UsageError

if sys.platform == "win32":
    KILL = signal.SIGTERM  # which ends a process at once there
else:
    import fcntl

    KILL = signal.SIGKILL

_reading = threading.Lock()


def check(work: str) -> None:
    """Refuse work that xport does on POSIX systems only.

    Raises:
        UsageError: On Windows.
    """
    if sys.platform == "win32":
        raise UsageError(f"{work} works on Linux and macOS only.", "Do it in WSL or a container.")


def lock(file: IO[str] | int, *, wait: bool) -> None:
    """Lock a file or folder against other processes, until it is closed or this process ends.

    Args:
        file: The open file, or its descriptor.
        wait: Wait for whoever has it.

    Raises:
        BlockingIOError: If another process has it, and this one does not wait.
        UsageError: On Windows.
    """
    check("Keeping other processes from the same work")
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def read_whole(descriptor: int) -> bytes:
    """Everything in a file that another process may be writing through the same descriptor.

    Where the system can (not on Windows), the position, which is the other process's as well, stays as it is.
    """
    size = os.fstat(descriptor).st_size
    if sys.platform != "win32":
        return os.pread(descriptor, size, 0)
    with _reading:
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            return os.read(descriptor, size)
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to all processes of a group that was started as a session; on Windows, to the first alone.

    Raises:
        ProcessLookupError: If all of them are gone.
    """
    if sys.platform == "win32":
        process.send_signal(number)
    else:
        os.killpg(process.pid, number)


def group_is_alive(pid: int) -> bool:
    """Whether any process of a group is left; always False on Windows."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, 0)
            return True
    return False


def on_signal(loop: asyncio.AbstractEventLoop, number: int, call: Callable[[], object]) -> Callable[[], object]:
    """Have a signal call a function in an event loop.

    Args:
        loop: The loop, of the main thread.
        number: The signal.
        call: The function.

    Returns:
        What puts the signal back as it was.
    """
    if sys.platform != "win32":
        loop.add_signal_handler(number, call)
        return lambda: loop.remove_signal_handler(number)
    before = signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))
    return lambda: signal.signal(number, before)


def processors() -> int:
    """How many processors this process may use; all of the machine's where the system does not tell."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
