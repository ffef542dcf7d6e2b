"""Child processes that do the work that may crash, hang or chatter.

A native crash of a framework costs one worker, never the caller, and its messages stay in the worker's log.
Each request names a function by import path; arguments and results are pickled over pipes. A plain subprocess
is used instead of `multiprocessing`, whose spawn method would import the user's main script again.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from xport import posix
from xport.errors import WorkerError, XportError, XportWarning
from xport.runtimes import defaults

_HEADER = struct.Struct("<Q")


def environment() -> dict[str, str]:
    """The environment of a worker: this one, with the runtimes' telemetry and chatter off by default."""
    return defaults() | dict(os.environ)


def command() -> list[str]:
    """The command line of a worker of this process, which it ends with."""
    # -P: a file in the working directory must never shadow a package.
    return [sys.executable, "-P", "-m", "xport.worker", str(os.getpid())]


class Worker:
    """A child process with one request at a time.

    Args:
        verbose: Let the child's stderr through instead of keeping it in a log.
        limit: Says how many seconds a request may take that names no limit of its own; by default there is none.
    """

    def __init__(self, *, verbose: bool = False, limit: Callable[[], float] | None = None) -> None:
        self._limit = limit
        self._log = None if verbose else tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(),
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def call(self, function: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Run ``package.module:function`` in the child.

        Args:
            function: Import path of a module-level function.
            *args: Its positional arguments; anything that pickles.
            timeout: Seconds after which the child is killed; None for the worker's own limit.
            **kwargs: Its keyword arguments.

        Returns:
            What the function returned.

        Raises:
            XportError: Whatever error of ours the function raised, as it is.
            WorkerError: If it raised another exception, crashed, or ran out of time.
        """
        if timeout is None and self._limit is not None:
            timeout = self._limit()
        timer = threading.Timer(timeout, self._process.kill) if timeout else None
        try:
            if timer:
                timer.daemon = True  # an interruption while it starts must not keep this process waiting for it
                timer.start()
            stdin, stdout = self._pipes()
            _write(stdin, (function, args, kwargs))
            ok, value, ours = _read(stdout)
        except (EOFError, OSError, ValueError) as error:  # ValueError: the pipe is closed
            raise self._death(function, timeout if timer and timer.finished.is_set() else None) from error
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C, SIGTERM: half an exchange leaves pipes that nobody can use
                self.kill()
            raise
        finally:
            if timer:
                timer.cancel()
        for message in ours:
            warnings.warn(XportWarning(message), stacklevel=2)
        if ok:
            return value
        if isinstance(value, XportError):
            raise value
        raise WorkerError(f"{value}", "Run again with -v for the whole story.")

    def log(self) -> str:
        """What the child has written to stderr so far; empty if it was let through."""
        if self._log is None:
            return ""
        self._log.flush()
        # Not through the file object: its position is the child's as well.
        return posix.read_whole(self._log.fileno()).decode(errors="replace")

    def peak_memory(self) -> int:
        """The child's peak resident set in bytes; 0 where the system does not tell."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return 0

    def kill(self) -> None:
        """End the child at once."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """Let the child finish and reap it; safe to call twice."""
        stdin, stdout = self._pipes()
        with contextlib.suppress(OSError):
            stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        stdout.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _pipes(self) -> tuple[BinaryIO, BinaryIO]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:  # both were asked for as pipes
            raise WorkerError("The worker has no pipes.")
        return stdin, stdout  # type: ignore[return-value]

    def _death(self, function: str, timed_out: float | None) -> WorkerError:
        code = self._process.wait()
        tail = "\n".join(self.log().splitlines()[-15:])
        self.close()
        kind = "timeout" if timed_out else "killed" if code == -posix.KILL else "crashed"
        fix = "Run again with -v for its output."
        if timed_out:
            how = f"ran out of time ({timed_out:.0f} s) and was stopped"
            fix = "A model may loop without end. If it is only slow, give it more seconds with --timeout."
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
            how += " (out of memory?)" if -code == posix.KILL else ""
        else:
            how = f"exited with code {code}"
        detail = f"\nIts last words:\n{tail}" if tail else ""
        error = WorkerError(f"The process that ran {function} {how}.{detail}", fix)
        error.how = kind
        return error


@contextlib.contextmanager
def running(*, verbose: bool = False) -> Iterator[Worker]:
    """A worker that is killed, not waited for, when the block is left by an exception."""
    worker = Worker(verbose=verbose)
    try:
        yield worker
    except BaseException:
        worker.kill()
        raise
    worker.close()


def _write(stream: BinaryIO, message: object) -> None:
    data = pickle.dumps(message, protocol=5)
    stream.write(_HEADER.pack(len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: BinaryIO) -> Any:
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise EOFError
    size = _HEADER.unpack(header)[0]
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)


def _answer(request: tuple[str, tuple[Any, ...], dict[str, Any]]) -> tuple[bool, Any]:
    function, args, kwargs = request
    module, _, name = function.partition(":")
    try:
        return True, getattr(importlib.import_module(module), name)(*args, **kwargs)
    except XportError as error:
        if error.__cause__ is not None:
            traceback.print_exc()
        return False, error
    except Exception as error:
        traceback.print_exc()
        return False, f"{type(error).__name__}: {error}"


def _end_with_parent(parent: int) -> None:
    """Leave as soon as the parent is gone: whoever kills it must not leave minutes of work behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def serve(parent: int) -> None:
    """Answer requests from stdin until it closes; the body of the child process.

    Args:
        parent: The process that asks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends us
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a framework prints must not reach the pipe
    while True:
        try:
            request = _read(requests)
        except EOFError:
            return
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", XportWarning)
            ok, value = _answer(request)
        ours = [str(w.message) for w in caught if issubclass(w.category, XportWarning)]
        try:
            _write(answers, (ok, value, ours))
        except (pickle.PicklingError, TypeError, AttributeError) as error:  # an answer that cannot travel
            _write(answers, (False, f"{type(error).__name__}: {error}", ours))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
