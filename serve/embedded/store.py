"""The models of the embedded server, and the folder watch that loads new versions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from xport.errors import XportError
from xport.serve.embedded.batching import Item
from xport.serve.embedded.catalogue import Catalogue, Model, Stamp
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.servable import Servable
from xport.serve.embedded.version import State

_log = logging.getLogger("xport.serve")


def _stamp(path: Path) -> Stamp:
    """How an artifact's files look from outside: names, sizes, times."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)


class Store(Catalogue[Servable]):
    """The models of a server.

    Args:
        models: What to serve.
        options: How the server behaves.
        observe: Told of every batch; see `Servable`.
    """

    def __init__(
        self,
        models: Sequence[Model[Servable]],
        options: ServerOptions,
        observe: Callable[[Servable, list[Item], float], None] = lambda *_: None,
    ) -> None:
        super().__init__(models, options.labels)
        self.options = options
        self._observe = observe
        self._leaving: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Load the latest version of every model.

        Raises:
            XportError: If one cannot be served; nothing is left running.
        """
        try:
            loads = [
                self._load(m, v, path)
                for m in self.models.values()
                for v, path in m.wanted(self.labels.get(m.name, {})).items()
            ]
            async with asyncio.TaskGroup() as group:
                for load in loads:
                    group.create_task(load)
        except BaseExceptionGroup as several:
            await self.unload(0)
            raise several.exceptions[0] from several
        except BaseException:
            await self.unload(0)
            raise

    async def unload(self, timeout: float) -> None:
        """End every version; requests that were taken have ``timeout`` seconds to finish."""
        servables = [servable for model in self.models.values() for servable in model.servables.values()]
        await asyncio.gather(*(servable.unload(timeout) for servable in servables))
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def watch(self) -> None:
        """Look for new versions for ever. A new one takes over after its golden inputs have passed."""
        while self.options.poll:
            await asyncio.sleep(self.options.poll)
            for model in self.models.values():
                if model.versioned:
                    await self.refresh(model)

    async def refresh(self, model: Model[Servable]) -> None:
        """Load the versions of a model that are wanted and not there yet, then let the others go.

        A version that fails stays listed with its error, and the one before it goes on; it is tried again when its
        files change. One whose files still change is being copied: it waits for the next look.
        """
        try:
            wanted = model.wanted(self.labels.get(model.name, {}))
        except (XportError, OSError) as error:
            _log.error("%s: %s", model.name, error)
            return
        for version, path in wanted.items():
            stamp = _stamp(path)
            known = model.servables.get(version)
            if known is not None and (known.state is not State.END or (known.error and known.stamp == stamp)):
                continue
            if model.seen.get(version) != stamp:
                model.seen[version] = stamp
                continue
            try:
                await self._load(model, version, path)
            except XportError as error:
                _log.error("%s version %d is not served: %s", model.name, version, error)
        newest = model.servables.get(max(wanted))
        if newest is not None and newest.state is State.AVAILABLE:
            self._let_go(model, wanted)

    def _let_go(self, model: Model[Servable], wanted: Collection[int]) -> None:
        for number, servable in model.servables.items():
            if number not in wanted and servable.state is State.AVAILABLE:
                _log.info("%s is unloaded.", servable.label)
                servable.state = State.UNLOADING  # at once: no request may find it any more
                task = asyncio.create_task(servable.unload(self.options.drain_timeout))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def _load(self, model: Model[Servable], version: int, path: Path) -> None:
        servable = Servable(model.name, version, path, self.options, self._observe)
        servable.stamp = _stamp(path)
        model.servables[version] = servable
        await servable.load()
        card = servable.card
        if card is None:
            return
        for message in card.warnings:
            _log.warning("%s: %s", servable.label, message)
        checked = f"{card.golden} golden cases pass" if card.golden else "it carries no golden inputs, nothing checked"
        _log.info("%s is available (%s, %s).", servable.label, card.format, checked)
        for name, endpoint in card.endpoints.items():
            if endpoint.alone_because and self.options.max_batch > 1:
                _log.info("%s, %s: each request runs alone: %s.", servable.label, name, endpoint.alone_because)
