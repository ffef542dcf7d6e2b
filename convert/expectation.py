"""What the source answers: the inputs of the gate, with the source's outputs in its own precision and in float64."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xport.convert.routes import RUNTIME_OF
from xport.convert.source import Source, open_source
from xport.convert.workers import Workers, out_of_time
from xport.errors import ConversionError, InputsError, MissingRuntimeError, XportError
from xport.formats import Format
from xport.signature import Signature
from xport.validate import bounds
from xport.validate.floor import case_errors, epsilon, judge_floor
from xport.validate.inputs import YOURS, Case, batch_symbol, cases, check_user_inputs, settings
from xport.validate.meaning import Bounds
from xport.validate.reference import reference64
from xport.validate.runners import Runner, open_runner

Tensors = dict[str, np.ndarray]

_ROUNDS_ALIKE = 2.0
"""How much worse than ONNX Runtime another runtime's own kernels may round: some approximate tanh or exp."""
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
    def refuses_others(self) -> bool:
        """Whether the source runs on the user's inputs only, not on seeded ones."""
        return self.cases[0].name == YOURS

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
    hub: Path | None = None,
) -> Expectation:
    """Run the source on seeded inputs, and on the user's own; on these alone if it takes no others.

    Args:
        source: What to run.
        signature: Its inputs and outputs.
        workers: The processes to run it in.
        seed: The same seed draws the same inputs.
        user_inputs: Arrays by input name.
        hub: The source in ONNX, for formats that cannot be run in float64 themselves.

    Returns:
        The cases with their outputs.

    Raises:
        ConversionError: If the source runs at no two settings of its dynamic dimensions, or is random by
            itself.
        InputsError: If the source does not run on the user's inputs.
    """
    worker = workers.get(framework_of(source))
    ranges = find_bounds(source, signature, workers, hub)
    with open_runner(source, worker=worker) as runner:
        given = None if user_inputs is None else check_user_inputs(user_inputs, signature)
        try:
            drawn, outputs = _run_ladders(runner, source, signature, ranges, seed)
        except ConversionError:
            known = given or _examples(source, signature)
            if known is None:
                raise
            drawn, outputs, given = *_run_around(runner, signature, known), None
        _refuse_random(runner, source, drawn[0], outputs[0])
        if given is not None:
            drawn.append(Case(YOURS, signature.check(given), given))
            outputs.append(_run_user(runner, given))
    return _with_reference(source, signature, workers, drawn, outputs, hub)


def _with_reference(
    source: Source,
    signature: Signature,
    workers: Workers,
    drawn: Sequence[Case],
    outputs: Sequence[Tensors],
    hub: Path | None,
) -> Expectation:
    if hub is None:
        reference, why = _run_wide(source, signature, workers, drawn)
    else:
        reference, why = run_hub(hub, signature, workers, drawn, outputs)
    return Expectation(signature, tuple(drawn), tuple(outputs), tuple(reference), why)


def expect_on(
    source: Source,
    signature: Signature,
    workers: Workers,
    drawn: Sequence[Case],
    hub: Path | None = None,
) -> Expectation:
    """Run the source on inputs that are there already.

    Args:
        source: What to run.
        signature: Its inputs and outputs.
        workers: The processes to run it in.
        drawn: The inputs.
        hub: See `expect`.

    Returns:
        The cases with their outputs.

    Raises:
        InputsError: If the source does not run on them.
    """
    with open_runner(source, worker=workers.get(framework_of(source))) as runner:
        outputs = [_run_user(runner, case.inputs) for case in drawn]
    return _with_reference(source, signature, workers, drawn, outputs, hub)


def framework_of(source: Source) -> str:
    """The framework whose worker runs a source."""
    return RUNTIME_OF[source.format]


def find_bounds(source: Source, signature: Signature, workers: Workers, hub: Path | None = None) -> dict[str, Bounds]:
    """The range in which each integer input has a meaning, from the graph or by watching the model.

    Args:
        source: The source.
        signature: Its inputs and outputs.
        workers: The processes to look in.
        hub: The source in ONNX, for formats whose graph nobody here can follow.

    Returns:
        Range by input name, for inputs where one was found.
    """
    look = source if hub is None else open_source(hub)
    return bounds.find_bounds(look, signature, lambda *asked: workers.call("torch", *asked))


def _run_ladders(
    runner: Runner, source: Source, signature: Signature, ranges: Mapping[str, Bounds], seed: int
) -> tuple[list[Case], list[Tensors]]:
    """Cases at the first ladder of sizes that the source runs on: its first two settings, the third if it can."""
    failures: list[XportError] = []
    for ladder in settings(signature):
        repeats = 1 if signature.symbols else _REPEATS_WITHOUT_SYMBOLS
        try:
            drawn = cases(signature, seed=seed, sizes=ladder, bounds=ranges, repeats=repeats)
            outputs: list[Tensors] = []
            for position, case in enumerate(drawn):
                try:
                    outputs.append(runner.run(case.inputs))
                except MissingRuntimeError:
                    raise
                except XportError as error:
                    if position < 2 or out_of_time(error):
                        raise
                    return drawn[:position], outputs
            return drawn, outputs
        except XportError as error:
            if out_of_time(error):  # other sizes would take as long
                raise
            failures.append(error)
    sizes = "two settings of its dynamic dimensions" if signature.symbols else "inputs of its signature"
    raise ConversionError(
        f"{source.name} does not run at {sizes}: {failures[0].message}",
        "Write a number for a dimension that cannot vary, for example --input 'x:float32[1,3,224,224]', "
        "or give inputs that it runs on with --inputs file.npz.",
    ) from failures[0]


