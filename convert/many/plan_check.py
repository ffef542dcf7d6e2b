"""From a plan's data to its tasks; every mistake is told with its line before anything is started."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from xport.convert.many.places import Places
from xport.convert.many.plan import ANYWHERE, MODEL_KEYS, PLAN_KEYS, TARGET_KEYS, Plan, Task, is_url
from xport.convert.many.plan_options import applies, option_hints, takes_path, value_problem
from xport.convert.many.plan_text import AT_KEY, Key, PlanText
from xport.convert.many.remote import exists
from xport.convert.options import STEP_OPTIONS
from xport.convert.planner import plan as plan_routes
from xport.convert.routes import STEPS
from xport.convert.source import ZOO_PREFIX, open_source
from xport.errors import UnreadableModelError, UsageError
from xport.formats import FORMAT_OF_CONTENT, Format, detect
from xport.signature import TensorSpec

DEFAULT_OUTPUT = "converted"
"""The folder of the results if neither the plan nor the user names one; in the current folder."""


def check_plan(text: PlanText, base: Path, output: str | None = None, timeout: float | None = None) -> Plan:
    """Check a plan and list its tasks.

    Args:
        text: The plan's data.
        base: The folder that its relative paths begin in.
        output: Where the results go, before what the plan says.
        timeout: Seconds for a task whose plan gives none.

    Returns:
        The plan.

    Raises:
        UsageError: Naming the line: unknown keys, wrong values, missing files, two results in one place.
    """
    return _Check(text, base, timeout).plan(output)


class _Check:
    def __init__(self, text: PlanText, base: Path, timeout: float | None) -> None:
        self.text, self.base, self.timeout = text, base, timeout
        self.places = Places(text)

    def plan(self, output: str | None) -> Plan:
        data = self._map(self.text.data, (), PLAN_KEYS, options=False)
        default = self._map(data.get("default", {}), ("default",), ANYWHERE)
        default = self._options(default, ("default",))
        models = data.get("models")
        if not isinstance(models, list) or not models:
            raise self.text.error(("models",), "'models' must be a list of models.", "docs/many.md shows a plan.")
        tasks = [task for i, model in enumerate(models) for task in self._model(model, ("models", i), default)]
        where = output if output is not None else self._output(data)
        if not is_url(where):
            where = os.path.abspath(where)
            self.places.check_apart(where, [task.source for task in tasks if not is_url(task.source)])
        return Plan(tuple(tasks), where)

    def _output(self, data: Mapping[str, Any]) -> str:
        given = data.get("output", None)
        if given is None:
            return DEFAULT_OUTPUT
        if not isinstance(given, str) or not given:
            raise self.text.error(("output",), f"'output' must be a folder or a URL, not {given!r}.")
        return given if is_url(given) else str(self.base / given)

    def _model(self, model: Any, key: Key, default: dict[str, Any]) -> Iterable[Task]:
        found = self._map(model, key, {**MODEL_KEYS, **ANYWHERE})
        source = self._source(found, key)
        options = self._options({k: v for k, v in found.items() if k not in MODEL_KEYS}, key)
        listed = found.get("to")
        single = isinstance(listed, str | dict)
        wanted = [listed] if single else listed
        if not isinstance(wanted, list) or not wanted:
            raise self.text.error((*key, "to"), "'to' must be a target or a list of targets.")
        targets = [self._target(t, (*key, "to") if single else (*key, "to", i)) for i, t in enumerate(wanted)]
        self._check_used(options, [target for target, _, _ in targets], key)
        stem = self._name(found, source, key)
        for target, own, place in targets:
            self._check_route(source, target, options | own, place)
            merged = {n: v for n, v in (default | options).items() if n in own or applies(n, target)} | own
            limit = merged.pop("timeout", self.timeout)
            name = self.places.claim(merged.pop("output", None), stem, target, place)
            yield Task(name, source, target, merged, limit, self.text.where(place))

    def _map(self, value: Any, key: Key, keys: Mapping[str, str], *, options: bool = True) -> dict[str, Any]:
        """A map whose keys are all known."""
        if not isinstance(value, dict):
            raise self.text.error(key, f"Expected a map here, found {value!r:.60}.", "docs/many.md shows a plan.")
        known = [*keys, *(option_hints() if options else ())]
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                fix = f"Did you mean {near[0]!r}?" if near else f"Known here are {', '.join(known)}."
                raise self.text.error((*key, name, AT_KEY), f"Unknown key {name!r}.", fix)
        return value

    def _options(self, values: Mapping[str, Any], key: Key) -> dict[str, Any]:
        """The options of a map, checked, with paths absolute."""
        checked: dict[str, Any] = {}
        for name, value in values.items():
            place = (*key, name)
            if name == "timeout":
                if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                    raise self.text.error(place, f"timeout must be a number of seconds, not {value!r}.")
            elif name in option_hints():
                if problem := value_problem(name, value):
                    raise self.text.error(place, problem)
                value = self._path(value, place) if takes_path(name) and isinstance(value, str) else value
            checked[name] = value
        self._check_specs(checked.get("inputs"), (*key, "inputs"))
        return checked

    def _check_specs(self, inputs: Any, place: Key) -> None:
        for spec in [inputs] if isinstance(inputs, str) else inputs or ():
            try:
                TensorSpec.parse(spec)
            except UsageError as error:
                raise self.text.error(place, error.message, error.fix) from error

    def _path(self, value: str, place: Key) -> str:
        path = self.base / value
        if not path.exists():
            raise self.text.error(place, f"{path} does not exist.", "Paths begin in the plan's folder.")
        return os.path.abspath(path)

    def _source(self, model: Mapping[str, Any], key: Key) -> str:
        source, place = model.get("source"), (*key, "source")
        if not isinstance(source, str) or not source:
            raise self.text.error(place, "Every model needs a 'source': a path, a URL or zoo:NAME.")
        if not is_url(source) and not source.startswith(ZOO_PREFIX):
            return self._path(source, place)
        try:
            if source.startswith(ZOO_PREFIX):
                open_source(source)
            elif not exists(source):
                raise UsageError(f"{source} does not exist.", "Check the URL.")
        except UsageError as error:
            raise self.text.error(place, error.message, error.fix) from error
        return source

    def _name(self, model: Mapping[str, Any], source: str, key: Key) -> str:
        given = model.get("name")
        if given is None:
            last = source.removeprefix(ZOO_PREFIX).partition("@")[0] if source.startswith(ZOO_PREFIX) else source
            path = PurePosixPath(last.rstrip("/"))
            return path.name if os.path.isdir(source) else path.stem
        if not isinstance(given, str) or not given or given in (".", "..") or "/" in given or "\0" in given:
            raise self.text.error((*key, "name"), f"'name' must be a plain name without folders, not {given!r}.")
        return given

    def _target(self, value: Any, key: Key) -> tuple[Format, dict[str, Any], Key]:
        """A target with the options of its own."""
        name, place = value, key
        own: dict[str, Any] = {}
        if isinstance(value, dict):
            if len(value) != 1:
                raise self.text.error(key, "A target with options is a map of one name: {onnx: {opset: 17}}.")
            ((name, own),) = value.items()
            place = (*key, name)
            own = self._map(own or {}, place, {**TARGET_KEYS, **ANYWHERE})
        if not isinstance(name, str):
            raise self.text.error(key, f"A target must be a format's name, not {name!r}.")
        try:
            target = Format.parse(name)
        except UsageError as error:
            near = difflib.get_close_matches(name.lower(), [f.value for f in Format], 1)
            fix = f"Did you mean {near[0]!r}?" if near else error.fix
            raise self.text.error(key, error.message, fix) from error
        for option in own:
            if option in STEP_OPTIONS and not applies(option, target):
                raise self.text.error((*place, option, AT_KEY), f"{option} means nothing to {target.value}.")
        return target, self._options(own, place), key

    def _check_used(self, options: Mapping[str, Any], targets: list[Format], key: Key) -> None:
        """An option that no target of its model takes is a mistake; one that some take goes to those."""
        for name in options:
            if name in option_hints() and not any(applies(name, target) for target in targets):
                listed = ", ".join(target.value for target in targets)
                raise self.text.error((*key, name, AT_KEY), f"{name} means nothing to {listed}.")

    def _check_route(self, source: str, target: Format, options: Mapping[str, Any], place: Key) -> None:
        via = options.get("via", ())
        try:
            start = _format(source)
            if start is not None:
                plan_routes(start, target, via=[via] if isinstance(via, str) else via)
            elif all(step.target is not target for step in STEPS):
                raise UsageError(f"xport does not write {target.value}.")
        except UsageError as error:
            raise self.text.error(place, error.message, error.fix) from error


def _format(source: str) -> Format | None:
    """What a source holds, as far as that can be seen from here; a broken one is its own task's matter."""
    if is_url(source):
        return None
    if source.startswith(ZOO_PREFIX):
        return Format.PYTORCH
    try:
        return FORMAT_OF_CONTENT[detect(Path(source))]
    except UnreadableModelError:
        return None
