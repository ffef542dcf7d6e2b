"""The models that a server has: names, versions, labels, and the folder watch that loads new versions."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xport.errors import ServingError, UnreadableModelError, UsageError, XportError
from xport.formats import detect
from xport.serve.embedded.batching import Item
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.servable import Servable, Stamp, State

_NAME = re.compile(r"[^/:\s]+")
_log = logging.getLogger("xport.serve")


@dataclass
class Model:
    """A name and its versions.

    Attributes:
        name: What requests call it.
        path: An artifact, or a folder with numbered versions.
        versioned: Which of the two.
        servables: By version, the loaded, the failed and the leaving.
        seen: By version, how its files looked when they were last looked at.
    """

    name: str
    path: Path
    versioned: bool
    servables: dict[int, Servable] = field(default_factory=dict)
    seen: dict[int, Stamp] = field(default_factory=dict)

    @property
    def latest(self) -> Servable | None:
        """The available version of the highest number."""
        numbers = [number for number, servable in self.servables.items() if servable.state is State.AVAILABLE]
        return self.servables[max(numbers)] if numbers else None


def parse_model(text: str) -> Model:
    """A model as the command line names it: ``PATH`` or ``NAME=PATH``.

    Raises:
        UsageError: If the name cannot stand in a URL.
        UnreadableModelError: If there is no model.
    """
    name, equals, rest = text.partition("=")
    path = Path(rest if equals and not Path(text).exists() else text)
    if not equals or Path(text).exists():
        name = path.resolve().name if path.is_dir() else path.stem
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a model's name.", f"Give it another one: NAME={path}")
    if path.is_dir() and versions_of(path):
        return Model(name, path, True)
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise UnreadableModelError(
            f"{path} is neither a SavedModel nor a folder with numbered versions.",
            "Name a model file, or put versions into it: mkdir model/1 && cp model.onnx model/1/",
        )
    detect(path)
    return Model(name, path, False)


def versions_of(folder: Path) -> dict[int, Path]:
    """The versions in a folder: each a folder named by a number that is a SavedModel or holds one artifact."""
    found = {}
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name.isdigit():
            artifact = _artifact_in(entry)
            if artifact is not None:
                found[int(entry.name)] = artifact
    return found


def _artifact_in(folder: Path) -> Path | None:
    if (folder / "saved_model.pb").is_file():
        return folder
    for entry in sorted(folder.iterdir()):
        try:
            detect(entry)
            return entry
        except UnreadableModelError:  # a README, external data, a half-written file
            continue
    return None


def _stamp(path: Path) -> Stamp:
    """How an artifact's files look from outside: names, sizes, times."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)


class Store:
    """The models of a server.

    Args:
        models: What to serve.
        options: How the server behaves.
        observe: Told of every batch; see `Servable`.
    """

    def __init__(
        self,
        models: Sequence[Model],
        options: ServerOptions,
        observe: Callable[[Servable, list[Item], float], None] = lambda *_: None,
    ) -> None:
        names = [model.name for model in models]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"Two models are called {name!r}.", "Name one of them: NAME=PATH")
        self.models = {model.name: model for model in models}
        self.options = options
        self._observe = observe
        self._leaving: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Load the latest version of every model.

        Raises:
            XportError: If one cannot be served; nothing is left running.
        """
        try:
            loads = [self._load(m, v, path) for m in self.models.values() for v, path in self._wanted(m).items()]
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

    async def refresh(self, model: Model) -> None:
        """Load the versions of a model that are wanted and not there yet, then let the others go.

        A version that fails stays listed with its error, and the one before it goes on; it is tried again when its
        files change. One whose files still change is being copied: it waits for the next look.
        """
        try:
            wanted = self._wanted(model)
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

    def _let_go(self, model: Model, wanted: Collection[int]) -> None:
        for number, servable in model.servables.items():
            if number not in wanted and servable.state is State.AVAILABLE:
                _log.info("%s is unloaded.", servable.label)
                servable.state = State.UNLOADING  # at once: no request may find it any more
                task = asyncio.create_task(servable.unload(self.options.drain_timeout))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    def find(self, name: str, version: int | None = None, label: str = "") -> Servable:
        """The version that a request means.

        Raises:
            ServingError: ``NOT_FOUND``, ``UNAVAILABLE``, or ``INVALID_ARGUMENT`` for an unknown label.
        """
        model = self.models.get(name)
        if label:
            version = self.version_of(name, label)
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        servable = None if model is None else model.latest if version is None else model.servables.get(version)
        if servable is None or servable.state is not State.AVAILABLE:
            raise ServingError(f"Servable not found for request: {wanted}", code="NOT_FOUND")
        return servable

    def versions(self, name: str, version: int | None = None, label: str = "") -> list[Servable]:
        """The versions whose status a request asks for, newest first, whatever their state.

        Raises:
            ServingError: If there is none.
        """
        if label:
            version = self.version_of(name, label)
        known = self.models[name].servables if name in self.models else {}
        if version is None and not known:
            raise ServingError(f"Could not find any versions of model {name}", code="NOT_FOUND")
        if version is not None and version not in known:
            raise ServingError(f"Could not find version {version} of model {name}", code="NOT_FOUND")
        return [s for number, s in sorted(known.items(), reverse=True) if version in (None, number)]

    def version_of(self, name: str, label: str) -> int:
        """The version that a label stands for.

        Raises:
            ServingError: If it stands for none.
        """
        labels = self.options.labels.get(name, {})
        if label not in labels:
            raise ServingError(f"Unrecognized servable version label: {label}")
        return labels[label]

    def _wanted(self, model: Model) -> dict[int, Path]:
        """The newest version and those with a label."""
        if not model.versioned:
            return {1: model.path}
        versions = versions_of(model.path)
        if not versions:
            raise UnreadableModelError(f"{model.path} holds no version any more.", "Put one back; ls shows it.")
        labelled = self.options.labels.get(model.name, {}).values()
        return {number: path for number, path in versions.items() if number == max(versions) or number in labelled}

    async def _load(self, model: Model, version: int, path: Path) -> None:
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
