"""What a comparison found: one entry a contender, the validation that measured them, and who is ahead in what."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xport.errors import ParityError, XportError
from xport.validate.comparing.contenders import Contender
from xport.validate.figures import to_json_value
from xport.validate.latency import Comparison
from xport.validate.results import Cell, ValidationReport

COMPARE_VERSION = 1
"""Version of the JSON form of `CompareReport`; docs/compare.schema.json describes it."""


class Outcome(enum.Enum):
    """What became of a contender."""

    SOURCE = "the source"  # what the others are compared with
    SAME = "same numbers"
    WRONG = "wrong numbers"
    NOT_MADE = "not made"  # nothing converts the model into it
    NOT_RUN = "did not run"  # it crashed, hung, is not installed, or its device is not here


@dataclass(frozen=True)
class Start:
    """One start of a process: seconds of each part, and resident bytes after it.

    Attributes:
        process: Python and xport's own modules, the same for everybody.
        imported: The import of the runtime.
        loaded: From the file to a model that can be called.
        first: The first call; a compiler works in it.
        process_memory: After the process was ready.
        imported_memory: After the import.
        loaded_memory: After the model was loaded.
        first_memory: After the first call.
    """

    process: float
    imported: float
    loaded: float
    first: float
    process_memory: int
    imported_memory: int
    loaded_memory: int
    first_memory: int

    @property
    def total(self) -> float:
        """From the start of the process to the first answer."""
        return self.process + self.imported + self.loaded + self.first

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {**self.__dict__, "total": self.total}


@dataclass(frozen=True)
class StartUp:
    """The starts of a contender.

    Attributes:
        starts: Every start; a compiler's cache was empty in each.
        cached: One more start with the compiler's cache of the last; None for what compiles nothing.
        reason: Why a start failed; empty if none did.
    """

    starts: tuple[Start, ...] = ()
    cached: Start | None = None
    reason: str = ""

    @property
    def typical(self) -> Start | None:
        """The start with the median total; None if there was none."""
        if not self.starts:
            return None
        return sorted(self.starts, key=lambda start: start.total)[(len(self.starts) - 1) // 2]

    @property
    def span(self) -> tuple[float, float] | None:
        """The shortest and the longest total; None if there was no start."""
        totals = [start.total for start in self.starts]
        return (min(totals), max(totals)) if totals else None

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        typical = self.typical
        return {
            "starts": [start.to_json() for start in self.starts],
            "typical": None if typical is None else typical.to_json(),
            "cached": None if self.cached is None else self.cached.to_json(),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Standing:
    """What became of one contender.

    Attributes:
        contender: Which.
        outcome: What became of it.
        reason: Why, in words.
        route: The formats that it was converted through; empty for the source itself.
        convert_seconds: What the conversion with its proof took; None for the source itself.
        size: Bytes of its file; None for what is in no file.
        start_up: What its start cost; None if it was not measured.
        cells: One a batch size, with numbers, latency and memory; empty if it never ran.
    """

    contender: Contender
    outcome: Outcome
    reason: str = ""
    route: tuple[str, ...] = ()
    convert_seconds: float | None = None
    size: int | None = None
    start_up: StartUp | None = None
    cells: tuple[Cell, ...] = ()

    @property
    def label(self) -> str:
        """What the report calls it."""
        return self.contender.label

    @property
    def measured(self) -> bool:
        """Whether it was timed anywhere."""
        return any(cell.latency is not None for cell in self.cells)

    @property
    def ranked(self) -> bool:
        """Whether it may win anything: what gives wrong numbers may not."""
        return self.measured and self.outcome in (Outcome.SOURCE, Outcome.SAME)

    @property
    def worst_ratio(self) -> float | None:
        """The largest error in rounding floors; None for the source and where no floor was measured."""
        return max((cell.worst_ratio for cell in self.cells if cell.worst_ratio is not None), default=None)

    @property
    def top1(self) -> float | None:
        """The smallest share of decisions that are the source's, over the cells; None for what does not decide."""
        figures = [figures for cell in self.cells for verdict in cell.outputs for _, _, figures in verdict.cases]
        return min((f.top1 for f in figures if f.top1 is not None), default=None)

    @property
    def peak_memory(self) -> int | None:
        """The largest resident size that a process of its own was seen with, in bytes."""
        starts = self.start_up.starts if self.start_up is not None else ()
        seen = [*(cell.peak_memory for cell in self.cells), *(start.first_memory for start in starts)]
        return max(filter(None, seen), default=None)

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines; what its cells say stands in the validation under ``label``."""
        contender = self.contender
        return {
            "name": contender.name,
            "label": contender.label,
            "format": contender.format.value,
            "runtime": contender.runtime,
            "how": contender.how,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "route": list(self.route),
            "convert_seconds": self.convert_seconds,
            "size": self.size,
            "worst_ratio": to_json_value(self.worst_ratio),
            "top1": self.top1,
            "peak_memory": self.peak_memory,
            "start_up": None if self.start_up is None else self.start_up.to_json(),
            "latency": [_latency(cell) for cell in self.cells if cell.latency is not None],
        }


def _latency(cell: Cell) -> dict[str, Any]:
    """The figures of a cell that people look for first; every measured call is in the validation."""
    latency = cell.latency
    if latency is None:
        return {}
    found = {k: v for k, v in latency.to_json().items() if k != "rounds"}
    return {"batch": cell.batch, "throughput": cell.throughput, "peak_memory": cell.peak_memory, **found}


@dataclass(frozen=True)
class Ranking:
    """Who is ahead at one batch size.

    Attributes:
        batch: The batch size; None for a model without a batch dimension.
        fastest: The contender with the smallest median.
        tied: Those that cannot be told from it by this measurement.
        against: What all are compared with: PyTorch eager where it ran, otherwise the source.
        comparisons: Every other contender with that one.
    """

    batch: int | None
    fastest: str
    tied: tuple[str, ...]
    against: str
    comparisons: tuple[Comparison, ...]

    def factor(self, label: str) -> Comparison | None:
        """How a contender compares with `against`; None for that one itself."""
        return next((c for c in self.comparisons if c.name == label), None)

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        comparisons = [comparison.to_json() for comparison in self.comparisons]
        return {**self.__dict__, "tied": list(self.tied), "comparisons": comparisons}


@dataclass(frozen=True)
class CompareReport:
    """What a comparison found.

    Attributes:
        model: As it was given.
        device: Where everybody ran.
        standings: One a contender, in the table's order.
        rankings: One a batch size at which somebody was timed.
        validation: What measured them: the source against every contender.
        kept: The folder with the artifacts; empty if they were removed.
    """

    model: str
    device: str
    standings: tuple[Standing, ...]
    rankings: tuple[Ranking, ...]
    validation: ValidationReport
    kept: str = ""

    def __iter__(self) -> Iterator[Standing]:
        return iter(self.standings)

    def __getitem__(self, name: str) -> Standing:
        """A contender by its name (``onnx``) or label."""
        for standing in self.standings:
            if name in (standing.contender.name, standing.label):
                return standing
        raise KeyError(name)

    @property
    def compared(self) -> bool:
        """Whether there is anything to compare: two that were timed."""
        return sum(standing.measured for standing in self.standings) >= 2

    @property
    def wrong(self) -> tuple[Standing, ...]:
        """Those whose numbers are not the source's."""
        return tuple(standing for standing in self.standings if standing.outcome is Outcome.WRONG)

    @property
    def exit_code(self) -> int:
        """3 if a contender's numbers are wrong, 1 if nothing could be compared, otherwise 0."""
        if self.wrong:
            return ParityError.exit_code
        return 0 if self.compared else XportError.exit_code

    @property
    def answer(self) -> str:
        """What was found in a paragraph."""
        from xport.validate.comparing.words import answer

        return answer(self)

    def to_json(self) -> dict[str, Any]:
        """A JSON form as docs/compare.schema.json describes it."""
        return {
            "compare_version": COMPARE_VERSION,
            "created": self.validation.created,
            "command": self.validation.command,
            "model": self.model,
            "device": self.device,
            "threads": self.validation.threads,
            "compared": self.compared,
            "exit_code": self.exit_code,
            "answer": self.answer,
            "contenders": [standing.to_json() for standing in self.standings],
            "rankings": [ranking.to_json() for ranking in self.rankings],
            "kept": self.kept,
            "validation": self.validation.to_json(),
        }

    def write_page(self, path: str | Any) -> None:
        """Write the report as one self-contained HTML page.

        Args:
            path: The file.

        Raises:
            MissingRuntimeError: If the packages of the ``report`` extra are missing.
            DestinationError: If it cannot be written.
        """
        from xport.validate.comparing.page import write_page

        write_page(self, path)
