"""`xport.convert`: a model in, a proven artifact out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xport import proof
from xport.artifact import Artifact, Proof
from xport.convert import provenance
from xport.convert.attempts import Attempts, Progress
from xport.convert.options import check_options
from xport.convert.outcome import Outcome
from xport.convert.planner import Route, available, plan
from xport.convert.quantizing import integers, pipeline
from xport.convert.quantizing.request import Data, Reduction, asked
from xport.convert.routes import RUNTIME_OF
from xport.convert.source import Source, open_source
from xport.convert.staging import Staging, unwritable
from xport.convert.workers import Workers, out_of_time
from xport.errors import ParityError, UsageError, XportError
from xport.formats import Format
from xport.signature import Signature, TensorSpec
from xport.validate.inputs import check_user_inputs, load_user_inputs, read_npz
from xport.validate.verdicts import Tolerance

_RECORDED = {
    Format.ONNX: "xport.convert.onnx_signature:read_signature",
    Format.SAVEDMODEL: "xport.convert.savedmodel_signature:read_signature",
    Format.KERAS: "xport.convert.keras_loading:read_signature",
    Format.TFLITE: "xport.convert.tflite_signature:read_signature",
}
"""What reads the interface of a format that records it."""


def convert(
    source: Any,
    to: str | Format,
    output: str | Path | None = None,
    *,
    verify: bool = True,
    inputs: Iterable[TensorSpec | str] = (),
    input_data: str | Path | Mapping[str, np.ndarray] | None = None,
    arch: str | None = None,
    trust_pickle: bool = False,
    example_inputs: Any = None,
    output_names: Iterable[str] = (),
    signature: str | None = None,
    via: Sequence[str] = (),
    dtype: str | None = None,
    quantize: str | None = None,
    calibration: Data | None = None,
    keep_float: Iterable[str] = (),
    until: str | float | None = None,
    seed: int = 0,
    tolerance: Tolerance | tuple[float, float] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    keep_failed: bool = False,
    verbose: bool = False,
    overwrite: bool = False,
    timeout: float | None = None,
) -> Artifact:
    """Convert a model, and prove that the result is still the same model.

    The result appears at its destination only after it has passed: by one rename, and not at all otherwise.

    Args:
        source: A path, a ``zoo:`` name, or a live ``nn.Module``.
        to: The format wanted: pytorch (source code), torchscript, exported (pt2), onnx, savedmodel, tflite.
        output: The file or folder to write; by default the source's name with the format's ending, in the
            current folder.
        verify: Prove the result. False is recorded in the artifact.
        inputs: Specs of the inputs, for sources that do not record them: ``x:float32[batch,3,224,224]``.
        input_data: The user's own inputs to prove with beside the seeded ones, or alone if the model refuses those:
            an ``.npz`` file, or arrays by name. PyTorch models are also traced with them.
        arch: ``package.module:factory`` for a state dict.
        trust_pickle: Allow code in the file to run.
        example_inputs: Example arrays or tensors for a live module, by name or in order.
        output_names: Names for the outputs, for sources that do not name them.
        signature: Which signature of a SavedModel is meant; by default ``serving_default``, or the only one.
        via: Formats to go through, or steps to use.
        dtype: ``float16`` or ``bfloat16``: the precision to store and compute in; the interface stays as it is.
        quantize: ``dynamic`` (int8 weights) or ``int8`` (weights and activations), for ONNX and TFLite.
        calibration: Typical inputs for ``int8``: an ``.npz`` with one array an input, samples first; a folder of
            such; or arrays by name.
        keep_float: Names of nodes, paths of modules, or patterns of either, that stay in float.
        until: Leave the most damaging layers in float until so much is left, ``sqnr=30`` for example.
        seed: For the inputs that are drawn.
        tolerance: Own limits, ``(rtol, atol)``, instead of the rounding floor.
        options: Options of the steps; `xport.convert.options.STEP_OPTIONS` lists them.
        progress: Told in a few words what begins.
        keep_failed: Keep a result that failed, under a name that says so.
        verbose: Let the frameworks' messages through.
        overwrite: Replace what is at the destination.
        timeout: Seconds for the whole conversion; by default only a single step or run has a limit, an hour. What runs
            in the caller's process (a live module) is not stopped.

    Returns:
        The artifact, with its proof.

    Raises:
        UsageError: If the source cannot be read, or the arguments do not fit it.
        DestinationError: If the result cannot be written there.
        MissingRuntimeError: If a package is missing.
        WorkerError: If it runs out of time.
        ConversionError: If no route leads to a result.
        ParityError: If no result is the same model.

    Example:
        >>> artifact = xport.convert("model.pt2", to="onnx")  # doctest: +SKIP
    """
    target = to if isinstance(to, Format) else Format.parse(to)
    check_options(options or {}, target)
    opened = open_source(
        source,
        arch=arch,
        trust_pickle=trust_pickle,
        inputs=inputs,
        example_inputs=example_inputs,
        output_names=output_names,
        signature=signature,
    )
    opened = _with_examples(opened, input_data)
    reduction = asked(dtype=dtype, quantize=quantize, calibration=calibration, keep_float=keep_float, until=until)
    if reduction is not None:
        routes = pipeline.prepare(reduction, opened, target, via, verify)
    else:
        routes = available(plan(opened.format, target, via=tuple(via)), verify=verify)
    destination = Path(output) if output is not None else default_output(opened, target)
    _refuse_itself(opened, destination)
    limits = Tolerance(*tolerance) if isinstance(tolerance, tuple) else tolerance
    tell = progress or (lambda _: None)
    with Staging(destination, overwrite=overwrite) as staging, Workers(verbose=verbose, timeout=timeout) as workers:
        try:
            tell(f"reading {opened.name}")
            interface = read_signature(opened, workers)
            attempts = Attempts(
                opened,
                interface,
                staging,
                workers,
                tell,
                options=dict(options or {}),
                verify=verify,
                seed=seed,
                user_inputs=_user_inputs(input_data, interface),
                tolerance=limits,
            )
            return _finish(attempts, routes, target, via=tuple(via), keep_failed=keep_failed, reduction=reduction)
        except XportError as error:
            if not out_of_time(error):
                workers.check_time()  # whatever failed may have failed for want of time
            raise


def default_output(source: Source, target: Format) -> Path:
    """Where a result goes if the user does not say: the current folder, under the source's name.

    Args:
        source: What is converted.
        target: Into what.

    Returns:
        A relative path.
    """
    if source.path is not None:
        stem = source.path.name if source.path.is_dir() else source.path.stem
    else:
        stem = (source.zoo or source.name).partition("@")[0]
    if not target.suffix or target is Format.PYTORCH:  # what xport writes for these is a folder
        return Path(f"{stem}_{target.value}")
    output = Path(f"{stem}{target.suffix}")
    if source.path is not None and output.absolute() == source.path.absolute():
        return Path(f"{stem}_{target.value}{target.suffix}")
    return output


def _refuse_itself(source: Source, destination: Path) -> None:
    try:
        same = source.path is not None and destination.exists() and destination.samefile(source.path)
    except OSError as error:
        raise unwritable(error, destination) from error
    if same:
        raise UsageError(f"{destination} is the source itself.", "Choose another --output.")


def read_signature(source: Source, workers: Workers) -> Signature:
    """The signature of a source: read from the file where it records one, measured on a PyTorch model.

    Args:
        source: The source.
        workers: The processes to look in.

    Returns:
        Its inputs and outputs.

    Raises:
        UsageError: If the inputs are not known or do not fit.
    """
    if source.format in _RECORDED:
        found: Signature = workers.call(RUNTIME_OF[source.format], _RECORDED[source.format], *_question(source))
        return _with_user_shapes(found, source)
    if source.live:
        from xport.convert.torch_signature import derive_signature

        return derive_signature(source)
    derived: Signature = workers.call("torch", "xport.convert.torch_signature:derive_signature", source)
    return derived


def _question(source: Source) -> tuple[Any, ...]:
    """What the reader of a format's signature is asked with."""
    if source.format is Format.KERAS:
        return (source,)
    return (source.path, source.signature_name) if source.format is Format.SAVEDMODEL else (source.path,)


