"""One worker of a version, and its successors: it takes batches from the queue until it dies, then the next does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from xport import posix
from xport.errors import ServingError, WorkerError, XportError
from xport.serve.embedded.batching import BatchQueue, Item, concatenate, split
from xport.serve.embedded.card import ModelCard
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.process import AsyncWorker
from xport.serve.embedded.resident import ResidentModel

_STARTS = 5  # failed ones in a row; then the replica is given up
_GRACE = 5.0  # seconds that a call may run over the last deadline of its batch before its worker is ended
_log = logging.getLogger("xport.serve")
_Worker = AsyncWorker | ResidentModel


class Replica:
    """A place for a worker.

    Args:
        label: What messages call the version.
        path: The artifact.
        options: How the server behaves.
        queue: Where the batches come from.
        observe: Told of every batch and the seconds it ran.

    Attributes:
        restarts: How many workers have died.
    """

    def __init__(
        self,
        label: str,
        path: Path,
        options: ServerOptions,
        queue: BatchQueue,
        observe: Callable[[list[Item], float], None],
    ) -> None:
        self.label, self.path, self.options, self.queue = label, path, options, queue
        self.restarts = 0
        self._observe = observe
        self._worker: _Worker | None = None

    async def start(self) -> ModelCard:
        """Start a worker, which opens the model and replays its golden inputs.

        Returns:
            What the model is.

        Raises:
            XportError: If it cannot be served; the worker has ended.
        """
        self._worker = AsyncWorker() if self.options.workers else ResidentModel()
        try:
            return await self._worker.open(
                self.path,
                inputs=self.options.inputs,
                device=self.options.device,
                threads=self.options.threads or _share_of_cores(self.options.workers),
                batching=self.options.max_batch > 1,
                require_proof=self.options.require_proof,
            )
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the worker; safe to call twice."""
        if self._worker is not None:
            await self._worker.close()
            self._worker = None

    async def run(self) -> XportError:
        """Answer batches; replace the worker when it dies.

        Returns:
            Why no further worker starts.
        """
        try:
            while self._worker is not None:
                answered = await self._serve(self._worker)
                await self.close()
                self.restarts += 1
                _log.warning("A worker of %s died and is replaced.", self.label)
                # Golden inputs pass and the first request kills it: no hurry to meet the next one like it.
                error = await self._restart(0.0 if answered else 1.0)
                if error is not None:
                    return error
            return XportError(f"{self.label} was not started.")
        finally:
            await self.close()

    async def _restart(self, pause: float) -> XportError | None:
        """Start the next worker; returns why that is given up, if it is."""
        for failures in range(1, _STARTS + 1):
            await asyncio.sleep(pause)
            try:
                await self.start()
                return None
            except XportError as error:
                _log.error("A worker of %s does not start: %s", self.label, error)
                pause = 2.0**failures - 1
                last = error
        return last

    async def _serve(self, worker: _Worker) -> int:
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

    async def _answer(self, worker: _Worker, batch: list[Item]) -> None:
        """Run a batch; one that the model refuses is run again request by request.

        Raises:
            WorkerError: If the worker died.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        left = max(item.deadline for item in batch) - started + _GRACE
        try:
            outputs = await worker.run(batch[0].signature, concatenate(batch), left)
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
        self._observe(batch, loop.time() - started)
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


def _share_of_cores(workers: int) -> int | None:
    """Threads of each of several workers; one alone is left to its runtime's default."""
    if workers <= 1:
        return None
    return max(1, posix.processors() // workers)
