"""A replica: one version of a model in a process that Ray places, replaces and counts.

It is ready only after its own golden inputs have passed, on its own machine.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from xport import __version__
from xport.convert.many.digest import source_digest
from xport.errors import ParityError, ServingError, UnreadableModelError, UsageError, XportError
from xport.runtimes import require, set_defaults
from xport.serve.embedded.batching import concatenate, split, writable
from xport.serve.embedded.card import ModelCard
from xport.serve.embedded.opened import OpenedModel, open_checked
from xport.serve.on_ray.spec import ModelSpec, Portion, mark

Outcome = dict[str, np.ndarray] | ServingError
"""What becomes of a request; errors are values, so that one in a batch is not everybody's."""
_log = logging.getLogger("ray.serve")


class ModelReplica:
    """Opens a version, proves it, and answers requests, together where that was shown to change nothing.

    Args:
        spec: The version.

    Raises:
        RuntimeError: With the marked error for the one who waits (`xport.serve.on_ray.spec.marked_error`).
    """

    def __init__(self, spec: ModelSpec) -> None:
        set_defaults()
        try:
            self._opened = _open(spec)
        except XportError as error:
            raise RuntimeError(mark(error)) from error
        self._max_batch = spec.max_batch
        # One at a time: a runtime has the threads that Ray counted for it. Not on the event loop, which answers Ray.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._join = require("ray.serve").batch(
            max_batch_size=spec.max_batch, batch_wait_timeout_s=spec.max_delay, batch_size_fn=_rows
        )(self._run)

    async def card(self) -> ModelCard:
        """What the model is."""
        return self._opened.card

    async def predict(self, portion: Portion) -> Outcome:
        """Answer a request."""
        if portion.key is None or portion.rows >= self._max_batch:
            return (await self._run([portion]))[0]
        outcome: Outcome = await self._join(portion)
        return outcome

    async def _run(self, portions: list[Portion]) -> list[Outcome]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, answer, self._opened, portions)


def answer(opened: OpenedModel, portions: Sequence[Portion]) -> list[Outcome]:
    """Answer requests that came together: those of one key as one batch, nothing padded.

    Args:
        opened: The model.
        portions: The requests.

    Returns:
        Outputs or error of each, in their order.
    """
    groups: dict[object, list[int]] = {}
    for index, portion in enumerate(portions):
        groups.setdefault(("alone", index) if portion.key is None else portion.key, []).append(index)
    found: dict[int, Outcome] = {}
    for indices in groups.values():
        found.update(zip(indices, _answer_group(opened, [portions[i] for i in indices]), strict=True))
    return [found[index] for index in range(len(portions))]


def _answer_group(opened: OpenedModel, group: list[Portion]) -> list[Outcome]:
    """Run a batch; one that the model refuses is run again request by request."""
    try:
        parts = split(opened.run(group[0].signature, writable(concatenate(group))), group)
        if parts is not None:
            return list(parts)
        error = ServingError("The outputs have not a row for each row.", code="INTERNAL")
    except XportError as refused:
        error = ServingError(refused.message, refused.fix)
    except Exception as broken:
        _log.exception("The model failed")
        error = ServingError(f"{type(broken).__name__}: {broken}", code="INTERNAL")
    if len(group) == 1:
        return [error]
    return [outcome for portion in group for outcome in _answer_group(opened, [portion])]


def _rows(portions: Sequence[Portion]) -> int:
    return sum(portion.rows for portion in portions)


def _open(spec: ModelSpec) -> OpenedModel:
    here = socket.gethostname()
    if spec.written_by != __version__:
        raise UsageError(
            f"{here} has xport {__version__}, the command that serves has {spec.written_by}.",
            f"On every machine of the cluster: pip install 'xport-ml[ray]=={spec.written_by}'",
        )
    path = Path(spec.path)
    try:
        digest = source_digest(path)
    except OSError as error:
        raise UnreadableModelError(
            f"{here} cannot read {path}: {error.strerror or error}",
            "Put the model into a folder that every machine of the cluster sees at the same path.",
        ) from error
    if digest != spec.digest:
        raise ParityError(
            f"{path} on {here} is not the model that was to be served: its content differs.",
            "Put the same files at that path on every machine; a model that changed is served by a new command.",
        )
    return open_checked(
        path,
        inputs=spec.inputs,
        device=spec.device,
        threads=spec.threads,
        batching=spec.max_batch > 1,
        require_proof=spec.require_proof,
    )
