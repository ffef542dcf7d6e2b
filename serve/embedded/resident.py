"""A model in the server's own process (``--workers 0``): nothing to wake up and nothing in between.

A lone client of a small model waits for half as long as with a worker process. What that costs: a model that crashes
ends the server, one that hangs cannot be stopped, and all models share one interpreter with the protocols.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from xport.errors import WorkerError, XportError
from xport.serve.embedded.batching import writable
from xport.serve.embedded.card import ModelCard
from xport.serve.embedded.opened import OpenedModel, open_checked

_SHORT = 0.5e-3
"""Seconds of a run that the event loop bears itself; handing it to a thread and back costs a third of that."""
_PATIENCE = 5.0  # seconds for a run to finish when its model is closed; then its thread is left behind
_opening = threading.Lock()  # `warnings.catch_warnings`, by which models are opened, is the whole process's
_log = logging.getLogger("xport.serve")
_T = TypeVar("_T")


class ResidentModel:
    """Runs batches one after the other: small ones on the event loop, others in one thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        # A daemon, so that a run without end does not keep the process; one, as runtimes keep pools by thread.
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()
        self._model: OpenedModel | None = None
        self._small = -1

    async def open(self, path: Path, **settings: Any) -> ModelCard:
        """Open the model; see `xport.serve.embedded.opened.open_checked`.

        Returns:
            What it is.

        Raises:
            XportError: If it cannot be served.
            WorkerError: If another exception was raised (``how`` is empty).
        """

        def opened() -> OpenedModel:
            with _opening:
                return open_checked(path, **settings)

        self._model = await self._in_thread(opened)
        return self._model.card

    async def run(
        self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """Run one signature.

        Args:
            signature: Its name.
            inputs: Its tensors.
            timeout: Not kept: nothing stops a thread. Whoever waits has a deadline anyway.

        Returns:
            Its outputs.

        Raises:
            XportError: Whatever error of ours the model raised.
            WorkerError: If it raised another exception (``how`` is empty).
        """
        if self._model is None:
            raise WorkerError("No model is open.")
        model = self._model
        own = writable(inputs)

        def timed() -> tuple[dict[str, np.ndarray], float]:
            started = time.perf_counter()
            return model.run(signature, own), time.perf_counter() - started

        size = sum(array.nbytes for array in own.values())
        outputs, seconds = _told(timed) if size <= self._small else await self._in_thread(timed)
        self._small = max(self._small, size) if seconds < _SHORT else min(self._small, size - 1)
        return outputs

    async def close(self) -> None:
        """Let the thread finish and forget the model; safe to call twice."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, _PATIENCE)
        self._model = None

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        done: Future[_T] = Future()
        self._jobs.put((done, function))
        return await asyncio.wrap_future(done)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            done, function = job
            if not done.set_running_or_notify_cancel():
                continue
            try:
                done.set_result(_told(function))
            except XportError as error:
                done.set_exception(error)


def _told(function: Callable[[], _T]) -> _T:
    """Call a function; an exception that is not ours becomes a `WorkerError`, as a worker process tells it."""
    try:
        return function()
    except XportError:
        raise
    except Exception as error:
        _log.exception("The model failed")
        raise WorkerError(f"{type(error).__name__}: {error}") from error
