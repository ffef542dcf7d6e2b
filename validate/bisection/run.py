"""The bisection itself: from two artifacts to the first operator that errs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xport.convert.provenance import now
from xport.convert.workers import Workers
from xport.errors import XportError
from xport.validate.bisection import sides
from xport.validate.bisection.agreement import Agreement, agree, alignments, figures_of, stats
from xport.validate.bisection.blame import differences, identical, working
from xport.validate.bisection.isolation import Alone, isolate, repaired
from xport.validate.bisection.matching import Match, Matching, Side
from xport.validate.bisection.reproducer import Reproducer
from xport.validate.bisection.results import BisectReport, Divergence, InputState, Operator, Point
from xport.validate.bisection.search import Candidate, candidate, followers, leading_to
from xport.validate.bisection.trunk import Node, Trunk
from xport.validate.matrix.subjects import Subject

_MOST = 10
_MOST_TRIED = 400
_WIDELY = 20.0
"""How many times closer to the reference a value must be than what it is made of, for that to be no partner."""

_FOLDED_OVER = 3
"""Over how many values a factor that was folded into a weight may be spread: a norm, its product, its bias."""
_UNLIKE = ((0.3, _WIDELY), (0.02, 100.0))
"""The same for two values that both differ: from which relative error on, and how many times."""


@dataclass(frozen=True)
class Question:
    """What the user asked for; see `xport.validate.bisection.api.bisect`."""

    input_data: Any = None
    seed: int = 0
    names: dict[str, str] = field(default_factory=dict)
    reproduce: Path | None = None
    timeout: float | None = None
    verbose: bool = False
    tell: Callable[[str], None] = lambda _: None


def run(subjects: Sequence[Subject], question: Question) -> BisectReport:
    """Find the first value that diverges.

    Args:
        subjects: The reference and the other.
        question: What the user asked for.

    Returns:
        The report.

    Raises:
        UsageError: If signatures do not match, inputs do not fit, or a model is random by itself.
        XportError: If an artifact or its ONNX form does not run.
    """
    answered = sides.ask(
        subjects,
        mapped=question.names,
        input_data=question.input_data,
        seed=question.seed,
        timeout=question.timeout,
        verbose=question.verbose,
        tell=question.tell,
    )
    with tempfile.TemporaryDirectory(prefix="xport-") as folder, Workers(verbose=question.verbose) as workers:
        trunks = []
        for place, subject in enumerate(subjects):
            question.tell(f"reading {subject.name} as ONNX")
            room = Path(folder) / str(place)
            room.mkdir()
            trunks.append(Trunk.open(sides.form(subject.source, room, verbose=question.verbose)))
        return compare(subjects, question, answered, trunks, workers)


def compare(
    subjects: Sequence[Subject],
    question: Question,
    answered: sides.Answered,
    trunks: Sequence[Trunk],
    workers: Workers,
) -> BisectReport:
    """Find the first value that diverges, once both sides have answered and their forms are at hand.

    Args:
        subjects: The reference and the other.
        question: What the user asked for.
        answered: What both answer through their own runtimes.
        trunks: Their ONNX forms.
        workers: Where to run.

    Returns:
        The report.
    """
    return _Bisection(subjects, question, answered, trunks, workers).report()


class _Bisection:
    """One run, once both forms are at hand."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        question: Question,
        answered: sides.Answered,
        trunks: Sequence[Trunk],
        workers: Workers,
    ) -> None:
        self.subjects, self.question, self.answered, self.workers = subjects, question, answered, workers
        given = answered.inputs.case.inputs
        self.sent = answered.names.send(given)
        question.tell("computing every value in between")
        reference, why = sides.trace(trunks[0], given, workers, wide=True)
        other, _ = sides.trace(trunks[1], self.sent, workers, wide=False)
        self.notes = list(answered.names.notes)
        if why:
            self.notes.append(f"there is no float64 run of the form, a fixed number of steps judges instead: {why}")
        if subjects[0].source.format is not subjects[1].source.format or reference.trunk is not other.trunk:
            self.notes.append("values in between are those of the ONNX forms, computed by ONNX Runtime on both sides")
        self.runtime = self._runtime(reference, other)
        if answered.wide is None and not self.runtime:
            self.answered = sides.judged_by_form(answered, reference)
        question.tell("matching values")
        self.matching = Matching(reference, other, answered.names.inputs, answered.names.outputs)

    def _runtime(self, reference: Side, other: Side) -> tuple[str, ...]:
        answered, names = self.answered, self.answered.names.outputs
        own = {name: name for name in names}
        found = (
            sides.runtime_difference(self.subjects[0], answered.expected, reference, own, answered),
            sides.runtime_difference(self.subjects[1], answered.actual, other, names, answered),
        )
        return tuple(text for text in found if text)

    def report(self) -> BisectReport:
        """Search, and write down what was found."""
        found, more = self._search()
        files: tuple[str, ...] = ()
        if found and self.question.reproduce is not None:
            self.question.tell("writing the reproducer")
            reproducer = Reproducer(self.subjects[0].name, self.subjects[1].name)
            files = reproducer.write(self.question.reproduce, found[0][1], found[0][2], found[0][0])
        elif self.question.reproduce is not None:
            self.notes.append("no operator errs by itself, so there is nothing to reproduce; no folder was written")
        case = self.answered.inputs.case
        curve = tuple(self._curve())
        return BisectReport(
            reference=self.subjects[0].name,
            other=self.subjects[1].name,
            inputs={"name": case.name, "sha256": case.sha256, "seed": str(self.question.seed)},
            outputs=self.answered.verdicts,
            divergences=tuple(each[0] for each in found),
            more=more,
            runtime=self.runtime if not found else (),
            curve=curve,
            unmatched=len(self.matching.reference.values) - len(self.matching.pairs),
            notes=tuple(self.notes) + (self.runtime if found else ()),
            created=now(),
            files=files,
        )

    def _search(self) -> tuple[list[tuple[Divergence, Candidate, Alone | None]], bool]:
        """Operators with an error of their own, in topological order, and whether there may be more."""
        matching = self.matching
        wrong = [name for name in self.answered.names.outputs if not matching.agreeing(name)]
        relevant = leading_to(matching, wrong)
        found: list[tuple[Divergence, Candidate, Alone | None]] = []
        tried, blamed = 0, set[int]()
        for name in matching.reference.trunk.values:
            pair = candidate(matching, name) if not wrong or name in relevant else None
            if pair is None or identical(matching, pair):
                continue  # the same runtime does the same with the same numbers
            tried += 1
            if tried > _MOST_TRIED or len(found) == _MOST:
                return found, True
            self.question.tell(f"looking at {name}")
            alone = self._alone(pair)
            if (alone is None and not self._fresh(pair)) or (alone is not None and alone.agreement.passed):
                continue  # without its own error, only what starts from agreeing values can be told
            if alone is not None and self._rejoins(pair, alone):
                continue
            theirs = {node.position for node in pair.other_nodes}
            if blamed & theirs:  # the same operators by another way
                self._drop(pair.name)
                continue
            reasons = differences(matching, pair, alone)
            if not wrong and not reasons:
                continue
            cured = self._cured(pair) if wrong and not found else None
            blamed |= theirs
            found.append((self._divergence(pair, alone, reasons, cured), pair, alone))
        return found, False

    def _alone(self, pair: Candidate) -> Alone | None:
        try:
            return isolate(self.matching, pair, self.workers)
        except XportError as error:
            self.notes.append(f"{pair.name} could not be computed alone: {error.message}")
            return None

    def _rejoins(self, pair: Candidate, alone: Alone) -> bool:
        """Whether a pair is none: what is made of both is the same, though they differ widely themselves.

        A converter that folds a scale into the next weight leaves such values. The pair is dropped then; otherwise
        it is kept.
        """
        matching = self.matching
        if pair.match.how == "signature":
            return False
        dropped: dict[str, tuple[Match, str]] = {}
        waiting = [pair.name]
        for _ in range(_FOLDED_OVER):
            if any(self._same_operator(n) for name in waiting for n in followers(matching, name)):
                break  # what hides the difference is the same on both sides: the values are partners
            for name in waiting:
                dropped[name] = (matching.pairs[name], self._drop(name))
            waiting = followers(matching, pair.name)
            near = [self._is_nearer(name, alone.agreement) for name in waiting]
            if near and all(near):
                return True
            if any(matching.pairs[name].how == "signature" for name in waiting):
                break
        for name, (match, origin) in dropped.items():
            matching.pairs[name] = match
            matching.back[match.other] = origin
        return False

    def _is_nearer(self, name: str, before: Agreement) -> bool:
        """Whether a value behind a dropped pair, made of what lies before it, is the same or nearly so."""
        behind = candidate(self.matching, name)
        if behind is None:
            return self.matching.agreeing(name)
        found = self._alone(behind)
        return found is not None and _nearer(found.agreement, before)

    def _same_operator(self, name: str) -> bool:
        """Whether a value is made by one and the same operator on both sides."""
        match = self.matching.pairs[name]
        mine = self.matching.reference.trunk.producer.get(name)
        theirs = self.matching.other.trunk.producer.get(match.other)
        if mine is None or theirs is None:
            return False
        return identical(self.matching, Candidate(name, match, (mine,), (theirs,), (), ()))

    def _drop(self, name: str) -> str:
        """Forget that a value has a partner; returns what the partner's name stood for."""
        return self.matching.back.pop(self.matching.pairs.pop(name).other)

    def _fresh(self, pair: Candidate) -> bool:
        return all(self.matching.agreeing(name) for name in pair.border)

    def _cured(self, pair: Candidate) -> bool | None:
        """Whether the outputs agree once the reference's numbers stand in."""
        matching = self.matching
        try:
            outputs = repaired(matching, pair, self.workers, self.sent)
        except XportError:
            return None
        for name, partner in self.answered.names.outputs.items():
            array, wide = matching.reference.values.get(name), matching.reference.wide.get(name)
            if array is None or partner not in outputs or outputs[partner].shape != array.shape:
                return None
            if not agree(array, outputs[partner], wide).passed:
                return False
        return True

    def _divergence(self, pair: Candidate, alone: Alone | None, reasons: list[str], cured: bool | None) -> Divergence:
        matching, match = self.matching, pair.match
        array, theirs = matching.reference.values[pair.name], matching.other.values[match.other]
        view = dict(alignments(array.shape, theirs))[match.perm]
        return Divergence(
            value=pair.name,
            other=match.other,
            operators=tuple(_operator(node) for node in working(matching, pair.nodes)),
            other_operators=tuple(_operator(node) for node in pair.other_nodes),
            stats=stats(array),
            other_stats=stats(theirs),
            figures=figures_of(array, view),
            agreement=match.agreement,
            inputs=tuple(self._input(name) for name in pair.border),
            own=None if alone is None else alone.agreement,
            reasons=tuple(reasons),
            cured=cured,
        )

    def _input(self, name: str) -> InputState:
        match = self.matching.pairs[name]
        return InputState(name, match.other, match.agreement.passed, match.agreement.ratio, match.perm)

    def _curve(self) -> list[Point]:
        trunk = self.matching.reference.trunk
        points = []
        for name in trunk.values:
            match, node = self.matching.pairs.get(name), trunk.producer.get(name)
            if match is None or node is None or self.matching.reference.values[name].dtype.kind not in "fc":
                continue
            found = match.agreement
            points.append(
                Point(
                    name,
                    match.other,
                    _operator(node),
                    found.ratio,
                    found.limit,
                    found.relative,
                    found.passed,
                    match.how,
                )
            )
        return points


def _nearer(behind: Agreement, before: Agreement) -> bool:
    """Whether a value is so much closer to the reference than what it is made of that the latter was no partner."""
    if behind.passed:
        return before.ratio > _WIDELY * max(behind.ratio, 1.0)
    return any(before.relative > max(least, times * behind.relative) for least, times in _UNLIKE)


def _operator(node: Node) -> Operator:
    return Operator(node.name, node.op, node.module)