def _with_user_shapes(signature: Signature, source: Source) -> Signature:
    """A recorded signature with the shapes that the user gave in place of the file's."""
    given = {spec.name: spec for spec in source.inputs}
    unknown = set(given) - {spec.name for spec in signature.inputs}
    wrong = [s for s in signature.inputs if s.name in given and given[s.name].dtype != s.dtype]
    if unknown or wrong or source.output_names:
        listing = "The inputs are " + ", ".join(map(str, signature.inputs)) + "."
        what = "--output-names cannot rename a file's outputs" if source.output_names else "--input does not fit"
        raise UsageError(f"{what}: {source.name} records its own interface.", listing)
    return replace(signature, inputs=tuple(given.get(spec.name, spec) for spec in signature.inputs))


def _with_examples(source: Source, data: str | Path | Mapping[str, np.ndarray] | None) -> Source:
    """Let the user's inputs also be what a model of the PyTorch family is traced with: it may refuse all others."""
    if data is None or source.example_inputs is not None or RUNTIME_OF[source.format] != "torch":
        return source
    return replace(source, example_inputs=dict(data) if isinstance(data, Mapping) else read_npz(Path(data)))


def _user_inputs(
    data: str | Path | Mapping[str, np.ndarray] | None, signature: Signature
) -> dict[str, np.ndarray] | None:
    if data is None:
        return None
    if isinstance(data, Mapping):
        return check_user_inputs(data, signature)
    return load_user_inputs(Path(data), signature)


