"""The parity of one cell: the artifact runs on the sets of its batch size, and every output is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from xport.errors import XportError
from xport.validate.bounds import random_output
from xport.validate.matrix.answers import Answers
from xport.validate.matrix.lane import Lane, failure
from xport.validate.matrix.matching import Matching
from xport.validate.matrix.meanings import Meaning
from xport.validate.matrix.subjects import Subject
from xport.validate.parity import judge
from xport.validate.results import Cell, EdgeResult, Status
from xport.validate.verdicts import OutputVerdict, Tolerance

Tensors = dict[str, np.ndarray]
Judge = Callable[[Sequence[int], dict[int, Tensors]], list[OutputVerdict]]
"""Judges the outputs of some sets, by their positions."""
Save = Callable[[Lane, int, Tensors], None]
"""Told the lane, the position of the set, and the outputs, for ``--save-tensors``."""


@dataclass
class Check:
    """What all cells of a run share.

    Attributes:
        answers: The reference's.
        tolerance: The user's own limits.
        least_db: The user's own limit of the intended loss.
        meaning: What an artifact of lower precision means.
        save: What to do with outputs.
    """

    answers: Answers
    tolerance: Tolerance | None = None
    least_db: float | None = None
    meaning: Callable[[Subject], Meaning | None] = field(default=lambda subject: None)
    save: Save = field(default=lambda lane, position, outputs: None)

    def cell(self, lane: Lane, batch: int | None, matching: Matching, *, is_reference: bool = False) -> Cell:
        """Run and judge one cell; whatever goes wrong is its result.

        Args:
            lane: The artifact on its device.
            batch: The batch size.
            matching: Names of its tensors.
            is_reference: Whether it is what the others are compared with.

        Returns:
            The cell, without latency.
        """
        try:
            if is_reference:
                return self._reference_cell(lane, batch)
            if batch in self.answers.failed:
                reason = f"the reference does not run there: {self.answers.failed[batch].reason}"
                return self._cell(lane, batch, Status.NO_REFERENCE, reason)
            if matching.problem:
                return self._cell(lane, batch, Status.INTERFACE, matching.problem)
            return self._judged(lane, batch, matching)
        except XportError as error:
            found = failure(error)
            return self._cell(lane, batch, found.status, found.reason)

    def _reference_cell(self, lane: Lane, batch: int | None) -> Cell:
        if batch in self.answers.failed:
            found = self.answers.failed[batch]
            return self._cell(lane, batch, found.status, found.reason)
        lane.reset_peak_memory()
        inputs = self.answers.sets[self.answers.at(batch)[0]].case.inputs
        lane.run(inputs)
        return self._cell(lane, batch, Status.REFERENCE, placement=lane.placement(inputs).evidence)

    def _judged(self, lane: Lane, batch: int | None, matching: Matching) -> Cell:
        answers = self.answers
        lane.reset_peak_memory()
        ordinary, edges = answers.at(batch), answers.at(batch, edges=True)
        outputs = self._read(lane, {i: self._run(lane, i, matching) for i in ordinary})
        found = lane.placement(matching.send(answers.sets[ordinary[0]].case.inputs))
        if found.device != lane.device:
            reason = f"asked to run on {lane.device}, it ran on {found.device} ({found.evidence})"
            return self._cell(lane, batch, Status.WRONG_DEVICE, reason, placement=found.evidence)
        decide = self._judge_for(lane.subject)
        verdicts = decide(ordinary, outputs)
        results = []
        for i, found_outputs in self._read(lane, {i: self._run(lane, i, matching) for i in edges}).items():
            judged = _judge_edge(decide, i, ordinary, outputs, {i: found_outputs})
            results.append(EdgeResult(answers.sets[i].case.name, judged))
        status, reason = _conclude(verdicts, results)
        if status is Status.FAILED:
            again = random_output(outputs[ordinary[0]], self._run(lane, ordinary[0], matching))
            if again is not None:
                reason += f" It is random by itself: {again!r} differs between two runs on the same inputs."
        return self._cell(lane, batch, status, reason, outputs=verdicts, edges=results, placement=found.evidence)

    def _run(self, lane: Lane, position: int, matching: Matching) -> Tensors:
        outputs = matching.receive(lane.run(matching.send(self.answers.sets[position].case.inputs)))
        self.save(lane, position, outputs)
        return outputs

    def _read(self, lane: Lane, outputs: dict[int, Tensors]) -> dict[int, Tensors]:
        """Outputs by position; what only a server's decimals have rounded off is no error of the model."""
        if lane.subject.source.served is None or not outputs:
            return outputs
        decimals = lane.decimals()
        return {i: decimals.within_all(found, self.answers.outputs[i]) for i, found in outputs.items()}

    def _judge_for(self, subject: Subject) -> Judge:
        """How an artifact is judged: by the floor, or, of lower precision, by what it is meant to lose and what not."""
        meaning = self.meaning(subject)

        def verdicts(positions: Sequence[int], outputs: dict[int, Tensors]) -> list[OutputVerdict]:
            found = self._judge(positions, outputs)
            if meaning is None:
                return found
            return meaning.judge(found, self.answers, positions, outputs, self.least_db)

        return verdicts

    def _judge(self, positions: Sequence[int], outputs: dict[int, Tensors]) -> list[OutputVerdict]:
        answers = self.answers
        return judge(
            [answers.outputs[i] for i in positions],
            [outputs[i] for i in positions],
            [answers.wide[i] for i in positions] if answers.wide else None,
            tolerance=self.tolerance,
            names=[answers.sets[i].case.name for i in positions],
            no_reference=answers.no_wide,
        )

    def _cell(
        self,
        lane: Lane,
        batch: int | None,
        status: Status,
        reason: str = "",
        *,
        outputs: Sequence[OutputVerdict] = (),
        edges: Sequence[EdgeResult] = (),
        placement: str = "",
    ) -> Cell:
        facts = lane.facts()
        return Cell(
            lane.subject.name,
            lane.device,
            batch,
            status,
            reason,
            outputs=tuple(outputs),
            edges=tuple(edges),
            placement=placement,
            **facts,
        )


def _judge_edge(
    judge: Judge, position: int, ordinary: Sequence[int], outputs: dict[int, Tensors], edge: dict[int, Tensors]
) -> tuple[OutputVerdict, ...]:
    """An edge set together with the ordinary ones, whose floor bounds its own from below.

    Alone it would be judged by luck: an input of zeros hardly rounds, and a row repeated eight times rounds
    eight times alike. What the ordinary sets themselves do wrong is told elsewhere.
    """
    alone = {v.output: v for v in judge([position], edge)}
    together = {v.output: v for v in judge([*ordinary, position], {**outputs, **edge})}
    return tuple(alone[o] if alone[o].passed or o not in together else together[o] for o in alone)


def _conclude(verdicts: Sequence[OutputVerdict], edges: Sequence[EdgeResult]) -> tuple[Status, str]:
    """Status and reason out of all verdicts: the first that failed, or the closest to failing."""
    for verdict in verdicts:
        if not verdict.passed:
            return Status.FAILED, f"{verdict.output}: {verdict.reason}"
    for edge in edges:
        for verdict in edge.verdicts:
            if not verdict.passed:
                return Status.FAILED, f"{verdict.output} with {edge.set}: {verdict.reason}"
    if all(verdict.verdict == "exact" for verdict in verdicts):
        return Status.PASSED, "equal to the last bit" if verdicts else "no outputs"
    worst = max((v for v in verdicts if v.verdict != "exact"), key=lambda v: v.ratio or 0.0)
    return Status.PASSED, f"{worst.output}: {worst.reason}"
