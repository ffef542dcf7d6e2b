"""Contenders out of a model: each a conversion that passed the gate, or the reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xport.convert.api import convert
from xport.convert.source import Source, open_source
from xport.errors import DestinationError, ParityError, XportError
from xport.formats import Format
from xport.validate.comparing.contenders import Contender
from xport.validate.comparing.results import Outcome
from xport.validate.matrix.subjects import Subject, open_subjects


@dataclass(frozen=True)
class Made:
    """A contender that takes part, or why it does not.

    Attributes:
        contender: Which.
        subject: What runs; None if there is nothing to run.
        outcome: What became of it so far.
        reason: Why there is nothing to run.
        route: The formats it went through; empty for the source itself.
        seconds: What the conversion took; None for the source itself.
    """

    contender: Contender
    subject: Subject | None = None
    outcome: Outcome = Outcome.SAME
    reason: str = ""
    route: tuple[str, ...] = ()
    seconds: float | None = None


class Maker:
    """Makes contenders of one source, each file once.

    Args:
        given: The source as the user named it.
        source: The same, opened.
        options: What `xport.convert.api.convert` is told beside source and target.
        folder: Where the artifacts go.
    """

    def __init__(self, given: Any, source: Source, options: Mapping[str, Any], folder: Path) -> None:
        self._given = given
        self._source = source
        self._options = options
        self._folder = folder
        self._made: dict[Format, Made] = {}

    def make(self, contender: Contender, tell: Callable[[str], None]) -> Made:
        """Make a contender.

        Args:
            contender: Which.
            tell: Told in a few words what begins.

        Returns:
            What runs, or why nothing does.

        Raises:
            DestinationError: If the folder cannot be written; no other contender could be made either.
        """
        if contender.format not in self._made:
            tell(f"making {contender.label}")
            self._made[contender.format] = self._convert(contender)
        made = self._made[contender.format]
        subject = made.subject
        if subject is not None:
            subject = replace(subject, name=contender.label, compiled=contender.compiled)
        return replace(made, contender=contender, subject=subject)

    def _convert(self, contender: Contender) -> Made:
        if contender.format is self._source.format:
            return Made(contender, _subject(self._source))
        if not contender.makeable:
            reason = f"xport writes no {contender.format.value} files; only such a model itself can take part"
            return Made(contender, None, Outcome.NOT_MADE, reason)
        began = time.perf_counter()
        try:
            artifact = convert(
                self._given, contender.format, self._folder / file_name(contender.format), **self._options
            )
        except DestinationError:
            raise
        except XportError as error:
            outcome = Outcome.WRONG if isinstance(error, ParityError) else Outcome.NOT_MADE
            return Made(contender, None, outcome, one_line(str(error)), seconds=time.perf_counter() - began)
        seconds = time.perf_counter() - began
        # The code in a folder of PyTorch source is what has just been written.
        source = open_source(artifact.path, trust_pickle=artifact.format is Format.PYTORCH)
        route = artifact.proof.route if artifact.proof is not None else ()
        return Made(contender, _subject(source), route=tuple(route), seconds=seconds)


def _subject(source: Source) -> Subject:
    (subject,) = open_subjects([source], least=1)
    return subject


def file_name(file_format: Format) -> str:
    """What an artifact is called in the folder."""
    folders = (Format.PYTORCH, Format.SAVEDMODEL)
    return file_format.value if file_format in folders else f"model{file_format.suffix}"


def one_line(text: str) -> str:
    """A message as one line of a table."""
    return " ".join(text.split())
