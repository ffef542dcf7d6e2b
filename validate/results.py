"""What a validation found: one entry an artifact, one a cell of the matrix, one a set of inputs."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xport.errors import ParityError
from xport.signature import Signature
from xport.validate.figures import to_json_value
from xport.validate.latency import Comparison, Latency
from xport.validate.verdicts import OutputVerdict

REPORT_VERSION = 1
"""Version of the JSON form of `ValidationReport`; docs/validate.schema.json describes it."""


class Status(enum.Enum):
    """What became of a cell."""

    REFERENCE = "reference"  # what the others are compared with
    PASSED = "passed"
    NO_DEVICE = "no device"  # this machine lacks it, or the runtime is for the CPU only
    FAILED = "failed"  # the numbers differ
    INTERFACE = "interface"  # a dtype or a rank differs
    WRONG_DEVICE = "wrong device"  # it ran elsewhere than it was asked to
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    ERROR = "error"  # the runtime refused or raised
    NOT_INSTALLED = "not installed"
    NO_REFERENCE = "no reference"  # the reference itself did not run there

    @property
    def fine(self) -> bool:
        """Whether a run with this in it may succeed."""
        return self in (Status.REFERENCE, Status.PASSED, Status.NO_DEVICE)


@dataclass(frozen=True)
class ArtifactInfo:
    """One artifact of a validation.

    Attributes:
        name: What the report calls it.
        path: As it was given.
        format: How it is stored.
        size: Its bytes, with everything that belongs to it; None for a model that is in no file.
        sha256: Hash of its bytes; empty for a model that is in no file.
        signature: Its inputs and outputs; None if it could not be opened.
        precision: Of the coarsest numbers that it stores or computes with: ``float32``, ``float16``, ``int8``, …
        names: Its own name for each of the reference's tensors that it names otherwise.
        notes: What a reader should know about it.
    """

    name: str
    path: str
    format: str
    size: int | None
    sha256: str
    signature: Signature | None = None
    precision: str = "float32"
    names: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        signature = None if self.signature is None else self.signature.to_json()
        return {**self.__dict__, "notes": list(self.notes), "signature": signature}


@dataclass(frozen=True)
class EdgeResult:
    """How a cell did on one edge set of inputs.

    Attributes:
        set: The set's name.
        verdicts: One an output.
    """

    set: str
    verdicts: tuple[OutputVerdict, ...]

    @property
    def passed(self) -> bool:
        """Whether every output is the same."""
        return all(verdict.passed for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {"set": self.set, "passed": self.passed, "outputs": [v.to_json() for v in self.verdicts]}


@dataclass(frozen=True)
class Cell:
    """One artifact on one device at one batch size.

    Attributes:
        artifact: The artifact's name.
        device: The device asked for.
        batch: The batch size; None for a model without a batch dimension.
        status: What became of it.
        reason: Why, in words.
        outputs: One verdict an output, over the ordinary sets of inputs.
        edges: Verdicts by edge set.
        placement: Where it ran, as the runtime tells.
        latency: Seconds a call; None if it was not measured.
        load_seconds: From the file to a model that can be called.
        import_seconds: What importing the runtime took before that.
        first_seconds: The first call.
        peak_memory: The largest resident size of its process while this cell ran, in bytes; None if unknown.
        idle_memory: The same before the model was loaded.
    """

    artifact: str
    device: str
    batch: int | None
    status: Status
    reason: str = ""
    outputs: tuple[OutputVerdict, ...] = ()
    edges: tuple[EdgeResult, ...] = ()
    placement: str = ""
    latency: Latency | None = None
    load_seconds: float | None = None
    import_seconds: float | None = None
    first_seconds: float | None = None
    peak_memory: int | None = None
    idle_memory: int | None = None

    @property
    def key(self) -> tuple[str, str, int | None]:
        """What tells it from other cells."""
        return self.artifact, self.device, self.batch

    @property
    def place(self) -> str:
        """Device and batch size in words."""
        return self.device if self.batch is None else f"{self.device}, batch {self.batch}"

    @property
    def throughput(self) -> float | None:
        """Rows a second, by the median; calls a second for a model without a batch dimension."""
        return None if self.latency is None else (self.batch or 1) / self.latency.p50

    @property
    def worst_ratio(self) -> float | None:
        """The largest error in floors among the outputs."""
        return max((v.ratio for v in self.outputs if v.ratio is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        plain = ["artifact", "device", "batch", "reason", "placement", "throughput"]
        plain += ["load_seconds", "import_seconds", "first_seconds", "peak_memory", "idle_memory"]
        return {
            **{name: getattr(self, name) for name in plain},
            "status": self.status.value,
            "fine": self.status.fine,
            "outputs": [verdict.to_json() for verdict in self.outputs],
            "edges": [edge.to_json() for edge in self.edges],
            "latency": None if self.latency is None else self.latency.to_json(),
        }


@dataclass(frozen=True)
class SetInfo:
    """One set of inputs: the same bytes went to every cell of its batch size."""

    name: str
    batch: int | None
    kind: str
    sizes: dict[str, int]
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Speed:
    """A comparison of a cell's latency with the reference's at the same batch size."""

    artifact: str
    device: str
    batch: int | None
    comparison: Comparison

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {"artifact": self.artifact, "device": self.device, "batch": self.batch, **self.comparison.to_json()}


@dataclass(frozen=True)
class LayerError:
    """How far one value inside an artifact is from the reference's, as a bisection measures it.

    Attributes:
        artifact: The artifact's name.
        name: The value, as its user knows it: a module path or a node's name.
        operator: What computes it.
        error: RMS error against float64, relative to the value's RMS.
        floor: What of that is rounding.
    """

    artifact: str
    name: str
    operator: str
    error: float
    floor: float

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {name: to_json_value(value) for name, value in self.__dict__.items()}


@dataclass(frozen=True)
class BaselineReport:
    """What differs from an earlier run.

    Attributes:
        created: When the earlier run was.
        regressions: What got worse; each makes the run fail.
        changes: What differs without being worse.
        versions: By package, the version then and now, where they differ.
    """

    created: str
    regressions: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    versions: dict[str, tuple[str, str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {
            "created": self.created,
            "regressions": list(self.regressions),
            "changes": list(self.changes),
            "versions": {name: list(pair) for name, pair in self.versions.items()},
        }


@dataclass(frozen=True)
class ValidationReport:
    """What a validation found.

    Attributes:
        created: ISO 8601 time in UTC.
        command: What repeats it.
        seed: For the inputs that were drawn.
        threads: How many threads every runtime could use.
        inputs_sha256: A hash over all sets of inputs.
        environment: Versions, platform, processor, devices.
        artifacts: The reference first.
        sets: The inputs.
        cells: The matrix.
        speeds: Comparisons with the reference.
        notes: What a reader should know.
        baseline: What differs from an earlier run; None if there was none to compare with.
        layers: Errors inside the artifacts in topological order; empty unless a bisection was made.
    """

    created: str
    command: str
    seed: int
    threads: int
    inputs_sha256: str
    environment: Mapping[str, Any]
    artifacts: tuple[ArtifactInfo, ...]
    sets: tuple[SetInfo, ...]
    cells: tuple[Cell, ...]
    speeds: tuple[Speed, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: BaselineReport | None = None
    layers: tuple[LayerError, ...] = ()

    @property
    def reference(self) -> ArtifactInfo:
        """What the others were compared with."""
        return self.artifacts[0]

    @property
    def failures(self) -> tuple[Cell, ...]:
        """The cells that make the run fail."""
        return tuple(cell for cell in self.cells if not cell.status.fine)

    @property
    def passed(self) -> bool:
        """Whether no cell failed and nothing got worse than in the earlier run."""
        return not self.failures and not (self.baseline and self.baseline.regressions)

    @property
    def exit_code(self) -> int:
        """0 if it passed, 3 otherwise."""
        return 0 if self.passed else ParityError.exit_code

    @property
    def verdict(self) -> str:
        """The result in a sentence or two."""
        from xport.validate.reports.words import verdict

        return verdict(self)

    def check(self) -> None:
        """Raise if it did not pass.

        Raises:
            ParityError: Naming the cells that failed and what got worse.
        """
        if self.passed:
            return
        lines = [f"{cell.artifact} ({cell.place}): {cell.status.value}: {cell.reason}" for cell in self.failures]
        lines += self.baseline.regressions if self.baseline else ()
        raise ParityError(
            "The validation did not pass:\n" + "\n".join(f"  {line}" for line in lines),
            f"Look at the report: {self.command} --report report.html",
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON form as docs/validate.schema.json describes it."""
        return {
            "report_version": REPORT_VERSION,
            "created": self.created,
            "command": self.command,
            "passed": self.passed,
            "verdict": self.verdict,
            "seed": self.seed,
            "threads": self.threads,
            "inputs_sha256": self.inputs_sha256,
            "environment": dict(self.environment),
            "artifacts": [artifact.to_json() for artifact in self.artifacts],
            "sets": [each.to_json() for each in self.sets],
            "cells": [cell.to_json() for cell in self.cells],
            "speeds": [speed.to_json() for speed in self.speeds],
            "notes": list(self.notes),
            "baseline": None if self.baseline is None else self.baseline.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }

    def write_page(self, path: str | Any) -> None:
        """Write the report as one self-contained HTML page.

        Args:
            path: The file.

        Raises:
            MissingRuntimeError: If the packages of the ``report`` extra are missing.
            DestinationError: If it cannot be written.
        """
        from xport.validate.reports.page import write_page

        write_page(self, path)

    def write_tensorboard(self, folder: str | Any) -> None:
        """Write the figures as event files for TensorBoard.

        Args:
            folder: The folder that ``tensorboard --logdir`` gets.

        Raises:
            MissingRuntimeError: If the packages of the ``report`` extra are missing.
            DestinationError: If nothing can be written there.
        """
        from xport.validate.reports.tensorboard import write_events

        write_events(self, folder)
