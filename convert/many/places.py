"""Where the results of a plan go: inside one folder, no two in one place, and none over a source."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from xport.convert.many.plan_text import Key, PlanText
from xport.formats import Format

RECORDS = ".xport-many"
"""The folder beside the results that holds what a later run knows them by."""


class Places:
    """The places that tasks have claimed.

    Args:
        text: The plan, for messages.
    """

    def __init__(self, text: PlanText) -> None:
        self.text = text
        self._keys: dict[PurePosixPath, Key] = {}
        self._folders: dict[PurePosixPath, Key] = {}

    def claim(self, given: Any, stem: str, target: Format, key: Key) -> str:
        """Give a task its place.

        Args:
            given: What the plan says, relative to the folder of all results; None for the usual name.
            stem: What the model's results are called.
            target: The format of the result.
            key: The target's place in the plan.

        Returns:
            The place, relative.

        Raises:
            UsageError: If it lies elsewhere or is taken.
        """
        path = self._checked(given, key) if given is not None else PurePosixPath(_usual(stem, target))
        taken = self._keys.get(path, self._folders.get(path))
        taken = next((self._keys[p] for p in path.parents if p in self._keys), taken)
        if taken is not None:
            raise self.text.error(
                key,
                f"Two results go to {path}: this one and that of {self.text.where(taken)}.",
                "Give one of them a 'name' or an 'output' of its own.",
            )
        self._keys[path] = key
        self._folders |= dict.fromkeys(path.parents[:-1], key)
        return str(path)

    def check_apart(self, output: str, sources: Iterable[str]) -> None:
        """Refuse results that would lie over a source, inside one, or around one.

        Args:
            output: The folder of all results.
            sources: Paths.

        Raises:
            UsageError: Naming the result's line.
        """
        models = {Path(os.path.realpath(source)) for source in sources}
        around = {parent for model in models for parent in model.parents}
        for path, key in self._keys.items():
            place = Path(os.path.realpath(Path(output, path)))
            if place in models or place in around or models & set(place.parents):
                raise self.text.error(
                    key, f"The result {place} would lie over a source.", "Choose another --output, or a 'name'."
                )

    def _checked(self, given: Any, key: Key) -> PurePosixPath:
        path = PurePosixPath(given) if isinstance(given, str) else PurePosixPath()
        if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in str(given):
            raise self.text.error(
                key,
                f"'output' must be a place inside the folder of all results, not {given!r}.",
                "Write a relative path, for example 'edge/model.tflite'.",
            )
        if path.parts[0] == RECORDS:
            raise self.text.error(key, f"{RECORDS} is where xport keeps its records.", "Choose another name.")
        return path


def _usual(stem: str, target: Format) -> str:
    folder = not target.suffix or target is Format.PYTORCH  # what xport writes for these is a folder
    return f"{stem}_{target.value}" if folder else f"{stem}{target.suffix}"
