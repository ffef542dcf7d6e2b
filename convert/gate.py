"""The gate: a result leaves only if it is the same model, by interface and by numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xport.convert.expectation import Expectation
from xport.convert.routes import RUNTIME_OF
from xport.convert.source import Source, open_source
from xport.errors import MissingRuntimeError, ParityError, XportError
from xport.formats import Format
from xport.signature import Dim, Signature, TensorSpec
from xport.validate.parity import judge
from xport.validate.runners import Runner, open_runner
from xport.validate.verdicts import OutputVerdict, Tolerance
from xport.worker import Worker


@dataclass(frozen=True)
class GateResult:
    """What the gate found.

    Attributes:
        format: The result's format.
        problems: What is wrong with the interface, or where the result does not run.
        verdicts: One an output; empty if the numbers could not be compared.
    """

    format: Format
    problems: tuple[str, ...]
    verdicts: tuple[OutputVerdict, ...]

    @property
    def passed(self) -> bool:
        """Whether the result may leave."""
        return not self.problems and all(verdict.passed for verdict in self.verdicts)

    def error(self) -> ParityError:
        """The error of a result that may not leave."""
        lines = [*self.problems, *(describe(v) for v in self.verdicts if not v.passed)]
        return ParityError(
            f"The {self.format.value} result is not the same model:\n" + "\n".join(f"  {line}" for line in lines),
            "Try another way with --via, keep the result for a look with --keep-failed, or set your own limits with "
            "--rtol and --atol.",
        )


def describe(verdict: OutputVerdict) -> str:
    """One line about an output: what was measured, and where it is worst."""
    text = f"{verdict.output}: {verdict.reason}"
    figures = verdict.figures
    if figures.count and verdict.verdict != "exact":
        text += (
            f" Worst in case {verdict.case} at {list(figures.worst_index)}: {figures.worst_actual:.7g}, "
            f"expected {figures.worst_expected:.7g}; a tolerance of {figures.smallest_tolerance:.1e} would pass."
        )
    return text


def prove(
    expectation: Expectation,
    candidate: Path,
    target: Format,
    *,
    tolerance: Tolerance | None = None,
    worker: Worker | None = None,
) -> GateResult:
    """Compare a result with its source.

    Args:
        expectation: What the source answers.
        candidate: The result.
        target: Its format.
        tolerance: The user's own limits.
        worker: The process to run it in.

    Returns:
        What was found.

    Raises:
        MissingRuntimeError: If the result's runtime is not installed.
    """
    found = run_candidate(expectation, candidate, target, worker=worker)
    if isinstance(found, GateResult):
        return found
    verdicts = judge(
        expectation.outputs,
        found,
        expectation.reference or None,
        tolerance=tolerance,
        names=[case.name for case in expectation.cases],
        no_reference=expectation.no_reference,
    )
    return GateResult(target, (), tuple(verdicts))


def run_candidate(
    expectation: Expectation, candidate: Path, target: Format, *, worker: Worker | None = None
) -> list[dict[str, np.ndarray]] | GateResult:
    """Run a result on all cases, if its interface is the source's.

    Args:
        expectation: What the source answers.
        candidate: The result.
        target: Its format.
        worker: The process to run it in.

    Returns:
        Its outputs, one mapping a case; what is wrong if it has another interface or does not run.

    Raises:
        MissingRuntimeError: If the result's runtime is not installed.
    """
    signature = expectation.signature
    source = as_source(candidate, target, signature)
    if expectation.refuses_others and RUNTIME_OF[target] == "torch":  # its interface is found by running it
        source = replace(source, example_inputs=tuple(expectation.cases[0].inputs.values()))
    try:
        with open_runner(source, worker=worker) as runner:
            found = _ordered(runner.signature, signature) if target is Format.SAVEDMODEL else runner.signature
            problems = compare_interfaces(signature, found)
            if problems:
                return GateResult(target, tuple(problems), ())
            return _run_cases(expectation, runner, target)
    except MissingRuntimeError:
        raise
    except XportError as error:
        return GateResult(target, (f"It cannot be run: {error.message}",), ())


def as_source(candidate: Path, target: Format, signature: Signature) -> Source:
    """The result as something to run; TorchScript records no shapes, and no PyTorch file records output names."""
    names = [spec.name for spec in signature.outputs]
    if target is Format.PYTORCH:  # source code that was written a moment ago, by this process
        return open_source(candidate, inputs=signature.inputs, output_names=names, trust_pickle=True)
    if target is Format.TORCHSCRIPT:
        return open_source(candidate, inputs=signature.inputs, output_names=names)
    if target is Format.EXPORTED:
        odd = not all(spec.name.isidentifier() for spec in signature.inputs)  # the program had to rename these
        return open_source(candidate, inputs=signature.inputs if odd else (), output_names=names)
    if target is Format.SAVEDMODEL:  # its file tells which sizes vary, but not which of them are one
        return open_source(candidate, inputs=signature.inputs)
    return open_source(candidate)


def _ordered(found: Signature, wanted: Signature) -> Signature:
    """A SavedModel's interface in the source's order: its signature is a map, and the order stands in the proof."""

    def side(specs: tuple[TensorSpec, ...], names: list[str]) -> tuple[TensorSpec, ...]:
        by_name = {spec.name: spec for spec in specs}
        return tuple(by_name[name] for name in names) if sorted(by_name) == sorted(names) else specs

    return Signature(
        side(found.inputs, [spec.name for spec in wanted.inputs]),
        side(found.outputs, [spec.name for spec in wanted.outputs]),
    )


def _run_cases(expectation: Expectation, runner: Runner, target: Format) -> list[dict[str, np.ndarray]] | GateResult:
    outputs = []
    for case in expectation.cases:
        try:
            outputs.append(runner.run(case.inputs))
        except XportError as error:
            return GateResult(target, (f"It does not run with {case.name}: {error.message}",), ())
    return outputs


def compare_interfaces(expected: Signature, actual: Signature) -> list[str]:
    """Say what differs between two interfaces: names, order, dtypes, ranks, sizes, dynamic dimensions.

    Args:
        expected: The source's.
        actual: What the result's runtime reports.

    Returns:
        One sentence a difference. The names of dynamic dimensions may differ; a runtime may leave the size of an
        output open, and may know one that the source leaves open and ties to no input (whether it is the right one
        is seen when both are run, at several sizes).
    """
    tied = {size for spec in expected.inputs for size in spec.shape or () if isinstance(size, str)}
    return [
        *_compare_side("input", expected.inputs, actual.inputs, tied),
        *_compare_side("output", expected.outputs, actual.outputs, tied),
    ]


def _compare_side(
    side: str, expected: Sequence[TensorSpec], actual: Sequence[TensorSpec], tied: Collection[str]
) -> list[str]:
    wanted, found = [s.name for s in expected], [s.name for s in actual]
    if wanted != found:
        return [f"The {side}s are {', '.join(found) or 'none'}, expected {', '.join(wanted) or 'none'}."]
    problems = []
    for want, have in zip(expected, actual, strict=True):
        if want.dtype != have.dtype:
            problems.append(f"The {side} {have} has dtype {have.dtype}, expected {want}.")
        elif not _same_shape(want.shape, have.shape, tied, open_sizes=side == "output"):
            problems.append(f"The {side} {have} has another shape, expected {want}.")
    return problems


def _same_shape(
    want: tuple[Dim, ...] | None, have: tuple[Dim, ...] | None, tied: Collection[str], *, open_sizes: bool
) -> bool:
    if want is None or have is None:
        return want is None or open_sizes
    return len(want) == len(have) and all(
        _same_size(a, b, tied, open_sizes=open_sizes) for a, b in zip(want, have, strict=True)
    )


def _same_size(want: Dim, have: Dim, tied: Collection[str], *, open_sizes: bool) -> bool:
    if isinstance(have, str):
        return isinstance(want, str) or open_sizes
    return want == have or (open_sizes and isinstance(want, str) and want not in tied)