def _run_around(runner: Runner, signature: Signature, given: Tensors) -> tuple[list[Case], list[Tensors]]:
    """The user's inputs for a source that refuses seeded ones; with a row more and a row less where it takes them."""
    sizes = signature.check(given)
    drawn, outputs = [Case(YOURS, sizes, given)], [_run_user(runner, given)]
    batch = batch_symbol(signature)
    rows = sizes.get(batch, 0) if batch is not None else 0
    for count in (rows + 1, rows - 1) if rows else ():
        taken = dict(given)
        for spec in signature.inputs:
            for axis in (i for i, dim in enumerate(spec.shape or ()) if dim == batch):
                taken[spec.name] = taken[spec.name].take(np.minimum(np.arange(count), rows - 1), axis)
        try:
            outputs.append(runner.run(taken))
        except MissingRuntimeError:
            raise
        except XportError:
            continue
        drawn.append(Case(f"{YOURS} {batch}={count}", {**sizes, str(batch): count}, taken))
    return drawn, outputs


def _examples(source: Source, signature: Signature) -> Tensors | None:
    """The examples that came with a live module, as arrays; None if they are not one for each input."""
    given = source.example_inputs
    if given is None:
        return None
    from xport.convert.torch_values import to_array, to_tensor

    if not isinstance(given, Mapping):
        values = given if isinstance(given, tuple | list) else [given]
        given = dict(zip((spec.name for spec in signature.inputs), values, strict=False))
    arrays = {name: to_array(to_tensor(value)) for name, value in given.items() if value is not None}
    return arrays if set(arrays) == {spec.name for spec in signature.inputs} else None


def _refuse_random(runner: Runner, source: Source, case: Case, outputs: Tensors) -> None:
    """Run a case again: a model that draws random numbers cannot be compared with anything."""
    name = bounds.random_output(outputs, runner.run(case.inputs))
    if name is not None:
        raise ConversionError(
            f"{source.name} is random by itself: output {name!r} differs between two runs on the same inputs.",
            "Turn off what draws random numbers (dropout, sampling), or add --no-verify.",
        )


def _run_user(runner: Runner, inputs: Tensors) -> Tensors:
    try:
        return runner.run(inputs)
    except XportError as error:
        raise InputsError(f"The source does not run on the inputs given: {error.message}", error.fix) from error


def torch_family(file_format: Format) -> bool:
    """Whether PyTorch runs a format."""
    return RUNTIME_OF[file_format] == "torch"


def run_hub(
    hub: Path, signature: Signature, workers: Workers, drawn: Sequence[Case], outputs: Sequence[Tensors]
) -> tuple[list[Tensors], str]:
    """The float64 outputs of the ONNX form of a source; none and the reason if it may not be the same model.

    The form in float64 has what the conversion to ONNX did to the model. So it is a reference only if the source is
    as close to it as another runtime is: ONNX Runtime, which rounds the same form.
    """
    form = open_source(hub)
    reference, why = _run_wide(form, signature, workers, drawn)
    if not reference:
        return reference, why
    try:
        with open_runner(form, worker=workers.get("onnxruntime")) as runner:
            rounded = [runner.run(case.inputs) for case in drawn]
    except XportError as error:
        return [], f"ONNX Runtime does not run its ONNX form: {error.message[:200]}"
    for output, verdict in trust(outputs, rounded, reference).items():
        if verdict:
            return [], f"{output}: {verdict}"
    return reference, ""


def trust(outputs: Sequence[Tensors], rounded: Sequence[Tensors], reference: Sequence[Tensors]) -> dict[str, str]:
    """By output, why a source is too far from a float64 result to be the same model; empty if it is not."""
    found: dict[str, str] = {}
    for name in outputs[0]:
        if outputs[0][name].dtype.kind not in "fc" and outputs[0][name].dtype.name != "bfloat16":
            continue
        errors = [case_errors(r[name], o[name], w[name]) for o, r, w in zip(outputs, rounded, reference, strict=True)]
        measured = [e for e in errors if e is not None]
        if len(measured) < len(errors):
            found[name] = "its ONNX form in float64 has another shape or is not finite"
            continue
        verdict = judge_floor(measured, epsilon(outputs[0][name].dtype))
        far = verdict.ratio > _ROUNDS_ALIKE * verdict.limit
        found[name] = f"the source is {verdict.ratio:.0f} times as far from its ONNX form as rounding is" if far else ""
    return found


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
