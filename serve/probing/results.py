"""What a probe found."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xport.errors import ParityError
from xport.signature import Signature
from xport.validate.latency import Interval, Latency
from xport.validate.results import ValidationReport
from xport.validate.verdicts import OutputVerdict

PROBE_VERSION = 1
"""Version of the JSON form of `ProbeReport`; docs/probe.schema.json describes it."""


class Outcome(enum.Enum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOTED = "noted"  # something to know that proves nothing wrong
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One thing that was tried on the endpoint.

    Attributes:
        name: What was tried.
        outcome: What became of it.
        reason: Why, in words.
        verdicts: One an output, where numbers were compared.
    """

    name: str
    outcome: Outcome
    reason: str
    verdicts: tuple[OutputVerdict, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "outputs": [verdict.to_json() for verdict in self.verdicts],
        }


@dataclass(frozen=True)
class LoadResult:
    """What a load did to the endpoint. Seconds throughout.

    Attributes:
        load: As it was asked for.
        kind: ``closed`` (a client sends when it has its answer) or ``open`` (requests come at their times).
        clients: How many there were; None for an open load.
        rate: Requests a second that were intended; None for a closed one.
        seconds: How long it was counted.
        rows: Rows in each request, by the batch.
        statuses: How many requests ended how: HTTP statuses or gRPC codes, and what broke without one.
        latency: Of the successful ones, from the intended time of sending; None without any.
        p999: Their 99.9th percentile.
        longest: The longest of them.
        percentiles: Pairs of percentile and seconds, for drawing.
        throughput: Successful requests a second.
        throughput_interval: Where the true mean lies, by the seconds of the load.
        lag: By how much the 99th percentile of requests was sent later than intended.
        client_share: What share of a processor this client took: near one, it is the client that is slow.
        distinct: Different answers by their bytes.
        early: Why it ended before its time; empty if it did not.
    """

    load: str
    kind: str
    clients: int | None
    rate: float | None
    seconds: float
    rows: int
    statuses: Mapping[str, int]
    latency: Latency | None
    p999: float | None
    longest: float | None
    percentiles: tuple[tuple[float, float], ...]
    throughput: float
    throughput_interval: Interval
    lag: float
    client_share: float
    distinct: int
    early: str = ""

    @property
    def sent(self) -> int:
        """How many requests were counted."""
        return sum(self.statuses.values())

    @property
    def succeeded(self) -> int:
        """How many were answered well."""
        return self.latency.runs if self.latency is not None else 0

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines; single calls are left out."""
        plain = ("load", "kind", "clients", "rate", "seconds", "rows", "p999", "longest", "throughput", "lag")
        latency = None if self.latency is None else self.latency.to_json()
        if latency is not None:
            latency = {key: value for key, value in latency.items() if key not in ("rounds", "warm_up", "steady")}
        return {
            **{name: getattr(self, name) for name in plain},
            "sent": self.sent,
            "succeeded": self.succeeded,
            "statuses": dict(self.statuses),
            "latency": latency,
            "percentiles": [list(pair) for pair in self.percentiles],
            "throughput_interval": list(self.throughput_interval),
            "client_share": self.client_share,
            "distinct": self.distinct,
            "early": self.early,
        }


@dataclass(frozen=True)
class Endpoint:
    """What was found at the URL.

    Attributes:
        url: The served model, without passwords.
        protocol: What it speaks.
        ways: How it was asked.
        model: Its name there.
        versions: Those that the server says it serves.
        asked_versions: Those that were asked; empty for the server's choice.
        platform: What the server calls its runtime.
        signature: Its interface.
        tells_interface: Whether that came from the server.
    """

    url: str
    protocol: str
    ways: tuple[str, ...]
    model: str
    versions: tuple[str, ...]
    asked_versions: tuple[str, ...]
    platform: str
    signature: Signature
    tells_interface: bool

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        lists = ("ways", "versions", "asked_versions")
        return {
            **{key: list(value) if key in lists else value for key, value in self.__dict__.items()},
            "signature": self.signature.to_json(),
        }


@dataclass(frozen=True)
class ProbeReport:
    """What a probe found.

    Attributes:
        created: ISO 8601 time in UTC.
        command: What repeats it, without secrets.
        against: The artifact that the endpoint should serve; empty if it was compared with itself only.
        endpoint: What was found at the URL.
        checks: What was tried beside the comparison.
        validation: The comparison, as ``xport validate`` makes it; None if it was not made.
        loads: What loads did.
        notes: What a reader should know.
        interrupted: Whether somebody ended it.
    """

    created: str
    command: str
    against: str
    endpoint: Endpoint
    checks: tuple[Check, ...] = ()
    validation: ValidationReport | None = None
    loads: tuple[LoadResult, ...] = ()
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[str, ...]:
        """What makes the probe fail, a line each."""
        lines = [f"{check.name}: {check.reason}" for check in self.checks if check.outcome is Outcome.FAILED]
        if self.validation is not None:
            lines += [f"{c.artifact} ({c.place}): {c.status.value}: {c.reason}" for c in self.validation.failures]
        # One that was ended before its first request counted says nothing.
        idle = [load for load in self.loads if not load.succeeded and (load.sent or not self.interrupted)]
        return (*lines, *(f"{load.load}: no request was answered well" for load in idle))

    @property
    def passed(self) -> bool:
        """Whether nothing was found to be wrong; without an artifact that proves nothing about the model."""
        return not self.failures and not self.interrupted

    @property
    def exit_code(self) -> int:
        """0 if it passed, 130 if somebody ended it before anything failed, 3 otherwise."""
        return 0 if self.passed else ParityError.exit_code if self.failures else 130

    @property
    def verdict(self) -> str:
        """The result in a few sentences."""
        from xport.serve.probing.words import verdict

        return verdict(self)

    def check(self) -> None:
        """Raise if something was wrong.

        Raises:
            ParityError: Naming it.
        """
        if self.failures:
            raise ParityError(
                f"{self.endpoint.url} did not pass:\n" + "\n".join(f"  {line}" for line in self.failures),
                f"Look at the report: {self.command} --report report.html",
            )

    def to_json(self) -> dict[str, Any]:
        """A JSON form as docs/probe.schema.json describes it."""
        return {
            "probe_version": PROBE_VERSION,
            "created": self.created,
            "command": self.command,
            "passed": self.passed,
            "interrupted": self.interrupted,
            "proven": bool(self.against) and self.passed,
            "verdict": self.verdict,
            "against": self.against,
            "endpoint": self.endpoint.to_json(),
            "checks": [check.to_json() for check in self.checks],
            "validation": None if self.validation is None else self.validation.to_json(),
            "loads": [load.to_json() for load in self.loads],
            "failures": list(self.failures),
            "notes": list(self.notes),
            "environment": dict(self.environment),
        }

    def write_page(self, path: str | Path) -> None:
        """Write the report as one self-contained HTML page.

        Raises:
            MissingRuntimeError: If the packages of the ``report`` extra are missing.
            DestinationError: If it cannot be written.
        """
        from xport.serve.probing.page import write_page

        write_page(self, path)
