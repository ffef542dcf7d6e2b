"""One version of a model: its queue, its state, and the replicas that answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from xport.errors import ServingError, XportError
from xport.serve.embedded.batching import BatchQueue, Item
from xport.serve.embedded.catalogue import Stamp
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.replica import Replica
from xport.serve.embedded.version import State, Tensors, Version


class Servable(Version):
    """A version of a model and the processes that run it.

    Args:
        name: The model's name.
        version: Its version.
        path: The artifact.
        options: How the server behaves.
        observe: Told of every batch: signature, requests, rows, seconds waited by each, seconds run.

    Attributes:
        stamp: How its files looked when it was loaded.
    """

    def __init__(
        self,
        name: str,
        version: int,
        path: Path,
        options: ServerOptions,
        observe: Callable[[Servable, list[Item], float], None] = lambda *_: None,
    ) -> None:
        super().__init__(name, version)
        self.path, self.options = path, options
        self._replicas: list[Replica] = []
        self._lost = 0
        self.stamp: Stamp = ()
        self.queue = BatchQueue(max_batch=options.max_batch, max_delay=options.max_delay, max_queue=options.max_queue)
        self._observe = observe
        self._tasks: list[asyncio.Task[None]] = []
        self._pending = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def restarts(self) -> int:
        """How many workers have died."""
        return self._lost + sum(replica.restarts for replica in self._replicas)

    async def load(self) -> None:
        """Start the workers; each opens the model and replays its golden inputs.

        Raises:
            XportError: What keeps the model from being served; nothing is left running.
        """
        self.state = State.LOADING
        self._replicas = [
            Replica(self.label, self.path, self.options, self.queue, self._tell)
            for _ in range(max(self.options.workers, 1))
        ]
        starts = [asyncio.create_task(replica.start()) for replica in self._replicas]
        try:
            self.card = (await asyncio.gather(*starts))[0]
        except BaseException as error:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await asyncio.gather(*(replica.close() for replica in self._replicas))
            self.state = State.END
            self.error = error if isinstance(error, XportError) else None
            raise
        self._tasks = [asyncio.create_task(self._run(replica)) for replica in self._replicas]
        self.state = State.AVAILABLE

    async def unload(self, timeout: float) -> None:
        """Let the requests that were taken finish, then end the workers; the caller sends no more.

        Args:
            timeout: Seconds after which those left are answered with 503.
        """
        self.state = State.UNLOADING
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        self.queue.fail_all(ServingError(f"{self.label} is being unloaded.", code="UNAVAILABLE"))
        self.state = State.END
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def predict(
        self, inputs: Tensors, signature: str = "", *, timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """See `Version.predict`."""
        name, key, rows = self.admit(inputs, signature)
        if self.state is State.END:
            raise ServingError(f"{self.label} is not available: {self.error}", code="UNAVAILABLE")
        loop = asyncio.get_running_loop()
        now = loop.time()
        limit = self.options.timeout if timeout is None else min(timeout, self.options.timeout)
        item = Item(name, inputs, key, rows, loop.create_future(), now, now + limit)
        self.queue.put(item)
        timer = loop.call_at(item.deadline, _expire, item, limit)
        self._pending += 1
        self._idle.clear()
        try:
            return await item.future
        finally:
            timer.cancel()
            item.future.cancel()  # nobody waits any more; the queue drops what is done
            self._pending -= 1
            if not self._pending:
                self._idle.set()

    def _tell(self, batch: list[Item], seconds: float) -> None:
        self._observe(self, batch, seconds)

    async def _run(self, replica: Replica) -> None:
        """Let a replica work. One that gives up leaves the queue to the others; without any, the version has ended."""
        error = await replica.run()
        self._replicas.remove(replica)
        self._lost += replica.restarts
        if not self._replicas:
            self.state, self.error = State.END, error
            self.queue.fail_all(ServingError(f"{self.label} is not available: {error.message}", code="UNAVAILABLE"))


def _expire(item: Item, limit: float) -> None:
    if not item.future.done():
        item.future.set_exception(ServingError(f"The deadline of {limit:g} s is exceeded.", code="DEADLINE_EXCEEDED"))
