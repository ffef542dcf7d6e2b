"""A probe from beginning to end: the endpoint is found out, asked in every way, compared, and put under load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xport import proof
from xport.convert.provenance import now
from xport.convert.source import Source
from xport.errors import XportError
from xport.formats import Format
from xport.serve.clients.address import Served
from xport.serve.clients.connection import Connection
from xport.serve.probing.checks import golden_check, load_check
from xport.serve.probing.consistency import DETERMINISM, accepted, determinism, invariance
from xport.serve.probing.figures import summed_up
from xport.serve.probing.load import Load, run_load
from xport.serve.probing.results import Check, Endpoint, LoadResult, Outcome, ProbeReport
from xport.serve.probing.ways import other_ways, settled
from xport.signature import Signature, TensorSpec
from xport.validate.bounds import find_bounds
from xport.validate.matrix import surroundings
from xport.validate.matrix.run import Plan as Comparison
from xport.validate.matrix.run import run as compare
from xport.validate.matrix.sets import InputSet, batch_sizes, ladders, user_sets
from xport.validate.matrix.subjects import Subject, open_subjects
from xport.validate.meaning import Bounds
from xport.validate.results import ValidationReport
from xport.validate.runners import open_runner
from xport.validate.verdicts import Tolerance
from xport.worker import Worker

_BUSY = 0.8


@dataclass(frozen=True)
class Plan:
    """What the user asked for; see `xport.serve.probing.api.probe`."""

    served: Served
    over_grpc: Served | None = None
    versions: tuple[str, ...] = ("",)
    against: Source | None = None
    specs: tuple[TensorSpec, ...] = ()
    batches: tuple[int, ...] = ()
    input_data: Any = None
    seed: int = 0
    runs: int | None = None
    threads: int | None = None
    loads: tuple[Load, ...] = ()
    tolerance: Tolerance | None = None
    names: dict[str, str] = field(default_factory=dict)
    verbose: bool = False
    command: str = ""
    tell: Callable[[str], None] = lambda _: None


def run(plan: Plan) -> ProbeReport:
    """Probe a served model.

    Raises:
        UsageError: If there is no such model, or interfaces do not match.
        ServingError: If nobody answers.
    """
    plan.tell(f"connecting to {plan.served.name}")
    known = _interface(plan)
    served = replace(
        plan.served, version=plan.versions[0], interface=known.renamed(plan.names) if known is not None else None
    )
    with settled(served) as connection:
        return _Probe(plan, connection, known).run()


def _interface(plan: Plan) -> Signature | None:
    """What the artifact takes and gives: as it records it, or as its runtime tells."""
    source = plan.against
    if source is None:
        return None
    recorded = proof.read_signature(source.path, source.format) if source.path is not None else None
    if recorded is not None:
        return recorded
    plan.tell(f"opening {source.name}")
    with open_runner(source, threads=plan.threads, verbose=plan.verbose) as runner:
        return runner.signature


class _Probe:
    """A probe with what it has found so far."""

    def __init__(self, plan: Plan, connection: Connection, known: Signature | None) -> None:
        self.plan, self.connection, self.known = plan, connection, known
        self.checks: list[Check] = []
        self.loads: list[LoadResult] = []
        self.notes: list[str] = []
        self.validation: ValidationReport | None = None
        self.ways = [connection.served, *self._other_ways()]

    def run(self) -> ProbeReport:
        """Everything in order; Ctrl-C ends it with what there is."""
        interrupted = False
        try:
            self._golden()
            sets = accepted(self.connection, self._choices())
            self._consistency(sets)
            self._compare()
            interrupted = self._loads(sets)
        except KeyboardInterrupt:
            interrupted = True
        return ProbeReport(
            created=now(),
            command=self.plan.command,
            against=self.plan.against.name if self.plan.against is not None else "",
            endpoint=self._endpoint(),
            checks=tuple(self.checks),
            validation=self.validation,
            loads=tuple(self.loads),
            notes=tuple(self.notes),
            interrupted=interrupted,
            environment=surroundings.environment(),
        )

    def _other_ways(self) -> list[Served]:
        found, notes = other_ways(self.connection, self.plan.over_grpc, self.plan.versions[1:])
        self.notes += notes
        return found

    def _endpoint(self) -> Endpoint:
        connection = self.connection
        forms = [f"{way.protocol} over gRPC" if way.over_grpc else f"{way.protocol} {way.form}" for way in self.ways]
        return Endpoint(
            url=replace(connection.served, form="", signature="").name,
            protocol=connection.served.protocol,
            ways=tuple(dict.fromkeys(forms)),
            model=connection.served.model,
            versions=connection.description.versions,
            asked_versions=tuple(version for version in self.plan.versions if version),
            platform=connection.description.platform,
            signature=connection.signature,
            tells_interface=connection.description.signature is not None,
        )

    def _golden(self) -> None:
        """Ask for what the artifact carries."""
        source = self.plan.against
        found = proof.read(source.path, source.format) if source is not None and source.path is not None else None
        if source is None:
            return
        if found is None or not found[2]:
            self.checks.append(Check("golden inputs", Outcome.SKIPPED, f"{source.name} carries none."))
            return
        self.plan.tell("asking for the golden inputs")
        _, made, cases = found
        for way in self.ways:
            with Connection(way) as connection:
                self.checks.append(golden_check(connection, cases, made.parity, self.plan.names))

    def _choices(self) -> list[list[InputSet]]:
        """Inputs in the server's words."""
        signature, names = self.connection.signature, self.plan.names
        if self.plan.input_data is not None:
            given = user_sets(self.plan.input_data, self.known or signature, self.plan.batches)
            return [[_in_other_words(each, names) for each in given]]
        batches = batch_sizes(signature, self.plan.batches)
        return ladders(signature, batches, seed=self.plan.seed, bounds=self._bounds())

    def _bounds(self) -> dict[str, Bounds]:
        source, signature = self.plan.against, self.known
        if source is None or signature is None:
            return {}

        def call(function: str, *arguments: Any) -> Any:
            with Worker(verbose=self.plan.verbose) as worker:
                return worker.call(function, *arguments)

        try:
            found = find_bounds(source, signature, call)
        except XportError:
            return {}  # nobody can follow the graph; integers stay small
        return {self.plan.names.get(name, name): bound for name, bound in found.items()}

    def _consistency(self, sets: Sequence[InputSet]) -> None:
        self.plan.tell("asking for the same again")
        self.checks.append(determinism(self.connection, sets[0].case.inputs))
        if self.checks[-1].outcome is not Outcome.FAILED:
            self.checks.append(invariance(self.connection, sets, decisive=self.plan.against is None))

    def _compare(self) -> None:
        """The matrix of `xport validate`: the artifact, or else the endpoint itself, against every way of asking."""
        plan = self.plan
        if any(check.outcome is Outcome.FAILED and check.name == DETERMINISM for check in self.checks):
            self.notes.append("It was not compared further: it is random by itself.")
            return
        subjects = [_subject(way) for way in self.ways]
        if plan.against is not None:
            reference, _ = open_subjects([plan.against, plan.served.url], inputs=plan.specs)
            subjects.insert(0, reference)
        self.validation = compare(
            subjects,
            Comparison(
                batches=plan.batches,
                specs=plan.specs if plan.against is not None else (),
                input_data=plan.input_data,
                seed=plan.seed,
                runs=plan.runs,
                threads=plan.threads,
                tolerance=plan.tolerance,
                names=plan.names if plan.against is not None else {},
                timeout=max(plan.served.timeout * 10, 600.0),
                verbose=plan.verbose,
                command=plan.command,
                tell=plan.tell,
            ),
        )

    def _loads(self, sets: Sequence[InputSet]) -> bool:
        """Put the loads on the main way, one after the other; whether somebody ended them."""
        if not self.plan.loads:
            return False
        smallest = min(each.batch or 0 for each in sets)
        chosen = [each.case.inputs for each in sets if (each.batch or 0) == smallest]
        protocol, target = self.connection.protocol, self.connection.target
        calm = [self.connection.predict(inputs) for inputs in chosen]
        requests = [protocol.encode(target, inputs) for inputs in chosen]
        for load in self.plan.loads:
            self.plan.tell(f"load {load.text}")
            record = run_load(load, self.connection.served, requests)
            result = summed_up(load, record, max(smallest, 1))
            self.loads.append(result)
            if record.answers:
                self.checks.append(load_check(load, record, self.connection, calm))
            if result.client_share > _BUSY:
                share = f"{result.client_share:.0%} of a processor"
                self.notes.append(f"Under {load.text} this client took {share}: it may be what was slow.")
            if record.interrupted:
                return True
        return False


def _in_other_words(given: InputSet, names: dict[str, str]) -> InputSet:
    case = given.case
    renamed = {names.get(name, name): array for name, array in case.inputs.items()}
    return replace(given, case=replace(case, inputs=renamed))


def _subject(way: Served) -> Subject:
    return Subject(way.name, Source(Format.SERVED, None, None, served=way), None, "")
