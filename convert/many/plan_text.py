"""A plan's text: YAML read into plain data, with the place of every value, and nothing run or unfolded on the way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from xport.errors import UsageError

LARGEST = 1_000_000
"""Bytes of a plan; ten thousand models take less."""
DEEPEST = 16
"""Levels of lists and maps in a plan."""

AT_KEY = -1
"""Behind the place of a map's value: the place of its key. No list has this position."""

Key = tuple[str | int, ...]
"""Where a value stands: names of maps and positions in lists, from the outside in."""

_PLAIN = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")

# The one in C is ten times as fast, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class PlanText:
    """A plan as plain data.

    Attributes:
        data: What the text says.
        name: What messages call it: the file's path, or "the plan".
        places: Line and column of every value, counted from one; empty for a plan that was no text.
    """

    data: Any
    name: str = "the plan"
    places: Mapping[Key, tuple[int, int]] = field(default_factory=dict)

    def where(self, key: Key) -> str:
        """The place of a value in words: ``plan.yaml:3:5``, or its path in a plan that was no text."""
        known = key
        while known and known not in self.places:
            known = known[:-1]
        if known in self.places:
            line, column = self.places[known]
            return f"{self.name}:{line}:{column}"
        named = [part for part in key if part != AT_KEY]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named).lstrip(".")
        return f"{self.name}, {path}" if path else self.name

    def error(self, key: Key, message: str, fix: str = "") -> UsageError:
        """The error for a value, with its place in front."""
        return UsageError(f"{self.where(key)}: {message}", fix)


def read_plan(path: Path) -> PlanText:
    """Read a plan file.

    Args:
        path: A YAML file.

    Returns:
        Its data with places.

    Raises:
        UsageError: If it cannot be read, is too large, is not YAML, or uses what a plan has no need for: aliases,
            tags, keys given twice, several documents.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise UsageError(
                f"{path} has {size:,} bytes, more than a plan may have ({LARGEST:,}).", "Cut it into several plans."
            )
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"The plan {path} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text in UTF-8: {error.reason}.", "Save it in UTF-8.") from error
    return parse_plan(text, str(path))


def parse_plan(text: str, name: str = "the plan") -> PlanText:
    """Read a plan from a text; see `read_plan`."""
    try:
        _screen(text, name)
        loader = _LOADER(text)
        node = loader.get_single_node()
        if node is None:
            raise UsageError(f"{name} is empty.", "List models under 'models:'; docs/many.md shows a plan.")
        places: dict[Key, tuple[int, int]] = {}
        data = _Reader(loader, name, places).read(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise UsageError(f"{place}: this is not YAML: {what}.", "Look at the line, and the one above it.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{name} is not YAML: {error}", "Save it again as a plain text.") from error
    return PlanText(data, name, places)


def _screen(text: str, name: str) -> None:
    """Refuse aliases, which can unfold without end, and depths that no plan has, before anything is built."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        mark: Any = event.start_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}"
        if isinstance(event, yaml.AliasEvent):
            raise UsageError(
                f"{place}: a plan takes no aliases (*{event.anchor}).",
                "Put what several models share under 'default:'.",
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UsageError(f"{place}: more than {DEEPEST} levels of lists and maps.", "docs/many.md shows a plan.")


class _Reader:
    """Nodes into plain data; what each holds is left to the checks."""

    def __init__(self, loader: Any, name: str, places: dict[Key, tuple[int, int]]) -> None:
        self.loader, self.name, self.places = loader, name, places

    def read(self, node: yaml.Node, key: Key) -> Any:
        self.places[key] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.CollectionNode) and node.tag not in _PLAIN:
            raise self._error(node, f"A plan has no use for the tag {node.tag!r}.")
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*key, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name_node, value in node.value:
            name = self._scalar(name_node) if isinstance(name_node, yaml.ScalarNode) else None
            if not isinstance(name, str):
                raise self._error(name_node, "A key must be a word.")
            if name in found:
                raise self._error(name_node, f"{name!r} is given twice.")
            found[name] = self.read(value, (*key, name))
            # An unknown or misplaced key is told at the key, not at its value.
            self.places[(*key, name, AT_KEY)] = (name_node.start_mark.line + 1, name_node.start_mark.column + 1)
        return found

    def _scalar(self, node: Any) -> Any:
        if not node.style and node.tag.endswith(":str") and _EXPONENT.fullmatch(node.value):
            return float(node.value)  # 1e-3: a number to everybody but YAML 1.1
        try:
            return self.loader.construct_object(node)
        except yaml.YAMLError as error:
            raise self._error(node, f"A plan has no use for the tag {node.tag!r}.") from error
        except (ValueError, OverflowError) as error:
            raise self._error(node, f"This value cannot be read: {error}.") from error

    def _error(self, node: yaml.Node, message: str) -> UsageError:
        return UsageError(f"{self.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}: {message}")
