"""`xport.validate`: are these artifacts the same model, on which device, and how fast?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xport.errors import InputsError, UsageError
from xport.signature import TensorSpec
from xport.validate.matrix.run import Plan, run
from xport.validate.matrix.subjects import open_subjects
from xport.validate.reports.baseline import compare_with_baseline, read_baseline
from xport.validate.results import ValidationReport
from xport.validate.runners import DEVICES
from xport.validate.verdicts import Tolerance

DEFAULT_TIMEOUT = 600.0
"""Seconds that one request to a cell's process may take."""


def validate(
    reference: Any,
    *others: Any,
    device: str | Sequence[str] = "cpu",
    batch: int | Sequence[int] = (),
    inputs: Iterable[TensorSpec | str] = (),
    input_data: Any = None,
    seed: int = 0,
    runs: int | None = None,
    threads: int | None = None,
    tolerance: Tolerance | tuple[float, float] | None = None,
    sqnr: float | None = None,
    names: Mapping[str, str] | None = None,
    arch: str | None = None,
    trust_pickle: bool = False,
    example_inputs: Any = None,
    output_names: Iterable[str] = (),
    compiled: bool = False,
    served: Mapping[str, Any] | None = None,
    baseline: str | Path | Mapping[str, Any] | None = None,
    save_tensors: str | Path | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    progress: Callable[[str], None] | None = None,
    verbose: bool = False,
    command: str = "",
) -> ValidationReport:
    """Compare artifacts of any formats: numbers on identical inputs, device, latency, memory.

    Each artifact runs on each device in a process of its own; what happens to it there (a crash, a hang, the wrong
    device) is a cell's result. Edge sets of inputs (zeros, ones, large, tiny, repeated values) count like the others.

    Args:
        reference: What the others are compared with: a path, a ``zoo:`` name, a live ``nn.Module``, or the URL of a
            served model (``http://host:8501/v1/models/NAME``, ``…/v2/models/NAME``, ``grpc://host:8500/NAME``).
        *others: What is compared.
        device: ``cpu``, ``cuda``, or both. The reference always answers on the CPU.
        batch: Batch sizes; by default 1 and 8, or those of the user's inputs.
        inputs: Specs of the inputs, for artifacts that do not record them: ``x:float32[batch,3,224,224]``.
        input_data: The user's own inputs instead of seeded ones: an ``.npz`` file, a folder of them, arrays by name,
            or a list of such mappings.
        seed: For the inputs that are drawn.
        runs: Counted calls a cell for the latency; 0 for none; by default 100, fewer for slow models.
        threads: How many threads every runtime may use; by default all processors.
        tolerance: Own limits, ``(rtol, atol)``, instead of the rounding floor.
        sqnr: What candidates of lower precision must keep of the reference, in decibels, instead of the table's.
        names: An artifact's own names by the reference's, where they differ.
        arch: ``package.module:factory`` for state dicts.
        trust_pickle: Allow code in the files to run.
        example_inputs: Example arrays or tensors for a live module, by name or in order.
        output_names: Names for the outputs of artifacts of the PyTorch family.
        compiled: Compare every PyTorch module and ``.pt2`` once more as ``torch.compile`` makes it.
        served: How URLs are asked: ``headers``, ``protocol``, ``timeout`` and the other fields of
            `xport.serve.clients.address.Served`.
        baseline: An earlier run's JSON, to compare with.
        save_tensors: A folder for all inputs and outputs.
        timeout: Seconds that one request to a cell's process may take; None for no limit.
        progress: Told in a few words what begins.
        verbose: Let the frameworks' messages through.
        command: What the report says repeats the run.

    Returns:
        The report; call its ``check`` to have a failure raised.

    Raises:
        UsageError: If an artifact cannot be read, signatures do not match, inputs do not fit, or the reference is
            random by itself.
        XportError: If the reference does not run at all.

    Example:
        >>> xport.validate("model.pt2", "model.onnx", "model.tflite").check()  # doctest: +SKIP
    """
    specs = tuple(TensorSpec.parse(spec) if isinstance(spec, str) else spec for spec in inputs)
    subjects = open_subjects(
        [reference, *others],
        arch=arch,
        trust_pickle=trust_pickle,
        inputs=specs,
        example_inputs=example_inputs,
        output_names=output_names,
        compiled=compiled,
        served=served,
    )
    earlier = read_baseline(baseline) if baseline is not None else None
    plan = Plan(
        devices=_devices(device),
        batches=(batch,) if isinstance(batch, int) else tuple(batch),
        specs=specs,
        input_data=input_data,
        seed=seed,
        runs=_count("runs", runs, least=0),
        threads=_count("threads", threads, least=1),
        tolerance=Tolerance(*tolerance) if isinstance(tolerance, tuple) else tolerance,
        least_db=sqnr,
        names=dict(names or {}),
        save_tensors=Path(save_tensors) if save_tensors is not None else None,
        timeout=timeout,
        verbose=verbose,
        command=command or _call([reference, *others]),
        tell=progress or (lambda _: None),
    )
    if isinstance(input_data, str | Path) and not Path(input_data).exists():
        raise InputsError(f"{input_data} does not exist.", "Check the path given with --inputs.")
    report = run(subjects, plan)
    return report if earlier is None else compare_with_baseline(report, earlier)


def _devices(given: str | Sequence[str]) -> tuple[str, ...]:
    devices = (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))
    for device in devices:
        if device not in DEVICES:
            raise UsageError(f"Unknown device {device!r}.", f"Use {' or '.join(DEVICES)}, or both.")
    if not devices:
        raise UsageError("No device was named.", f"Use {' or '.join(DEVICES)}, or both.")
    return devices


def _count(what: str, value: int | None, *, least: int) -> int | None:
    if value is not None and value < least:
        raise UsageError(f"{what} is {value}, expected at least {least}.", f"Leave --{what} out for the default.")
    return value


def _call(given: Sequence[Any]) -> str:
    """The call in Python, as far as it can be written down."""
    shown = [repr(str(one)) if isinstance(one, str | Path) else f"<{type(one).__name__}>" for one in given]
    return f"xport.validate({', '.join(shown)})"
