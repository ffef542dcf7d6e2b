"""Taking routes, one after the other, until a result passes; the story of those that lost is kept."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xport.convert.expectation import Expectation, expect, torch_family
from xport.convert.gate import GateResult, prove
from xport.convert.planner import Route
from xport.convert.routes import HUB, RUNTIME_OF, STEPS, Step
from xport.convert.source import Source, open_source
from xport.convert.staging import Staging, is_full
from xport.convert.workers import Workers
from xport.errors import (
    ConversionError,
    MissingRuntimeError,
    ParityError,
    UnsupportedError,
    UsageError,
    XportError,
)
from xport.formats import Format
from xport.signature import Signature
from xport.validate.verdicts import Tolerance

Progress = Callable[[str], None]
"""Told in a few words what begins."""


@dataclass
class Attempts:
    """One conversion: what all its routes share.

    Attributes:
        source: What is converted.
        signature: Its inputs and outputs.
        staging: Where the files go.
        workers: The child processes.
        progress: Told what begins.
        options: What the steps are told.
        verify: Whether a result must pass the gate.
        seed: For the gate's inputs.
        user_inputs: The user's own inputs for the gate.
        tolerance: The user's own limits for the gate.
        tried: The routes that lost, with the reason.
        rejected: The last result that failed the gate.
    """

    source: Source
    signature: Signature
    staging: Staging
    workers: Workers
    progress: Progress
    options: dict[str, Any] = field(default_factory=dict)
    verify: bool = True
    seed: int = 0
    user_inputs: Any = None
    tolerance: Tolerance | None = None
    tried: list[dict[str, str]] = field(default_factory=list)
    rejected: Path | None = None
    expectation: Expectation | None = None
    _made: dict[tuple[Step, ...], Path | XportError] = field(default_factory=dict)
    _finished: dict[tuple[Step, ...], Path] = field(default_factory=dict)

    def first_success(self, routes: Sequence[Route]) -> tuple[Route, Path, GateResult | None]:
        """Take routes until a result passes.

        Args:
            routes: At least one, the first to try first.

        Returns:
            The route that won, the result, and what the gate found (None without verification).

        Raises:
            UsageError: If the source itself is at fault, whatever the route.
            XportError: If every route lost; with one route its own error, otherwise one that tells of all.
        """
        errors: list[XportError] = []
        for route in routes:
            try:
                result = self.follow(route)
                found = self._prove(route, result) if self.verify else None
                if found is None or found.passed:
                    return route, result, found
                self.rejected = result
                raise found.error()
            except (UsageError, MissingRuntimeError):
                raise
            except XportError as error:
                if is_full(self.staging.folder, error):
                    raise
                errors.append(error)
                self.tried.append({"route": str(route), "error": type(error).__name__, "reason": str(error.message)})
        raise _all_lost(routes, errors)

    def follow(self, route: Route) -> Path:
        """The file that the last step of a route writes; steps that an earlier route took are not taken again."""
        self._warm(route)
        source, result = self.source, Path()
        for position in range(len(route.steps)):
            prefix = route.steps[: position + 1]
            if prefix not in self._made:
                try:
                    self._made[prefix] = self._take(prefix, source)
                except XportError as error:
                    self._made[prefix] = error
            made = self._made[prefix]
            if isinstance(made, XportError):
                raise made
            result = made
            if position + 1 < len(route.steps):
                # Source code on the way was written by the step before.
                source = open_source(result, trust_pickle=route.steps[position].target is Format.PYTORCH)
        return self._finish(route, result)

    def _finish(self, route: Route, result: Path) -> Path:
        """A result in the form that the options ask for: a file of its own, since other routes go on from the first."""
        asks = self.options.get("opset") or self.options.get("optimize")
        if route.steps[-1].target is not Format.ONNX or not asks:
            return result
        if route.steps not in self._finished:
            self.progress("bringing the onnx into form")
            target = self.staging.room(f"finish-{len(self._finished)}") / self.staging.destination.name
            function = "xport.convert.onnx_hygiene:finish"
            changed = self.workers.call("onnxruntime", function, result, target, self.signature, self.options)
            self._finished[route.steps] = target if changed else result
        return self._finished[route.steps]

    def _warm(self, route: Route) -> None:
        """Let frameworks that a later step or the gate needs be imported while the first step works."""
        first = framework_of_step(route.steps[0])
        later = [framework_of_step(step) for step in route.steps[1:]]
        later += [candidate_framework(route)] if self.verify else []
        for framework in later:
            if framework != first:
                self.workers.warm(framework)

    def _take(self, prefix: tuple[Step, ...], source: Source) -> Path:
        step = prefix[-1]
        self.progress(f"{step.source.value} → {step.target.value}")
        room = self.staging.room(f"step-{len(self._made)}")
        target = room / self.staging.destination.name
        if source.live:
            _take_here(step, source, target, self.signature, self.options)
        else:
            self.workers.call(framework_of_step(step), step.function, source, target, self.signature, self.options)
        return target

    def expected(self, route: Route) -> Expectation:
        """What the source answers; it is run once, whatever the routes."""
        if self.expectation is None:
            self.progress("running the source")
            self.expectation = expect(
                self.source,
                self.signature,
                self.workers,
                seed=self.seed,
                user_inputs=self.user_inputs,
                hub=self._hub(route),
            )
        return self.expectation

    def _prove(self, route: Route, result: Path) -> GateResult:
        expectation = self.expected(route)
        target = route.steps[-1].target
        self.progress(f"proving the {target.value}")
        worker = self.workers.get(candidate_framework(route))
        return prove(expectation, result, target, tolerance=self.tolerance, worker=worker)

    def _hub(self, route: Route) -> Path | None:
        """The source in ONNX, where nothing runs the source itself in float64; made now if no route needed it yet."""
        if torch_family(self.source.format) or self.source.format is HUB:
            return None
        steps = sorted((s for s in STEPS if s.source is self.source.format and s.target is HUB), key=lambda s: s.cost)
        prefix = route.steps[:1] if route.steps[0].target is HUB else tuple(steps[:1])
        if prefix and prefix not in self._made:
            try:
                self._made[prefix] = self._take(prefix, self.source)
            except XportError as error:  # without a float64 result the dtype table judges, and the verdict says so
                self._made[prefix] = error
        made = self._made.get(prefix)
        return made if isinstance(made, Path) else None


def framework_of_step(step: Step) -> str:
    """The framework whose worker takes a step."""
    return step.needs[0] if step.needs else "onnxruntime"


def candidate_framework(route: Route) -> str:
    """The framework whose worker runs a route's result."""
    return RUNTIME_OF[route.steps[-1].target]


def _take_here(step: Step, source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Take a step in this process, where a live module is."""
    module, _, name = step.function.partition(":")
    try:
        getattr(importlib.import_module(module), name)(source, target, signature, options)
    except XportError:
        raise
    except Exception as error:  # exporters raise whatever their insides raise
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        raise ConversionError(f"{step} failed: {type(error).__name__}: {first[:300]}") from error


def _all_lost(routes: Sequence[Route], errors: Sequence[XportError]) -> XportError:
    """One error for all routes; its kind is the worst: a wrong result over operators that are missing over others."""
    if len(errors) == 1:
        return errors[0]
    kind = next((k for k in (ParityError, UnsupportedError) if any(isinstance(e, k) for e in errors)), ConversionError)
    lines = "\n".join(f"  {route}: {error.message}" for route, error in zip(routes, errors, strict=True))
    fixes = dict.fromkeys(error.fix for error in errors if isinstance(error, kind) and error.fix)
    return kind(f"None of {len(routes)} routes worked.\n{lines}", "\n".join(fixes))
