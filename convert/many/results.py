"""What came out of a plan."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from xport import __version__
from xport.convert.many.plan import Plan, Task
from xport.errors import ConversionError, ParityError, XportError

RESULTS_VERSION = 1
"""Version of the JSON form of `ManyReport`."""


class Status(enum.Enum):
    """What became of a task."""

    CONVERTED = "converted"
    KEPT = "kept"  # an earlier run had finished it
    FAILED = "failed"


@dataclass(frozen=True)
class TaskResult:
    """What became of a task.

    Attributes:
        name: Its place inside the folder of all results.
        source: What was converted.
        target: The format's name.
        where: Its place in the plan.
        status: What became of it.
        path: The artifact; empty if there is none.
        seconds: How long it took.
        size: Bytes of the artifact.
        route: The formats on the way.
        verified: Whether the gate proved it.
        worst: The largest error of its outputs in rounding floors; None where another rule judged.
        attempts: How often it was started: more than once if a machine was lost.
        error: Type, message, fix and exit code; empty unless it failed.
    """

    name: str
    source: str
    target: str
    where: str
    status: Status
    path: str = ""
    seconds: float = 0.0
    size: int = 0
    route: tuple[str, ...] = ()
    verified: bool = False
    worst: float | None = None
    attempts: int = 1
    error: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Task, status: Status, **found: Any) -> TaskResult:
        """The result of a task."""
        return cls(task.name, task.source, task.target.value, task.where, status, **found)

    @classmethod
    def failure(cls, task: Task, error: BaseException, **found: Any) -> TaskResult:
        """The result of a task that failed."""
        ours = error if isinstance(error, XportError) else XportError(f"{type(error).__name__}: {error}")
        told = {
            "type": type(error).__name__,
            "message": ours.message,
            "fix": ours.fix,
            "exit_code": ours.exit_code,
        }
        return cls.of(task, Status.FAILED, error=told, **found)

    def after(self, attempts: int) -> TaskResult:
        """The same, with the number of attempts it took."""
        return replace(self, attempts=attempts)

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines; `from_json` reads it back."""
        return {**asdict(self), "status": self.status.value, "route": list(self.route)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TaskResult:
        """Read what `to_json` wrote."""
        return cls(**{**data, "status": Status(data["status"]), "route": tuple(data["route"])})


@dataclass(frozen=True)
class ManyReport:
    """What came out of a plan.

    Attributes:
        plan: What was to be done.
        results: One a task, in the plan's order.
        seconds: How long it took.
        executor: ``local`` or ``ray``.
    """

    plan: Plan
    results: tuple[TaskResult, ...]
    seconds: float
    executor: str = "local"

    @property
    def failures(self) -> tuple[TaskResult, ...]:
        """The tasks that failed."""
        return tuple(result for result in self.results if result.status is Status.FAILED)

    @property
    def exit_code(self) -> int:
        """0 if all is well, 3 if every failure is one of parity, otherwise 1."""
        if not self.failures:
            return 0
        codes = {result.error["exit_code"] for result in self.failures}
        return ParityError.exit_code if codes == {ParityError.exit_code} else 1

    @property
    def summary(self) -> str:
        """One line: how many of each."""
        counts = Counter(result.status for result in self.results)
        return ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {
            "results_version": RESULTS_VERSION,
            "xport": __version__,
            "output": self.plan.output,
            "executor": self.executor,
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code,
            "results": [result.to_json() for result in self.results],
        }

    def check(self) -> None:
        """Raise if a task failed.

        Raises:
            ParityError: If all that failed, failed by parity.
            ConversionError: Naming every failure.
        """
        if not self.failures:
            return
        lines = "\n".join(f"  {r.where}: {r.name}: {r.error['message']}" for r in self.failures)
        kind = ParityError if self.exit_code == ParityError.exit_code else ConversionError
        raise kind(
            f"{len(self.failures)} of {len(self.results)} conversions failed.\n{lines}",
            "Correct what they name and run the plan again: what is finished is not done twice.",
        )
