"""One version of a model: its workers, its queue, its state."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from xport.errors import InputsError, ServingError, WorkerError, XportError
from xport.serve.embedded.batchable import leading_symbol
from xport.serve.embedded.batching import BatchQueue, Item, concatenate, split
from xport.serve.embedded.card import Endpoint, ModelCard
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.process import AsyncWorker

_HOST = "xport.serve.embedded.host"
_RESTARTS = 5  # in a row without an answer in between; then the version is given up
_GRACE = 5.0  # seconds that a call may run over the last deadline of its batch before its worker is ended
_log = logging.getLogger("xport.serve")

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
        restarts: How many workers were replaced.
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
        self.restarts = 0
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

    async def load(self) -> None:
        """Start the workers; each opens the model and replays its golden inputs.

        Raises:
            XportError: What keeps the model from being served; nothing is left running.
        """
        self.state = State.LOADING
        starts = [asyncio.create_task(self._start_worker()) for _ in range(self.options.workers)]
        try:
            workers = await asyncio.gather(*starts)
        except BaseException as error:
            for start in starts:
                start.cancel()
            for result in await asyncio.gather(*starts, return_exceptions=True):
                if isinstance(result, AsyncWorker):
                    await result.close()
            self.state = State.END
            self.error = error if isinstance(error, XportError) else None
            raise
        self._tasks = [asyncio.create_task(self._replica(worker)) for worker in workers]
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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.state = State.END

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

    async def _start_worker(self) -> AsyncWorker:
        worker = AsyncWorker()
        try:
            self.card = await worker.call(
                f"{_HOST}:open_model",
                self.path,
                inputs=self.options.inputs,
                device=self.options.device,
                threads=self.options.threads or _share_of_cores(self.options.workers),
                batching=self.options.max_batch > 1,
                require_proof=self.options.require_proof,
            )
        except BaseException:
            await worker.close()
            raise
        return worker

    async def _replica(self, worker: AsyncWorker) -> None:
        """Answer batches with one worker; replace it when it dies."""
        fruitless = 0
        try:
            while True:
                answered = await self._serve(worker)
                await worker.close()
                fruitless = 0 if answered else fruitless + 1
                self.restarts += 1
                _log.warning("A worker of %s died and is replaced.", self.label)
                while True:
                    await asyncio.sleep(min(2.0**fruitless - 1, 30.0))
                    try:
                        worker = await self._start_worker()
                        break
                    except XportError as error:
                        fruitless += 1
                        _log.error("A worker of %s does not start: %s", self.label, error)
                        if fruitless >= _RESTARTS:
                            self._give_up(error)
                            return
        finally:
            await worker.close()

    def _give_up(self, error: XportError) -> None:
        self.state, self.error = State.END, error
        self.queue.fail_all(ServingError(f"{self.label} is not available: {error.message}", code="UNAVAILABLE"))

    async def _serve(self, worker: AsyncWorker) -> int:
        """Answer batches until the worker dies; returns how many it answered."""
        expected, answered = 1, 0
        while True:
            batch = await self.queue.get(expected)
            expected = len(batch)
            try:
                await self._answer(worker, batch)
                answered += 1
            except WorkerError as error:
                self._bury(batch, error)
                return answered
            except BaseException:
                self._fail(batch, ServingError(f"{self.label} is being unloaded.", code="UNAVAILABLE"))
                raise

    async def _answer(self, worker: AsyncWorker, batch: list[Item]) -> None:
        """Run a batch; one that the model refuses is run again request by request.

        Raises:
            WorkerError: If the worker died.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        left = max(item.deadline for item in batch) - started + _GRACE
        try:
            outputs = await worker.call(f"{_HOST}:run", batch[0].signature, concatenate(batch), timeout=left)
            parts = split(outputs, batch)
        except XportError as error:
            if isinstance(error, WorkerError) and error.how:
                raise
            if len(batch) == 1:
                code = "INTERNAL" if isinstance(error, WorkerError) else "INVALID_ARGUMENT"
                self._fail(batch, ServingError(error.message, error.fix, code=code))
                return
            parts = None
        if parts is None:
            for item in batch:
                if not item.future.done():
                    await self._answer(worker, [item])
            return
        self._observe(self, batch, loop.time() - started)
        for item, part in zip(batch, parts, strict=True):
            if not item.future.done():
                item.future.set_result(part)

    def _bury(self, batch: list[Item], error: WorkerError) -> None:
        """A dead worker's batch: a lone request gets a 503; of several one may be at fault, so each tries alone."""
        waiting = [item for item in batch if not item.future.done()]
        if len(batch) > 1:
            self.queue.put_back(waiting)
            return
        if waiting:
            _log.error("%s: %s", self.label, error.message)
        code = "DEADLINE_EXCEEDED" if error.how == "timeout" else "UNAVAILABLE"
        self._fail(batch, ServingError("The worker process died while it held this request.", code=code))

    def _fail(self, batch: list[Item], error: ServingError) -> None:
        for item in batch:
            if not item.future.done():
                item.future.set_exception(error)


def _expire(item: Item, limit: float) -> None:
    if not item.future.done():
        item.future.set_exception(ServingError(f"The deadline of {limit:g} s is exceeded.", code="DEADLINE_EXCEEDED"))


def _share_of_cores(workers: int) -> int | None:
    """Threads of each of several workers; one alone is left to its runtime's default."""
    if workers == 1:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)
