"""The options a plan may give: the keywords of `xport.convert` itself, and the options of steps."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xport.convert import api
from xport.convert.options import STEP_OPTIONS
from xport.formats import Format

_NOT_IN_A_PLAN = frozenset({"options", "example_inputs", "progress", "keep_failed", "verbose", "overwrite", "timeout"})
"""Keywords of `xport.convert` that are objects in memory, hold for the whole run, or stand beside a task's options."""


@functools.cache
def option_hints() -> Mapping[str, Any]:
    """The type of every option by name: read from `xport.convert`, so that its new keywords are options at once."""
    hints = typing.get_type_hints(api.convert)
    keywords = [p.name for p in inspect.signature(api.convert).parameters.values() if p.kind is p.KEYWORD_ONLY]
    own = {name: hints[name] for name in keywords if name not in _NOT_IN_A_PLAN}
    return own | {name: option.kind for name, option in STEP_OPTIONS.items()}


def takes_path(name: str) -> bool:
    """Whether an option may name a file or folder."""
    return Path in _members(option_hints()[name])


def applies(name: str, target: Format) -> bool:
    """Whether an option means something to a target."""
    return name not in STEP_OPTIONS or target in STEP_OPTIONS[name].targets


def value_problem(name: str, value: Any) -> str:
    """What is wrong with the type of an option's value; empty if nothing is."""
    hint = option_hints()[name]
    if _fits(value, hint):
        return ""
    return f"{name} must be {_words(hint)}, not {value!r}."


def arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """A task's options as keywords of `xport.convert`.

    Args:
        options: Values that fit.

    Returns:
        Keywords, with the steps' options inside ``options``.
    """
    steps = {name: value for name, value in options.items() if name in STEP_OPTIONS}
    found = {name: _made(value, option_hints()[name]) for name, value in options.items() if name not in STEP_OPTIONS}
    return {**found, "options": steps}


def _made(value: Any, hint: Any) -> Any:
    """A value as Python wants it: one word for a list of words, and pairs as tuples."""
    members = _members(hint)
    if isinstance(value, str) and str not in members and any(_is_list(member) for member in members):
        return [value]
    if isinstance(value, list) and not any(_is_list(member) for member in members):
        return tuple(value)
    return value


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union; a type alone is its only member."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _is_list(hint: Any) -> bool:
    return typing.get_origin(hint) in (Iterable, Sequence, list)


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_one(value, member) for member in _members(hint))


def _fits_one(value: Any, hint: Any) -> bool:
    if hint is Any:
        return isinstance(value, str | int | float | bool)
    if hint is type(None):
        return value is None
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint is Path:
        return isinstance(value, str)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, list) and len(value) == len(inner) and all(map(_fits, value, inner))
    if _is_list(hint):
        return _fits(value, inner[0]) or (isinstance(value, list) and all(_fits(item, inner[0]) for item in value))
    return False


def _words(hint: Any) -> str:
    """A type as people say it."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", Path: "a path"}
    found = []
    for member in _members(hint):
        inner = typing.get_args(member)
        if member in names:
            found.append(names[member])
        elif typing.get_origin(member) is typing.Literal:
            found.append("one of " + ", ".join(map(str, inner)))
        elif typing.get_origin(member) is tuple:
            found.append("a list of " + ", ".join(_words(item) for item in inner))
        elif _is_list(member):
            found.append(f"a list, each {_words(inner[0])}")
    return " or ".join(dict.fromkeys(found)) or "another value"
