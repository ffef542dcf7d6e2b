"""What a bisection found, in a form that can be printed and written as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xport.errors import ParityError
from xport.validate.bisection.agreement import Agreement, Stats
from xport.validate.figures import Figures, to_json_value
from xport.validate.verdicts import OutputVerdict

_MANY = 4


@dataclass(frozen=True)
class Operator:
    """A node as the user knows it: ``module`` is its PyTorch path, where the side's form says one."""

    name: str
    op: str
    module: str = ""

    def __str__(self) -> str:
        return f"{self.op} {self.name}" + (f" ({self.module})" if self.module else "")


@dataclass(frozen=True)
class Point:
    """One value that both sides have, on the error curve.

    Attributes:
        value: The reference's name of it.
        other: The other side's.
        operator: What makes it in the reference.
        ratio: The other's error in rounding floors.
        limit: What it may be.
        relative: RMS of the difference, relative to the reference's RMS.
        passed: Whether that is no more than rounding.
        how: What made the two partners.
    """

    value: str
    other: str
    operator: Operator
    ratio: float
    limit: float
    relative: float
    passed: bool
    how: str


@dataclass(frozen=True)
class InputState:
    """A value that the operators in question start from; ``moved`` says how the other side orders its axes."""

    value: str
    other: str
    agrees: bool
    ratio: float
    moved: tuple[int, ...] = ()


@dataclass(frozen=True)
class Divergence:
    """An operator, or a few that cannot be told apart, that makes an error of its own.

    Attributes:
        value: The reference's name of the value that differs.
        other: The other side's.
        operators: The reference's operators that make it of what agrees.
        other_operators: The other side's.
        stats: What the reference's tensor holds.
        other_stats: What the other's holds.
        figures: How far they are apart.
        agreement: The same against the rounding floor.
        inputs: What the operators start from.
        own: How they compare when both sides get the reference's inputs; None if they could not be run alone.
        reasons: What differs in weights, attributes or kind.
        cured: Whether the outputs agree once the reference's numbers stand in; None if that was not tried.
    """

    value: str
    other: str
    operators: tuple[Operator, ...]
    other_operators: tuple[Operator, ...]
    stats: Stats
    other_stats: Stats
    figures: Figures
    agreement: Agreement
    inputs: tuple[InputState, ...]
    own: Agreement | None
    reasons: tuple[str, ...]
    cured: bool | None = None

    @property
    def where(self) -> str:
        """The operator in a few words; many that cannot be told apart by their ends."""
        if len(self.operators) > _MANY:
            return f"{len(self.operators)} operators from {self.operators[0]} to {self.operators[-1]}"
        return " → ".join(str(operator) for operator in self.operators)


@dataclass(frozen=True)
class BisectReport:
    """A bisection.

    Attributes:
        reference: The reference's name.
        other: The other artifact's.
        inputs: What the inputs were called, and their hash.
        outputs: The verdicts on the artifacts' own outputs.
        divergences: Operators with an error of their own, in topological order; the first is the answer.
        more: Whether the search ended before all were looked at.
        runtime: What a side's own runtime answers otherwise than its ONNX form; empty if nothing.
        curve: Every value that both sides have, in topological order.
        unmatched: How many values of the reference have no partner.
        notes: What a reader should know.
        created: When.
    """

    reference: str
    other: str
    inputs: dict[str, str]
    outputs: tuple[OutputVerdict, ...]
    divergences: tuple[Divergence, ...]
    more: bool
    runtime: tuple[str, ...]
    curve: tuple[Point, ...]
    unmatched: int
    notes: tuple[str, ...] = ()
    created: str = ""
    files: tuple[str, ...] = field(default=())

    @property
    def first(self) -> Divergence | None:
        """The first value that diverges."""
        return self.divergences[0] if self.divergences else None

    @property
    def agrees(self) -> bool:
        """Whether nothing diverges."""
        return not self.divergences and not self.runtime and all(verdict.passed for verdict in self.outputs)

    @property
    def verdict(self) -> str:
        """The answer in a sentence."""
        if self.first is not None:
            tail = "" if any(not v.passed for v in self.outputs) else "; the outputs still agree on these inputs"
            count = len(self.divergences)
            many = "" if count == 1 else f"; {'at least ' if self.more else ''}{count} operators err by themselves"
            return f"The first value that diverges is {self.first.value}, made by {self.first.where}{many}{tail}."
        if self.runtime:
            return "The ONNX forms agree, but a runtime answers otherwise than its form: " + " ".join(self.runtime)
        if self.agrees:
            return "No value diverges; the outputs agree."
        return "The outputs differ, but no single operator errs by itself: small differences add up on the way."

    def check(self) -> None:
        """Raise if anything diverges.

        Raises:
            ParityError: With the verdict.
        """
        if not self.agrees:
            raise ParityError(self.verdict, "See the differences: xport bisect prints them.")

    def to_json(self) -> dict[str, Any]:
        """A JSON form."""
        return {
            "tool": "xport bisect",
            "created": self.created,
            "verdict": self.verdict,
            "agrees": self.agrees,
            "reference": self.reference,
            "other": self.other,
            "inputs": self.inputs,
            "outputs": [verdict.to_json() for verdict in self.outputs],
            "divergences": [_divergence(each) for each in self.divergences],
            "more": self.more,
            "runtime": list(self.runtime),
            "curve": [_flat(point) for point in self.curve],
            "unmatched": self.unmatched,
            "notes": list(self.notes),
            "files": list(self.files),
        }


def _flat(record: Any) -> dict[str, Any]:
    made = {}
    for name, value in record.__dict__.items():
        if isinstance(value, Operator | Agreement):
            made[name] = _flat(value)
        else:
            made[name] = to_json_value(value)
    return made


def _divergence(each: Divergence) -> dict[str, Any]:
    return {
        "value": each.value,
        "other": each.other,
        "operators": [_flat(operator) for operator in each.operators],
        "other_operators": [_flat(operator) for operator in each.other_operators],
        "stats": each.stats.to_json(),
        "other_stats": each.other_stats.to_json(),
        "figures": each.figures.to_json(),
        "agreement": _flat(each.agreement),
        "inputs": [_flat(state) for state in each.inputs],
        "own": None if each.own is None else _flat(each.own),
        "reasons": list(each.reasons),
        "cured": each.cured,
    }
