"""A Ray cluster: somebody's, by its address, or one on this machine that lives as long as it is needed."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from xport.errors import UsageError
from xport.runtimes import require

_START = "Start one with `ray start --head` and give --ray-address HOST:6379, or leave --ray-address out."
_SECONDS = 10.0
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
    for tries_left in range(0 if address else _TRIES - 1, -1, -1):
        try:
            with _own_signal_handlers():
                ray.init(**where, log_to_driver=False, logging_level="ERROR")
            break
        except Exception as error:  # Ray raises plain exceptions where a node does not start in time
            if tries_left and _TOO_SLOW in str(error):
                continue
            what = f"No Ray cluster answers at {address}" if address else "Ray does not start here"
            raise UsageError(f"{what}: {first_line(error)}", _START) from error
    try:
        yield ray
    finally:
        ray.shutdown()


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
