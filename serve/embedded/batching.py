"""The queue in front of a model's workers, and how requests are put together.

Nothing waits while a worker is free and nobody else is expected: a lone client pays no delay. How many are expected is
learnt: whoever was answered together is likely to come back together, so the next batch waits for as many, at most the
delay allowed. While workers are busy the queue fills by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from xport.errors import ServingError

Tensors = Mapping[str, np.ndarray]


class Part(Protocol):
    """A request as part of a batch."""

    @property
    def inputs(self) -> Tensors:
        """Its tensors."""

    @property
    def rows(self) -> int:
        """Its size on the batch axis."""


@dataclass(slots=True, eq=False)
class Item:
    """A request that waits.

    Attributes:
        signature: Which signature it asks for.
        inputs: Its tensors, checked.
        key: Requests of one key may run together; None runs alone.
        rows: Its size on the batch axis; 1 for what runs alone.
        future: Gets the outputs.
        arrived: When it came, in the loop's time.
        deadline: When it is given up, in the loop's time.
        started: When it was taken from the queue; 0 before.
    """

    signature: str
    inputs: Tensors
    key: object
    rows: int
    future: asyncio.Future[dict[str, np.ndarray]]
    arrived: float
    deadline: float
    started: float = 0.0


@dataclass(slots=True, eq=False)
class _Waiter:
    """A worker that waits for requests."""

    wanted: int
    future: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class BatchQueue:
    """Requests in the order they came, handed out in batches.

    Args:
        max_batch: The most rows of a batch; a larger request runs alone, uncut.
        max_delay: The most seconds to wait for more.
        max_queue: The most requests that wait.
    """

    def __init__(self, *, max_batch: int, max_delay: float, max_queue: int) -> None:
        self.max_batch, self.max_delay, self.max_queue = max_batch, max_delay, max_queue
        self._items: deque[Item] = deque()
        self._waiters: deque[_Waiter] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Let a request wait.

        Raises:
            ServingError: ``RESOURCE_EXHAUSTED`` if too many wait already.
        """
        if len(self._items) >= self.max_queue:
            self._drop_done()
        if len(self._items) >= self.max_queue:
            raise ServingError(
                f"The queue is full: {self.max_queue} requests wait already.",
                "Try again later, or start the server with more --workers or a larger --max-queue.",
                code="RESOURCE_EXHAUSTED",
            )
        self._items.append(item)
        self._wake()

    def put_back(self, items: Sequence[Item]) -> None:
        """Return requests to the head of the queue, each to be run alone."""
        for item in reversed(items):
            item.key = None
            self._items.appendleft(item)
            self._wake()

    def fail_all(self, error: ServingError) -> None:
        """Answer everybody who waits with an error."""
        while self._items:
            item = self._items.popleft()
            if not item.future.done():
                item.future.set_exception(error)

    async def get(self, expected: int) -> list[Item]:
        """Wait for the next batch.

        Args:
            expected: How many requests are likely to come together.

        Returns:
            At least one request; all of one key.
        """
        while True:
            self._drop_done()
            if self._items:
                break
            await self._wait(1, None)
        head = self._items[0]
        if head.key is not None and len(self._items) < expected and head.rows < self.max_batch:
            left = head.arrived + self.max_delay - asyncio.get_running_loop().time()
            if left > 0:
                await self._wait(expected, left)
                self._drop_done()
        return self._take() or await self.get(expected)

    async def _wait(self, wanted: int, seconds: float | None) -> None:
        waiter = _Waiter(wanted)
        self._waiters.append(waiter)
        timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, waiter.wake)
        try:
            await waiter.future
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        """Wake the first worker that has what it waits for; the others wait on for what is left."""
        for waiter in self._waiters:
            if not waiter.future.done() and len(self._items) >= waiter.wanted:
                waiter.wake()
                return

    def _drop_done(self) -> None:
        """Forget requests that were cancelled or have run out of time."""
        if any(item.future.done() for item in self._items):
            self._items = deque(item for item in self._items if not item.future.done())

    def _take(self) -> list[Item]:
        """The head of the queue and whatever may run with it."""
        if not self._items:
            return []
        head = self._items.popleft()
        batch, rows = [head], head.rows
        if head.key is not None and rows < self.max_batch:
            rest: deque[Item] = deque()
            for item in self._items:
                if item.key == head.key and rows + item.rows <= self.max_batch:
                    batch.append(item)
                    rows += item.rows
                else:
                    rest.append(item)
            self._items = rest
        now = asyncio.get_running_loop().time()
        for item in batch:
            item.started = now
        return batch


def concatenate(batch: Sequence[Part]) -> dict[str, np.ndarray]:
    """The inputs of a batch, one behind the other on the batch axis; nothing is padded."""
    if len(batch) == 1:
        return dict(batch[0].inputs)
    return {name: np.concatenate([item.inputs[name] for item in batch]) for name in batch[0].inputs}


def writable(tensors: Tensors) -> dict[str, np.ndarray]:
    """Tensors of one's own: what lies in a request's bytes or in shared memory is copied, for models that write."""
    return {name: array if array.flags.writeable else array.copy() for name, array in tensors.items()}


def split(outputs: Tensors, batch: Sequence[Part]) -> list[dict[str, np.ndarray]] | None:
    """Each request's rows of a batch's outputs; None if the outputs have not a row for each row."""
    if len(batch) == 1:
        return [dict(outputs)]
    total = sum(item.rows for item in batch)
    if any(array.ndim == 0 or len(array) != total for array in outputs.values()):
        return None
    parts, start = [], 0
    for item in batch:
        stop = start + item.rows
        parts.append({name: array[start:stop] for name, array in outputs.items()})
        start = stop
    return parts
