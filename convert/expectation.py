"""What the source answers: the inputs of the gate, with the source's outputs in its own precision and in float64."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xport.convert.source import Source
from xport.convert.workers import Workers
from xport.errors import ConversionError, InputsError, MissingRuntimeError, XportError
from xport.formats import Format
from xport.signature import Signature
from xport.validate.figures import rms, to_float64
from xport.validate.inputs import Case, cases, check_user_inputs, integer_bounds, settings
from xport.validate.meaning import Bounds
from xport.validate.reference import reference64
from xport.validate.runners import Runner, open_runner

Tensors = dict[str, np.ndarray]

_RANDOM_ABOVE = 1e-3
_REPEATS_WITHOUT_SYMBOLS = 3


@dataclass(frozen=True)
class Expectation:
    """Cases and what the source answers.

    Attributes:
        signature: The source's inputs and outputs.
        cases: The inputs.
        outputs: The source's outputs, one mapping a case.
        reference: The source's outputs in float64; empty if they cannot be had.
        no_reference: Why they cannot be had.
    """

    signature: Signature
    cases: tuple[Case, ...]
    outputs: tuple[Tensors, ...] = field(repr=False)
    reference: tuple[Tensors, ...] = field(default=(), repr=False)
    no_reference: str = "there is no float64 result"

    @property
    def sha256(self) -> str:
        """A hash over the inputs of all cases."""
        return hashlib.sha256("".join(case.sha256 for case in self.cases).encode()).hexdigest()

    @property
    def golden(self) -> list[tuple[Tensors, Tensors]]:
        """Inputs and outputs by case."""
        return [(case.inputs, outputs) for case, outputs in zip(self.cases, self.outputs, strict=True)]


def expect(
    source: Source,
    signature: Signature,
    workers: Workers,
    *,
    seed: int = 0,
    user_inputs: Mapping[str, np.ndarray] | None = None,
) -> Expectation:
    """Run the source on seeded inputs, and on the user's own.

    Args:
        source: What to run.
        signature: Its inputs and outputs.
        workers: The processes to run it in.
        seed: The same seed draws the same inputs.
        user_inputs: Arrays by input name.

    Returns:
        The cases with their outputs.

    Raises:
        ConversionError: If the source runs at no two settings of its dynamic dimensions, or is random by
            itself.
        InputsError: If the source does not run on the user's inputs.
    """
    worker = workers.get(framework_of(source))
    bounds = find_bounds(source, signature, workers)
    with open_runner(source, worker=worker) as runner:
        drawn, outputs = _run_ladders(runner, source, signature, bounds, seed)
        _refuse_random(runner, source, drawn[0], outputs[0])
        if user_inputs is not None:
            given = check_user_inputs(user_inputs, signature)
            drawn.append(Case("your inputs", signature.check(given), given))
            outputs.append(_run_user(runner, given))
    reference, why = _run_wide(source, signature, workers, drawn)
    return Expectation(signature, tuple(drawn), tuple(outputs), tuple(reference), why)


def framework_of(source: Source) -> str:
    """The framework whose worker runs a source."""
    return "onnxruntime" if source.format is Format.ONNX else "torch"


def find_bounds(source: Source, signature: Signature, workers: Workers) -> dict[str, Bounds]:
    """The range in which each integer input has a meaning, from the graph or by watching the model.

    Args:
        source: The source.
        signature: Its inputs and outputs.
        workers: The processes to look in.

    Returns:
        Range by input name, for inputs where one was found.
    """
    if not any(spec.dtype in ("int32", "int64") for spec in signature.inputs):
        return {}
    if source.format is Format.ONNX and source.path is not None:
        return integer_bounds(source.path)
    if source.live:
        from xport.validate.torch_bounds import table_bounds

        return table_bounds(source, signature)
    found: dict[str, Bounds] = workers.call("torch", "xport.validate.torch_bounds:table_bounds", source, signature)
    return found


def _run_ladders(
    runner: Runner, source: Source, signature: Signature, bounds: Mapping[str, Bounds], seed: int
) -> tuple[list[Case], list[Tensors]]:
    """Cases at the first ladder of sizes that the source runs on: its first two settings, the third if it can."""
    failures: list[XportError] = []
    for ladder in settings(signature):
        repeats = 1 if signature.symbols else _REPEATS_WITHOUT_SYMBOLS
        try:
            drawn = cases(signature, seed=seed, sizes=ladder, bounds=bounds, repeats=repeats)
            outputs: list[Tensors] = []
            for position, case in enumerate(drawn):
                try:
                    outputs.append(runner.run(case.inputs))
                except MissingRuntimeError:
                    raise
                except XportError:
                    if position < 2:
                        raise
                    return drawn[:position], outputs
            return drawn, outputs
        except XportError as error:
            failures.append(error)
    sizes = "two settings of its dynamic dimensions" if signature.symbols else "inputs of its signature"
    raise ConversionError(
        f"{source.name} does not run at {sizes}: {failures[0].message}",
        "Write a number for a dimension that cannot vary, for example --input 'x:float32[1,3,224,224]', "
        "or give inputs that it runs on with --inputs file.npz.",
    ) from failures[0]


def _refuse_random(runner: Runner, source: Source, case: Case, outputs: Tensors) -> None:
    """Run a case again: a model that draws random numbers cannot be compared with anything."""
    again = runner.run(case.inputs)
    for name, first in outputs.items():
        second = again[name]
        if first.dtype.kind in "OSUT":
            continue
        if first.shape == second.shape:
            left, right = to_float64(first), to_float64(second)
            finite = np.isfinite(left) & np.isfinite(right)
            if rms(left[finite] - right[finite]) <= _RANDOM_ABOVE * rms(left[finite]):
                continue
        raise ConversionError(
            f"{source.name} is random by itself: output {name!r} differs between two runs on the same inputs.",
            "Turn off what draws random numbers (dropout, sampling), or add --no-verify.",
        )


def _run_user(runner: Runner, inputs: Tensors) -> Tensors:
    try:
        return runner.run(inputs)
    except XportError as error:
        raise InputsError(f"The source does not run on the inputs given: {error.message}", error.fix) from error


def _run_wide(
    source: Source, signature: Signature, workers: Workers, drawn: Sequence[Case]
) -> tuple[list[Tensors], str]:
    """The float64 outputs of every case; none and the reason if they cannot be had."""
    try:
        runner = reference64(source, signature, worker=None if source.live else workers.get("torch"))
        if runner is None:
            return [], f"nothing here runs {source.format.value} in float64"
        outputs = [runner.run(case.inputs) for case in drawn]
        runner.close()
    except Exception as error:  # a live module's code may raise anything; the table judges instead
        workers.replace("torch")
        reason = error.message if isinstance(error, XportError) else f"{type(error).__name__}: {error}"
        return [], f"the source does not run in float64: {next(iter(reason.splitlines()), '')[:200]}"
    return outputs, ""
