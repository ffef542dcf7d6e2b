"""A plan: which models, into which formats, with which options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from xport.convert.source import ZOO_PREFIX
from xport.formats import Format

PLAN_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "output": "the folder or fsspec URL of all results; --output goes before it",
        "default": "options of all models",
        "models": "the list of models",
    }
)
"""What stands at the top of a plan."""

MODEL_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "source": "a file or folder (relative to the plan), an fsspec URL, or zoo:NAME",
        "to": "a target or a list of targets; a target may be a map of its name to options of its own",
        "name": "what the results are called; by default the source's name without its ending",
    }
)
"""What stands beside the options in a model of a plan."""

TARGET_KEYS: Mapping[str, str] = MappingProxyType({"output": "the result's place inside the folder of all results"})
"""What stands beside the options in a target of a model."""

ANYWHERE: Mapping[str, str] = MappingProxyType({"timeout": "seconds after which the conversion is stopped"})
"""What stands beside the options everywhere."""


@dataclass(frozen=True)
class Task:
    """One model into one format.

    Attributes:
        name: Where the result goes, relative to the folder of all results; no two tasks share one.
        source: A path, a URL or a ``zoo:`` name.
        target: Into what.
        options: Options of `xport.convert` and of its steps by name, paths absolute.
        timeout: Seconds after which it is stopped; None for no limit.
        where: Its place in the plan.
    """

    name: str
    source: str
    target: Format
    options: Mapping[str, Any]
    timeout: float | None = None
    where: str = ""

    @property
    def remote(self) -> bool:
        """Whether the source is a URL."""
        return is_url(self.source)


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        tasks: In the order of the text.
        output: The folder or URL of all results.
    """

    tasks: tuple[Task, ...]
    output: str


def is_url(text: str) -> bool:
    """Whether a source or an output is an fsspec URL."""
    return "://" in text and not text.startswith(ZOO_PREFIX)
