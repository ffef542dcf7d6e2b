"""A version whose replicas are somewhere in the cluster."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.ray_cluster import first_line
from xport.runtimes import require
from xport.serve.embedded.version import State, Tensors, Version
from xport.serve.on_ray.spec import Portion


class RemoteVersion(Version):
    """Asks the replicas of a version.

    Args:
        name: The model's name.
        version: Its number.
        handle: Ray's handle of its deployment.
        timeout: Seconds until a request is given up.
        max_queue: How many may wait; for the error when more come.
    """

    def __init__(self, name: str, version: int, handle: Any, *, timeout: float, max_queue: int) -> None:
        super().__init__(name, version)
        self._handle, self._timeout, self._max_queue = handle, timeout, max_queue

    async def learn(self) -> None:
        """Wait until a replica is ready and says what the model is."""
        if self.card is None:
            self.state = State.LOADING
            self.card = await self._handle.card.remote()
            self.state = State.AVAILABLE

    async def predict(
        self, inputs: Tensors, signature: str = "", *, timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """See `Version.predict`."""
        name, key, rows = self.admit(inputs, signature)
        limit = self._timeout if timeout is None else min(timeout, self._timeout)
        try:
            async with asyncio.timeout(limit):
                return await self._ask(Portion(name, dict(inputs), key, rows))
        except TimeoutError as error:
            raise ServingError(f"The deadline of {limit:g} s is exceeded.", code="DEADLINE_EXCEEDED") from error

    async def _ask(self, portion: Portion) -> dict[str, np.ndarray]:
        """Ask a replica. If one dies with a request that it may have run together with others, each tries alone.

        A second death is told: a request that kills replicas must not be sent to all of them.
        """
        exceptions = require("ray.exceptions")
        lost: BaseException | None = None
        for attempt in [portion] if portion.key is None else [portion, replace(portion, key=None)]:
            try:
                outcome = await self._handle.predict.remote(attempt)
            except exceptions.RayActorError as error:
                lost = error
                continue
            except TimeoutError:
                raise
            except Exception as error:
                raise self._refusal(error) from error
            if isinstance(outcome, ServingError):
                raise outcome
            found: dict[str, np.ndarray] = outcome
            return found
        raise ServingError("The replica died while it held this request.", code="UNAVAILABLE") from lost

    def _refusal(self, error: Exception) -> ServingError:
        serve, exceptions = require("ray.serve.exceptions"), require("ray.exceptions")
        if isinstance(error, serve.BackPressureError):
            return ServingError(
                f"The queue is full: {self._max_queue} requests wait already.",
                "Try again later, or serve with more --replicas or a larger --max-queue.",
                code="RESOURCE_EXHAUSTED",
            )
        if isinstance(error, exceptions.RayTaskError):
            return ServingError(f"The replica failed: {first_line(error)}", code="INTERNAL")
        if isinstance(error, exceptions.RayError | serve.RayServeException):
            return ServingError(f"No replica can answer: {first_line(error)}", code="UNAVAILABLE")
        return ServingError(f"Ray failed: {first_line(error)}", code="INTERNAL")
