"""What a comparison says about one output, in a form that travels inside artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from xport.validate.figures import Figures, to_json_value


@dataclass(frozen=True)
class Tolerance:
    """A user's own limits: every value must satisfy |difference| <= atol + rtol * |expected|."""

    rtol: float = 0.0
    atol: float = 0.0

    def __str__(self) -> str:
        return f"rtol={self.rtol:g}, atol={self.atol:g}"


@dataclass(frozen=True)
class Loss:
    """What one output of a candidate of lower precision loses; see `xport.validate.losses`.

    Attributes:
        precision: The candidate's.
        sqnr_db: What is left by intention: the candidate's meaning against the reference in float64.
        total_db: What is left of the reference in what the runtime answers.
        least_db: What must be left.
        rows: How many decisions were compared; 0 for an output without any.
        flips: How many of them the meaning decides otherwise.
        least_top1: The share of them that must stay.
        no_meaning: Why the meaning could not be had, so that ``sqnr_db`` is ``total_db``; empty if it was.
        passed: Whether enough is left.
        reason: Why not.
    """

    precision: str
    sqnr_db: float
    total_db: float
    least_db: float
    rows: int
    flips: int
    least_top1: float
    no_meaning: str = ""
    passed: bool = True
    reason: str = ""

    @property
    def top1(self) -> float | None:
        """The share of decisions that stay; None without any."""
        return 1 - self.flips / self.rows if self.rows else None

    def to_json(self) -> dict[str, Any]:
        """A JSON form that `from_json` reads back."""
        return {**{name: to_json_value(value) for name, value in self.__dict__.items()}, "top1": self.top1}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Loss:
        """Read what `to_json` wrote."""
        plain: dict[str, Any] = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**{**plain, **{k: float(v) for k, v in plain.items() if k.endswith("_db")}})


@dataclass(frozen=True)
class OutputVerdict:
    """What was found about one output.

    Attributes:
        output: Its name.
        verdict: ``exact``, ``faithful`` or ``failed``.
        rule: Which rule judged: ``structure``, ``exact``, ``tolerance``, ``floor``, ``table`` or ``loss``.
        reason: Why, in words.
        figures: How far the worst case is off.
        case: The name of that case.
        ratio: Error in floors over all cases; None where no floor was measured.
        limit: The ratio up to which it passes.
        floor: The floor, relative to the RMS of the output.
        tolerance: The user's tolerance, if that was the rule.
        cases: By case name, its ratio (None without a floor) and figures.
        loss: What a candidate of lower precision loses; None for others.
    """

    output: str
    verdict: str
    rule: str
    reason: str
    figures: Figures = field(default_factory=Figures)
    case: str = ""
    ratio: float | None = None
    limit: float | None = None
    floor: float | None = None
    tolerance: Tolerance | None = None
    cases: tuple[tuple[str, float | None, Figures], ...] = ()
    loss: Loss | None = None

    @property
    def passed(self) -> bool:
        """Whether the output is the same within its rule."""
        return self.verdict != "failed"

    def to_json(self) -> dict[str, Any]:
        """A JSON form that `from_json` reads back."""
        plain = ("output", "verdict", "rule", "reason", "case", "ratio", "limit", "floor")
        return {
            **{key: to_json_value(getattr(self, key)) for key in plain},
            "tolerance": None if self.tolerance is None else dict(self.tolerance.__dict__),
            "loss": None if self.loss is None else self.loss.to_json(),
            **self.figures.to_json(),
            "cases": [
                {"case": case, "ratio": to_json_value(ratio), **figures.to_json()}
                for case, ratio, figures in self.cases
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> OutputVerdict:
        """Read what `to_json` wrote; unknown keys are ignored."""
        tolerance = data.get("tolerance")
        return cls(
            output=data["output"],
            verdict=data["verdict"],
            rule=data["rule"],
            reason=data["reason"],
            figures=Figures.from_json(data),
            case=data.get("case", ""),
            ratio=_number(data.get("ratio")),
            limit=_number(data.get("limit")),
            floor=_number(data.get("floor")),
            tolerance=None if tolerance is None else Tolerance(**tolerance),
            loss=Loss.from_json(data["loss"]) if data.get("loss") else None,
            cases=tuple(
                (row["case"], _number(row.get("ratio")), Figures.from_json(row)) for row in data.get("cases", ())
            ),
        )


def _number(value: float | str | None) -> float | None:
    return None if value is None else float(value)
