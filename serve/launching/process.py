"""A server as a child process: started in a session of its own, watched until ready, ended with all its children."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from xport import posix
from xport.errors import UsageError, XportError

_TAIL = 20
_POLL = 0.1
_GONE_SECONDS = 5.0


class Server(Protocol):
    """A server that was started; a context manager that stops it.

    Attributes:
        url: Where it answers over HTTP.
        names: The models it serves.
        grpc: Where it answers over gRPC; empty if it does not.
        details: What else a client may need.
        notes: What a user should know.
    """

    url: str
    names: Sequence[str]
    grpc: str
    details: dict[str, str]
    notes: list[str]

    def wait(self) -> None:
        """Wait until the server ends."""

    def stop(self) -> None:
        """End it; safe to call twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass
class Running:
    """A server that runs.

    Attributes:
        engine: What it is.
        url: Where it answers over HTTP.
        process: The child.
        log: The file with everything it printed.
        names: The models it serves.
        grpc: Where it answers over gRPC; empty if it does not.
        details: What else a client may need, ``token`` for example.
        notes: What a user should know.
    """

    engine: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    names: Sequence[str]
    grpc: str = ""
    details: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _endings: list[Callable[[], None]] = field(default_factory=list)
    _grace: float = 10.0

    def when_stopped(self, ending: Callable[[], None]) -> None:
        """Have something done after the server has ended, the last one first."""
        self._endings.append(ending)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def log_tail(self, lines: int = _TAIL) -> str:
        """The last lines that the server printed."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def wait(self) -> None:
        """Wait until the server ends.

        Raises:
            XportError: If it was not this program that ended it.
        """
        code = self.process.wait()
        raise XportError(f"{self.engine} ended with {_how(code)}.\n{self.log_tail()}".rstrip(), "Start it again.")

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until the server serves its models.

        Args:
            ready: Whether it does; connection errors count as "not yet".
            timeout: Seconds.

        Raises:
            XportError: If it ends, or is not ready in time; the log's tail is in the message.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if not self.alive:
                raise XportError(
                    f"{self.engine} ended with {_how(self.process.returncode)} before it was ready.\n"
                    f"{self.log_tail()}".rstrip(),
                    "The last lines of its log are above.",
                )
            with contextlib.suppress(OSError, ValueError):
                if ready():
                    return
            time.sleep(_POLL)
        raise XportError(
            f"{self.engine} was not ready within {timeout:g} s.\n{self.log_tail()}".rstrip(),
            "The last lines of its log are above; large models need a larger timeout.",
        )

    def stop(self) -> None:
        """End the server and all its children: first kindly, then not; safe to call twice."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=self._grace)
        # What the server started and left behind ends too: it is in the same session.
        self._signal(posix.KILL)
        self.process.wait()
        _wait_group_gone(self.process.pid)
        while self._endings:
            self._endings.pop()()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            posix.signal_group(self.process, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(
    engine: str,
    command: Sequence[str],
    *,
    url: str,
    log: Path,
    names: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    grpc: str = "",
) -> Running:
    """Start a server.

    Args:
        engine: What messages call it.
        command: Program and arguments.
        url: Where it will answer.
        log: The file for what it prints.
        names: The models it serves.
        environment: Its environment; this process's by default.
        folder: Its working folder.
        grpc: Where it will answer over gRPC.

    Returns:
        The server, which is not ready yet.

    Raises:
        XportError: If the program cannot be run.
    """
    with log.open("ab") as stream:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(environment) if environment is not None else None,
                cwd=folder,
                start_new_session=True,  # Ctrl-C goes to us alone, and the whole group can be ended
            )
        except OSError as error:
            raise XportError(f"{command[0]} cannot be started: {error.strerror}.", "Check the installation.") from error
    return Running(engine, url, process, log, list(names), grpc)


@contextlib.contextmanager
def stopped_on_error(running: Running) -> Iterator[Running]:
    """Stop a server if the block is left by an exception."""
    try:
        yield running
    except BaseException:
        running.stop()
        raise


def check_ports(ports: Mapping[str, int], host: str = "") -> None:
    """Make sure that ports are free.

    Args:
        ports: The port by the option that sets it.
        host: The address to be bound; all by default.

    Raises:
        UsageError: If a port is in use, may not be used, or is given twice.
    """
    seen: dict[int, str] = {}
    for option, port in ports.items():
        if port in seen:
            raise UsageError(f"{option} and {seen[port]} are both {port}.", "Give them different ports.")
        seen[port] = option
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise UsageError(
                    f"Port {port} ({option}) cannot be used: {error.strerror}.",
                    f"Stop what listens there (ss -ltnp 'sport = :{port}' names it), or give another {option}.",
                ) from error


def get_json(url: str, *, timeout: float = 5.0, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Ask a server of this machine.

    Args:
        url: What to get.
        timeout: Seconds.
        headers: To send along.

    Returns:
        The status, and the body: what its JSON says, or None where it is none.

    Raises:
        OSError: If nobody answers.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    try:
        return status, json.loads(body)
    except ValueError:
        return status, None


def _wait_group_gone(pid: int) -> None:
    """Wait, not forever, until the last process of a group is gone: killing takes the system a moment."""
    end = time.monotonic() + _GONE_SECONDS
    while posix.group_is_alive(pid) and time.monotonic() < end:
        time.sleep(_POLL / 10)


def _how(code: int) -> str:
    return f"code {code}" if code >= 0 else signal.Signals(-code).name
