"""A Ray cluster: somebody's, by its address, or one on this machine that lives as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xport import posix
from xport.errors import UsageError
from xport.runtimes import require

_START = "Start one with `ray start --head` and give --ray-address HOST:6379, or leave --ray-address out."
_SECONDS = 10.0
_GONE_SECONDS = 10.0
_MARK = "XPORT_RAY_CLUSTER"
_TRIES = 3
_TOO_SLOW = "timed out during startup"  # after 30 seconds, a limit that Ray has fixed and a busy machine exceeds


@contextlib.contextmanager
def cluster(address: str | None, **settings: Any) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine; left at the end, and stopped if it was started here.

    Args:
        address: Of the cluster's head; None for one on this machine.
        **settings: Further ones of ``ray.init`` for a cluster that is started here.

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
    where = {"address": address} if address else {"address": "local", "include_dashboard": False, **settings}
    mark = f"{_MARK}={secrets.token_hex(8)}"
    try:
        _connect(ray, where, mark)
        yield ray
    finally:
        # Where the cluster has died Ray waits for it, and then ends this process.
        leaving = threading.Thread(target=ray.shutdown, daemon=True)
        leaving.start()
        leaving.join(_GONE_SECONDS)
        if address is None:
            _end_left(mark.encode())


def _connect(ray: Any, where: dict[str, Any], mark: str) -> None:
    own = where["address"] == "local"
    for tries_left in range(_TRIES - 1 if own else 0, -1, -1):
        try:
            with _own_signal_handlers(), _inherited(mark):
                ray.init(**where, log_to_driver=False, logging_level="ERROR")
            return
        except Exception as error:  # Ray raises plain exceptions where a node does not start in time
            if tries_left and _TOO_SLOW in str(error):
                continue
            what = "Ray does not start here" if own else f"No Ray cluster answers at {where['address']}"
            raise UsageError(f"{what}: {first_line(error)}", _START) from error


def places(ray: Any) -> list[tuple[str, int]]:
    """Where the cluster's head and its node on this machine listen; see `answers`."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    ours = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
    return [(host.strip("[]"), int(port)), *((n["NodeManagerAddress"], n["NodeManagerPort"]) for n in ours)]


def answers(listening: list[tuple[str, int]]) -> bool:
    """Whether all these places take connections: if not, Ray's own calls may wait for very long."""
    try:
        for place in listening:
            socket.create_connection(place, timeout=_SECONDS).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Ray puts a handler of its own for SIGTERM that exits without cleaning up; ours is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _inherited(setting: str) -> Iterator[None]:
    """What Ray starts inside has a setting in its environment, and so has all that is started by that."""
    name, _, value = setting.partition("=")
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def _end_left(mark: bytes) -> None:
    """Wait until the processes of our own cluster have ended; end those that have lost the one who would tell them."""
    end = time.monotonic() + _GONE_SECONDS
    while (left := _marked(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in left:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, posix.KILL)


def _marked(mark: bytes) -> list[int]:
    """The processes whose environment holds a setting; none where the system does not show it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def _check_answers(address: str) -> None:
    """Ask at the address whether anybody is there: Ray itself goes on trying for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"Malformed address {address!r}: expected HOST:PORT.", _START)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"No Ray cluster answers at {address}: {error}.", _START) from error


def first_line(error: BaseException) -> str:
    """An error of Ray's in one line: its kind and its last words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:400]
