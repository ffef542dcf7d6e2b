"""A worker process that an event loop talks to.

The child is `xport.worker`'s; only the parent's side differs from `xport.worker.Worker`: it awaits. A process, never a
thread: a native crash costs a worker, and the runtime's threads and the protocol's share no interpreter lock. One
socket pair carries both ways, watched by the loop itself, because a trip through asyncio's streams costs more than a
small model's whole answer.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xport import posix
from xport.errors import WorkerError, XportError
from xport.serve.embedded.card import ModelCard
from xport.worker import command, environment

_HOST = "xport.serve.embedded.host"
_HEADER = struct.Struct("<Q")
_CHUNK = 2**20


class AsyncWorker:
    """A child process with one request at a time."""

    def __init__(self) -> None:
        posix.check("The embedded server")  # a socket is the child's stdin
        self._loop = asyncio.get_running_loop()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._socket, theirs = socket.socketpair()
        for end in (self._socket, theirs):  # large buffers, so that an image does not travel in spoonfuls
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK)
        self._socket.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                command(),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._log,
                env=environment(),
            )
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._gone = False
        self._loop.add_reader(self._socket, self._read)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    async def open(self, path: Path, **settings: Any) -> ModelCard:
        """Open the child's model; see `xport.serve.embedded.opened.open_checked`, and `call` for what it raises.

        Returns:
            What it is.
        """
        card: ModelCard = await self.call(f"{_HOST}:open_model", path, **settings)
        return card

    async def run(
        self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """Run one signature of the child's model; see `call` for what it raises.

        Args:
            signature: Its name.
            inputs: Its tensors.
            timeout: Seconds after which the child is killed.

        Returns:
            Its outputs.
        """
        outputs: dict[str, np.ndarray] = await self.call(f"{_HOST}:run", signature, inputs, timeout=timeout)
        return outputs

    async def call(self, function: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Run ``package.module:function`` in the child; see `xport.worker.Worker.call`.

        Raises:
            XportError: Whatever error of ours the function raised, as it is.
            WorkerError: If it raised another exception (``how`` is empty), crashed, or ran out of time.
        """
        data = pickle.dumps((function, args, kwargs), protocol=5)
        self._answer = self._loop.create_future()
        timer = None if timeout is None else self._loop.call_later(timeout, self._time_out)
        try:
            await self._send(_HEADER.pack(len(data)) + data)
            ok, value, _ = pickle.loads(await self._answer)
        except TimeoutError as error:
            raise self._death(function, timed_out=True) from error
        except OSError as error:
            raise self._death(function, timed_out=False) from error
        except asyncio.CancelledError:
            self._process.kill()  # half an exchange leaves a socket that nobody can use
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._answer = None
        if ok:
            return value
        raise value if isinstance(value, XportError) else WorkerError(str(value))

    async def _send(self, data: bytes) -> None:
        if self._gone:
            raise ConnectionResetError
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await self._loop.sock_sendall(self._socket, memoryview(data)[sent:])

    def _read(self) -> None:
        """Take what has come; answer the call that waits when it is complete."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone = True
            self._loop.remove_reader(self._socket)
            self._fail(ConnectionResetError())
            return
        self._received += data
        if len(self._received) < _HEADER.size:
            return
        end = _HEADER.size + _HEADER.unpack_from(self._received)[0]
        if len(self._received) >= end and self._answer is not None and not self._answer.done():
            self._answer.set_result(bytes(memoryview(self._received)[_HEADER.size : end]))
            self._received = bytearray()

    def _time_out(self) -> None:
        self._process.kill()
        self._fail(TimeoutError())

    def _fail(self, error: OSError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def log(self) -> str:
        """What the child has written to stderr so far."""
        return posix.read_whole(self._log.fileno()).decode(errors="replace")

    async def close(self) -> None:
        """End the child at once, as it has nothing to save, and reap it; safe to call twice."""
        if self._log.closed:
            return
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._gone = True
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self._log.close()

    def _death(self, function: str, *, timed_out: bool) -> WorkerError:
        try:
            code = self._process.wait(timeout=0.5)  # its end of the socket is closed: it is as good as gone
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        tail = "\n".join(self.log().splitlines()[-15:])
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        how = "ran out of time and was stopped" if timed_out else how
        error = WorkerError(f"The process that ran {function} {how}." + (f"\nIts last words:\n{tail}" if tail else ""))
        error.how = "timeout" if timed_out else "killed" if code == -posix.KILL else "crashed"
        return error
