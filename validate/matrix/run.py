"""The whole run: lanes are opened, the reference answers, every cell is checked, all take turns for the latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xport.convert.provenance import now
from xport.convert.workers import Workers
from xport.errors import UsageError, XportError
from xport.signature import Signature, TensorSpec
from xport.validate.bounds import find_bounds
from xport.validate.latency import Latency, compare
from xport.validate.matrix import surroundings
from xport.validate.matrix.answers import Answers, answer
from xport.validate.matrix.checking import Check
from xport.validate.matrix.lane import Failure, Lane
from xport.validate.matrix.matching import Matching, check_mapped, match
from xport.validate.matrix.meanings import Meanings, calibrated, find_precision
from xport.validate.matrix.saving import TensorFolder
from xport.validate.matrix.sets import InputSet, batch_sizes, digest, ladders, user_sets
from xport.validate.matrix.subjects import Subject
from xport.validate.matrix.timing import Timed, time_side_by_side
from xport.validate.meaning import Bounds
from xport.validate.precision import Precision
from xport.validate.results import ArtifactInfo, Cell, SetInfo, Speed, Status, ValidationReport
from xport.validate.runners import RUNNERS
from xport.validate.verdicts import Tolerance
from xport.worker import Worker

_UNFAIR = (
    "{} was calibrated on samples: seeded inputs judge its arithmetic and not its loss. Give samples with --inputs to "
    "judge that; `xport verify` judges it on those it carries."
)


@dataclass(frozen=True)
class Plan:
    """What the user asked for; see `xport.validate.api.validate`."""

    devices: tuple[str, ...] = ("cpu",)
    batches: tuple[int, ...] = ()
    specs: tuple[TensorSpec, ...] = ()
    input_data: Any = None
    seed: int = 0
    runs: int | None = None
    threads: int | None = None
    tolerance: Tolerance | None = None
    least_db: float | None = None
    names: dict[str, str] = field(default_factory=dict)
    save_tensors: Path | None = None
    timeout: float | None = None
    verbose: bool = False
    command: str = ""
    tell: Callable[[str], None] = lambda _: None
    answered: Callable[[Answers], None] = lambda _: None


def run(subjects: Sequence[Subject], plan: Plan) -> ValidationReport:
    """Validate artifacts.

    Args:
        subjects: The reference first.
        plan: What the user asked for.

    Returns:
        The report.

    Raises:
        UsageError: If signatures do not match, inputs do not fit, or the reference is random by itself.
        XportError: If the reference does not run at all.
    """
    matrix = _Matrix(subjects, plan)
    try:
        return matrix.run()
    finally:
        matrix.close()


class _Matrix:
    """One run with its lanes."""

    def __init__(self, subjects: Sequence[Subject], plan: Plan) -> None:
        self.subjects = subjects
        self.plan = plan
        self.threads = plan.threads or surroundings.usable_processors()
        self.cuda = surroundings.cuda_devices() if "cuda" in plan.devices else 0
        self.lanes = {
            (s.name, device): self._lane(s, device)
            for s in subjects
            for device in plan.devices
            if not self._no_device(s, device, unfit=False)
        }
        home = plan.devices[0] if subjects[0].source.served is not None else "cpu"
        self.home = self.lanes.setdefault((subjects[0].name, home), self._lane(subjects[0], home))
        self.signatures: dict[str, Signature] = {}
        self.matchings: dict[str, Matching] = {}
        self.precisions: dict[str, Precision] = {}
        self.notes: list[str] = []

    def _lane(self, subject: Subject, device: str) -> Lane:
        return Lane(subject, device, threads=self.threads, timeout=self.plan.timeout, verbose=self.plan.verbose)

    def close(self) -> None:
        """End every process."""
        for lane in self.lanes.values():
            lane.close()

    def run(self) -> ValidationReport:
        """Everything in order."""
        reference = self.subjects[0]
        busy = surroundings.load()
        self.plan.tell(f"opening {reference.name}")
        signature = _narrowed(self.home.signature, self.plan.specs)
        self._introduce(signature)
        self._match(signature)
        choices = self._choices(signature)
        with Workers(verbose=self.plan.verbose) as workers:  # gone before anything is timed
            yours = self.plan.input_data is not None
            answers = answer(self.home, signature, choices, workers, yours=yours, tell=self.plan.tell)
            self.plan.answered(answers)
            cells = self._check(answers, workers)
        self.notes += [_UNFAIR.format(s.name) for s in self.subjects if not yours and calibrated(s.source)]
        if not answers.wide:
            self.notes.append(f"The dtype table judges where outputs are not equal: {answers.no_wide}.")
        self.notes += [f"The reference does not run on the edge set {k}: {v}" for k, v in answers.skipped.items()]
        cells, speeds = self._time(cells, answers)
        if busy > self._idle() and speeds:
            self.notes.append(
                f"The machine was busy with other work (load {busy:.1f} on {surroundings.usable_processors()} "
                "processors): latencies may be too long; with fewer threads they suffer less."
            )
        return ValidationReport(
            created=now(),
            command=self.plan.command,
            seed=self.plan.seed,
            threads=self.threads,
            inputs_sha256=digest(answers.sets),
            environment={**surroundings.environment(), "cuda_devices": self.cuda},
            artifacts=tuple(self._info(subject) for subject in self.subjects),
            sets=tuple(_set_info(each) for each in answers.sets),
            cells=tuple(cells),
            speeds=tuple(speeds),
            notes=tuple(self.notes),
        )

    def _idle(self) -> float:
        """The load that leaves a processor for each of our threads."""
        return max(surroundings.usable_processors() - self.threads, 0) + 0.5

    def _introduce(self, signature: Signature) -> None:
        """Let the servers' clients know what the model should be: not every server tells its interface."""
        for lane in self.lanes.values():
            source = lane.subject.source
            if source.served is not None and lane is not self.home and source.served.interface is None:
                served = replace(source.served, interface=signature.renamed(self.plan.names))
                lane.subject = replace(lane.subject, source=replace(source, served=served))

    def _match(self, signature: Signature) -> None:
        """Match names; an artifact that cannot be opened is told by its cells."""
        check_mapped(self.plan.names, signature, {})
        reference = self.subjects[0]
        for subject in self.subjects:
            self.matchings[subject.name] = Matching()
            found = signature if subject is reference else self._open(subject)
            if found is not None:
                names = {} if subject is reference else self.plan.names
                self.signatures[subject.name] = found
                self.precisions[subject.name] = find_precision(subject, self._lane_of(subject))
                self.matchings[subject.name] = match(reference, signature, subject, found, names)
        others = {name: found for name, found in self.signatures.items() if name != reference.name}
        check_mapped(self.plan.names, signature, others)

    def _open(self, subject: Subject) -> Signature | None:
        """The signature of an artifact; None if it is opened nowhere."""
        self.plan.tell(f"opening {subject.name}")
        lane = self._lane_of(subject)
        return None if lane is None else lane.signature

    def _lane_of(self, subject: Subject) -> Lane | None:
        """A lane in which an artifact opens; None if there is none."""
        if subject is self.subjects[0]:
            return self.home
        for device in self.plan.devices:
            lane = self.lanes.get((subject.name, device))
            try:
                if lane is not None and not self._no_device(subject, device):
                    lane.open()
                    return lane
            except XportError:
                continue  # its cells tell
        return None

    def _choices(self, signature: Signature) -> list[list[InputSet]]:
        if self.plan.input_data is not None:
            return [user_sets(self.plan.input_data, signature, self.plan.batches)]
        batches = batch_sizes(signature, self.plan.batches)
        return ladders(signature, batches, seed=self.plan.seed, bounds=self._bounds(signature))

    def _bounds(self, signature: Signature) -> dict[str, Bounds]:
        """Ranges of integer inputs, from the first artifact whose graph can be followed."""
        for subject in self.subjects:
            matching = self.matchings[subject.name]
            if subject.name not in self.signatures:
                continue
            try:
                found = find_bounds(subject.source, self.signatures[subject.name], self._call_torch)
            except XportError:
                continue  # another artifact may tell
            back = {name: theirs for theirs, name in matching.inputs.items()}
            if found:
                return {back[name]: bound for name, bound in found.items() if name in back}
        return {}

    def _call_torch(self, function: str, *arguments: Any) -> Any:
        with Worker(verbose=self.plan.verbose) as worker:
            return worker.call(function, *arguments, timeout=self.plan.timeout)

    def _check(self, answers: Answers, workers: Workers) -> list[Cell]:
        plan, reference = self.plan, self.subjects[0].name
        by_name = (self.precisions, self.signatures, self.matchings)
        meanings = Meanings(answers, *by_name, workers, plan.timeout, plan.tell)
        check = Check(answers, plan.tolerance, plan.least_db, lambda subject: meanings.of(subject, reference))
        if plan.save_tensors is not None:
            folder = TensorFolder(plan.save_tensors)
            folder.save_answers(answers)
            check.save = folder.save_outputs
        batches = list(dict.fromkeys([*(each.batch for each in answers.sets), *answers.failed]))
        cells = []
        for subject in self.subjects:
            for device in plan.devices:
                plan.tell(f"checking {subject.name} on {device}")
                cells += [self._cell(check, subject, device, batch) for batch in batches]
        return cells

    def _cell(self, check: Check, subject: Subject, device: str, batch: int | None) -> Cell:
        why = self._no_device(subject, device)
        if why:
            return Cell(subject.name, device, batch, Status.NO_DEVICE, why)
        lane = self.lanes[subject.name, device]
        is_reference = lane is self.home
        return check.cell(lane, batch, self.matchings[subject.name], is_reference=is_reference)

    def _no_device(self, subject: Subject, device: str, *, unfit: bool = True) -> str:
        """Why a cell cannot exist; empty if it can.

        Args:
            subject: The artifact.
            device: The device asked for.
            unfit: Whether a runtime that does not know the device counts.
        """
        if subject.source.served is not None:
            return "" if device == self.plan.devices[0] else "its server chooses the device"
        if device == "cpu":
            return ""
        if not self.cuda:
            return "no CUDA device"
        if not unfit:
            return ""
        runner = RUNNERS[subject.source.format]
        return "its runtime is for the CPU only" if device not in _devices_of(runner) else ""

    def _decimals(self, subject: Subject) -> list[str]:
        """What a reader should know of the digits that a server writes."""
        lane, signature = self.lanes.get((subject.name, self.plan.devices[0])), self.signatures.get(subject.name)
        if lane is None or signature is None or lane is self.home:
            return []
        try:
            seen = lane.decimals()
        except XportError:
            return []  # its cells tell
        told = dict.fromkeys(seen.words(spec.dtype) for spec in signature.outputs)
        return [text for text in told if text]

    def _time(self, cells: list[Cell], answers: Answers) -> tuple[list[Cell], list[Speed]]:
        """Latency of the cells that run, batch size by batch size."""
        if self.plan.runs == 0:
            return cells, []
        by_key = {cell.key: cell for cell in cells}
        speeds: list[Speed] = []
        runnable = (Status.REFERENCE, Status.PASSED, Status.FAILED)
        for batch in dict.fromkeys(cell.batch for cell in cells):
            chosen = [c for c in cells if c.batch == batch and c.status in runnable]
            if not chosen:
                continue
            self.plan.tell("timing side by side" + ("" if batch is None else f" at batch {batch}"))
            inputs = answers.sets[answers.at(batch)[0]].case.inputs
            timed = [Timed(self.lanes[c.artifact, c.device], self.matchings[c.artifact].send(inputs)) for c in chosen]
            for cell, found in zip(chosen, time_side_by_side(timed, runs=self.plan.runs), strict=True):
                by_key[cell.key] = _timed(cell, found)
            speeds += self._compare([by_key[cell.key] for cell in chosen])
        return [by_key[cell.key] for cell in cells], speeds

    def _compare(self, cells: Sequence[Cell]) -> list[Speed]:
        """Each cell with the reference on the same device, and the reference's devices with each other."""
        name = self.subjects[0].name
        homes = {cell.device: cell for cell in cells if cell.artifact == name}
        speeds = []
        for cell in cells:
            home = homes.get("cpu") if cell.artifact == name else homes.get(cell.device)
            if home is None or home is cell or cell.latency is None or home.latency is None:
                continue
            elsewhere = home.device != cell.device
            labels = [f"{c.artifact} on {c.device}" if elsewhere else c.artifact for c in (cell, home)]
            speeds.append(
                Speed(cell.artifact, cell.device, cell.batch, compare(labels[0], cell.latency, labels[1], home.latency))
            )
        return speeds

    def _info(self, subject: Subject) -> ArtifactInfo:
        matching = self.matchings[subject.name]
        source = subject.source
        notes = matching.notes
        if source.served is not None:
            notes = (OVER_THE_WIRE, *notes, *self._decimals(subject))
        return ArtifactInfo(
            name=subject.name,
            path=f"a live {source.name}" if source.live else source.name,
            format=source.format.value,
            size=subject.size,
            sha256=subject.sha256,
            signature=self.signatures.get(subject.name),
            precision=self.precisions.get(subject.name, Precision()).name,
            names=matching.renamed,
            notes=notes,
        )


