"""The precision of every artifact, and what those of lower precision mean on the sets of inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xport import proof
from xport.convert.source import Source
from xport.convert.workers import Workers
from xport.errors import XportError
from xport.formats import Format
from xport.signature import Signature
from xport.validate.forms import torch_form
from xport.validate.inputs import EDGES, YOURS
from xport.validate.losses import Answer, equally_coarse, judge_loss
from xport.validate.matrix.answers import Answers
from xport.validate.matrix.lane import Lane
from xport.validate.matrix.matching import Matching
from xport.validate.matrix.subjects import Subject
from xport.validate.precision import FLOAT, Precision, precision_of
from xport.validate.verdicts import OutputVerdict

Tensors = dict[str, np.ndarray]

_TORCH = (Format.PYTORCH, Format.TORCHSCRIPT, Format.EXPORTED)
_REMOTE = "xport.validate.torch_precision:meaning_and_rounding"


def find_precision(subject: Subject, lane: Lane | None) -> Precision:
    """An artifact's precision: from its file, or, of the PyTorch family, where it is loaded."""
    try:
        if subject.source.format not in _TORCH:
            return precision_of(subject.source)
        return lane.precision() if lane is not None else Precision()
    except XportError:
        return Precision()  # its cells tell what is wrong with it


def calibrated(source: Source) -> bool:
    """Whether an artifact's proof says that its ranges were set on samples."""
    if source.path is None:
        return False
    try:
        found = proof.read(source.path, source.format)
    except XportError:
        return False  # whoever reads the proof for its own sake tells what is wrong with it
    return found is not None and bool(found[1].options.get("precision", {}).get("calibration"))


@dataclass(frozen=True)
class Meaning:
    """What an artifact of lower precision means.

    Attributes:
        precision: Its precision.
        reduces: Whether the reference is more precise.
        meant: Its outputs in float64, by the reference's names, one mapping a set; None where it does not run.
        rounded: The same with the rounding of its own arithmetic.
        why: Why there is none, if there is none.
        calibrated: Whether its ranges were set on samples: seeded noise says nothing about its loss then.
    """

    precision: Precision
    reduces: bool
    meant: Sequence[Tensors | None] = ()
    rounded: Sequence[Tensors | None] = ()
    why: str = ""
    calibrated: bool = False

    def judge(
        self,
        verdicts: Sequence[OutputVerdict],
        answers: Answers,
        positions: Sequence[int],
        outputs: Mapping[int, Tensors],
        least_db: float | None,
    ) -> list[OutputVerdict]:
        """Judge some sets; see `xport.validate.losses.judge_loss`."""
        kinds = {answers.sets[i].kind for i in positions}
        unfair = bool(kinds & set(EDGES)) or (self.calibrated and YOURS not in kinds)
        rows = [self._answer(answers, i, outputs[i]) for i in positions]
        return judge_loss(
            verdicts, rows, self.precision, reduces=self.reduces and not unfair, least_db=least_db, why=self.why
        )

    def _answer(self, answers: Answers, position: int, actual: Tensors) -> Answer:
        expected = answers.wide[position] if answers.wide else answers.outputs[position]
        meant = self.meant[position] if self.meant else None
        rounded = self.rounded[position] if self.rounded else None
        if meant is None or rounded is None:
            return Answer(expected, actual)
        if self.reduces:
            return Answer(expected, actual, meant, rounded)
        return equally_coarse(expected, actual, meant, rounded)


@dataclass
class Meanings:
    """The meanings of a run's artifacts, found when they are first asked for.

    Attributes:
        answers: The reference's.
        precisions: By artifact.
        signatures: By artifact, under its own names.
        matchings: By artifact.
        workers: The processes to compute in.
        timeout: Seconds for one request to a process.
        tell: Told in a few words what begins.
    """

    answers: Answers
    precisions: Mapping[str, Precision]
    signatures: Mapping[str, Signature]
    matchings: Mapping[str, Matching]
    workers: Workers
    timeout: float | None
    tell: Callable[[str], None]
    _found: dict[str, Meaning | None] = field(default_factory=dict)

    def of(self, subject: Subject, reference: str) -> Meaning | None:
        """What an artifact means.

        Args:
            subject: The artifact.
            reference: The reference's name.

        Returns:
            Its meaning; None for one that is judged like any conversion.
        """
        if subject.name not in self._found:
            own, wanted = (self.precisions.get(name, Precision()) for name in (subject.name, reference))
            reduces = own.reduces(wanted)
            asked = own.is_reduced and (reduces or own.arithmetic != FLOAT) and subject.name in self.signatures
            self._found[subject.name] = self._find(subject, own, reduces) if asked else None
        return self._found[subject.name]

    def _find(self, subject: Subject, precision: Precision, reduces: bool) -> Meaning:
        self.tell(f"working out what {subject.name} means in {precision.name}")
        matching = self.matchings[subject.name]
        sets = [matching.send(each.case.inputs) for each in self.answers.sets]
        try:
            found = self._compute(subject, precision, sets)
        except Exception as error:  # a live module's code may raise anything; the whole difference is judged instead
            return Meaning(precision, reduces, why=_brief(error), calibrated=calibrated(subject.source))
        pairs = [pair for pair in found if not isinstance(pair, str)]
        if not pairs:
            return Meaning(precision, reduces, why=str(found[0])[:200], calibrated=calibrated(subject.source))
        meant, rounded = (
            [None if isinstance(pair, str) else matching.receive(pair[side]) for pair in found] for side in (0, 1)
        )
        return Meaning(precision, reduces, meant, rounded, calibrated=calibrated(subject.source))

    def _compute(self, subject: Subject, precision: Precision, sets: list[Tensors]) -> list[Any]:
        signature, arithmetic = self.signatures[subject.name], precision.arithmetic
        if subject.source.live:
            from xport.validate.torch_precision import meaning_and_rounding

            return list(meaning_and_rounding(subject.source, signature, arithmetic, sets))
        with tempfile.TemporaryDirectory(prefix="xport-") as folder:
            form = torch_form(subject.source, signature, Path(folder), self.workers, timeout=self.timeout)
            found: list[Any] = self.workers.call(
                "torch", _REMOTE, form, signature, arithmetic, sets, timeout=self.timeout
            )
            return found


def _brief(error: Exception) -> str:
    text = error.message if isinstance(error, XportError) else f"{type(error).__name__}: {error}"
    return f"its meaning cannot be had: {next(iter(text.splitlines()), '')[:200]}"