def _finish(
    attempts: Attempts,
    routes: Sequence[Route],
    target: Format,
    *,
    via: tuple[str, ...],
    keep_failed: bool,
    reduction: Reduction | None = None,
) -> Artifact:
    """Take the routes, attach the proof, and move the result into place."""
    staging = attempts.staging
    try:
        done = (
            _float(attempts, routes, via) if reduction is None else pipeline.reduce(attempts, routes, target, reduction)
        )
    except ParityError as error:
        if keep_failed and attempts.rejected is not None:
            kept = staging.commit(attempts.rejected, _failed_name(staging.destination))
            error.fix = f"The result was kept as {kept}.\n{error.fix}"
            error.args = (error.message, error.fix)
        raise
    attempts.progress("writing the proof")
    made = _proof(attempts, done, via)
    golden = done.expectation.golden if done.expectation is not None else []
    proof.attach(done.result, target, attempts.signature, made, golden, model_name=staging.destination.name)
    attempts.workers.check_time()
    path = staging.commit(done.result)
    return Artifact(path, target, attempts.signature, made)


def _float(attempts: Attempts, routes: Sequence[Route], via: tuple[str, ...]) -> Outcome:
    """The result of the first route whose result is the same model; a quantized one stays in integers if it can."""
    if kept := integers.keep(attempts, routes, via):
        return kept
    route, result, found = attempts.first_success(routes)
    return Outcome(route.formats, result, found, attempts.expectation, engines=route.engine_names)


def _proof(attempts: Attempts, done: Outcome, via: tuple[str, ...]) -> Proof:
    source, expectation, found = attempts.source, done.expectation, done.found
    options: dict[str, Any] = {"seed": attempts.seed, **attempts.options}
    if expectation is not None:
        options["inputs_sha256"] = expectation.sha256
        if not expectation.reference:
            options["no_float64"] = expectation.no_reference
    if attempts.tolerance is not None:
        options["tolerance"] = dict(attempts.tolerance.__dict__)
    chosen = {"via": list(via), "arch": source.arch, "output_names": list(source.output_names)}
    chosen["signature"] = source.signature_name
    options.update({key: value for key, value in chosen.items() if value})
    if done.precision:
        options["precision"] = done.precision
    if attempts.tried:
        options["tried"] = attempts.tried
    return Proof(
        source=provenance.describe_source(source),
        route=done.formats,
        versions=provenance.versions(done.engines),
        options=options,
        parity=[verdict.to_json() for verdict in found.verdicts] if found is not None else [],
        verified=found is not None,
        created=provenance.now(),
    )


def _failed_name(destination: Path) -> Path:
    return destination.with_name(f"{destination.stem}.failed-parity{destination.suffix}")