OVER_THE_WIRE = (
    "served: latency is over the wire, with the client, the network and the server's queue; size, memory and load time "
    "are the server's and not known here"
)
"""What a reader must know of a served model's figures."""


def _devices_of(runner: str) -> tuple[str, ...]:
    import importlib

    module, _, name = runner.partition(":")
    devices: tuple[str, ...] = getattr(importlib.import_module(module), name).devices
    return devices


def _timed(cell: Cell, found: Latency | Failure) -> Cell:
    if isinstance(found, Failure):
        return replace(cell, status=found.status, reason=f"while it was timed: {found.reason}")
    return replace(cell, latency=found)


def _narrowed(signature: Signature, specs: Sequence[TensorSpec]) -> Signature:
    """The reference's signature with the shapes that the user gave."""
    given = {spec.name: spec for spec in specs}
    for spec in signature.inputs:
        other = given.get(spec.name)
        if other is not None and other.dtype != spec.dtype:
            raise UsageError(f"--input {other} does not fit the reference's {spec}.", "Give the dtype that it records.")
    return replace(signature, inputs=tuple(given.get(spec.name, spec) for spec in signature.inputs))


def _set_info(each: InputSet) -> SetInfo:
    return SetInfo(each.case.name, each.batch, each.kind, dict(each.case.sizes), each.case.sha256)
