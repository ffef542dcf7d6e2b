"""The models that a server has, by name, version and label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from xport.errors import ServingError, UnreadableModelError, UsageError
from xport.formats import detect
from xport.serve.embedded.version import State, Version

_NAME = re.compile(r"[^/:\s]+")
V_co = TypeVar("V_co", bound=Version, covariant=True)
Stamp = tuple[tuple[str, int, int], ...]
"""How an artifact's files look from outside."""


@dataclass
class Model(Generic[V_co]):
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
    servables: dict[int, V_co] = field(default_factory=dict)
    seen: dict[int, Stamp] = field(default_factory=dict)

    @property
    def latest(self) -> V_co | None:
        """The available version of the highest number."""
        numbers = [number for number, servable in self.servables.items() if servable.state is State.AVAILABLE]
        return self.servables[max(numbers)] if numbers else None

    def wanted(self, labelled: Mapping[str, int]) -> dict[int, Path]:
        """The newest version and those with a label, as they lie there now.

        Raises:
            UnreadableModelError: If a folder of versions holds none any more.
        """
        if not self.versioned:
            return {1: self.path}
        versions = versions_of(self.path)
        if not versions:
            raise UnreadableModelError(f"{self.path} holds no version any more.", "Put one back; ls shows it.")
        return {n: path for n, path in versions.items() if n == max(versions) or n in labelled.values()}


def parse_model(text: str) -> Model[V_co]:
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


class Catalogue(Generic[V_co]):
    """The models of a server.

    Args:
        models: What there is.
        labels: By model name, version by label.

    Attributes:
        models: The models by name.
        labels: The labels.

    Raises:
        UsageError: If two models have the same name.
    """

    def __init__(self, models: Sequence[Model[V_co]], labels: Mapping[str, Mapping[str, int]]) -> None:
        names = [model.name for model in models]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"Two models are called {name!r}.", "Name one of them: NAME=PATH")
        self.models = {model.name: model for model in models}
        self.labels = labels

    def find(self, name: str, version: int | None = None, label: str = "") -> V_co:
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

    def versions(self, name: str, version: int | None = None, label: str = "") -> list[V_co]:
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
        labels = self.labels.get(name, {})
        if label not in labels:
            raise ServingError(f"Unrecognized servable version label: {label}")
        return labels[label]
