"""One version of a model: its queue, its state, and the replicas that answer."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from xport.errors import InputsError, ServingError, XportError
from xport.serve.embedded.batchable import leading_symbol
from xport.serve.embedded.batching import BatchQueue, Item
from xport.serve.embedded.card import Endpoint, ModelCard
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.replica import Replica

Tensors = Mapping[str, np.ndarray]
Stamp = tuple[tuple[str, int, int], ...]
"""How an artifact's files look from outside; see `xport.serve.embedded.store`."""


class State(enum.Enum):
    """TF Serving's states of a version (tensorflow_serving/apis/get_model_status.proto)."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Servable:
    """A version of a model and the processes that run it.

    Args:
        name: The model's name.
        version: Its version.
        path: The artifact.
        options: How the server behaves.
        observe: Told of every batch: signature, requests, rows, seconds waited by each, seconds run.

    Attributes:
        card: What the model is; None until it is loaded.
        state: Where it stands.
        error: Why it is not available; None if nothing is wrong.
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
        self.name, self.version, self.path, self.options = name, version, path, options
        self.card: ModelCard | None = None
        self.state = State.START
        self.error: XportError | None = None
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
    def label(self) -> str:
        """What messages call it."""
        return f"{self.name} version {self.version}"

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
            Replica(self.label, self.path, self.options, self.queue, self._tell) for _ in range(self.options.workers)
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

    def endpoint(self, signature: str = "") -> tuple[str, Endpoint]:
        """A signature by name; the default one for the empty name.

        Raises:
            ServingError: If there is none of that name.
        """
        if self.card is None:
            raise ServingError(f"{self.label} is not loaded.", code="UNAVAILABLE")
        name = signature or self.card.default
        if name not in self.card.endpoints:
            raise ServingError(f'Serving signature name: "{name}" not found in signature def')
        return name, self.card.endpoints[name]

    async def predict(
        self, inputs: Tensors, signature: str = "", *, timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """Run the model for one request.

        Args:
            inputs: Arrays by input name.
            signature: Which signature; the default one for the empty name.
            timeout: Seconds until it is given up; by default the server's.

        Returns:
            Arrays by output name, in the signature's order.

        Raises:
            ServingError: With the code that says why not.
        """
        name, endpoint = self.endpoint(signature)
        try:
            sizes = endpoint.signature.check(inputs)
        except InputsError as error:
            raise ServingError(error.message, error.fix) from error
        if self.state is State.END:
            raise ServingError(f"{self.label} is not available: {self.error}", code="UNAVAILABLE")
        loop = asyncio.get_running_loop()
        now = loop.time()
        limit = self.options.timeout if timeout is None else min(timeout, self.options.timeout)
        key, rows = self._key(name, endpoint, inputs, sizes)
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

    def _key(self, name: str, endpoint: Endpoint, inputs: Tensors, sizes: Mapping[str, int]) -> tuple[object, int]:
        """What may run together has the same signature and sizes, but for the batch axis."""
        symbol = leading_symbol(endpoint.signature) if endpoint.batchable else None
        if symbol is None or not sizes[symbol]:
            return None, 1
        return (name, *(array.shape[1:] for array in inputs.values()), *inputs), sizes[symbol]

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
