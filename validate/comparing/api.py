"""`xport.compare`: which runtime is best for this model, here?"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xport.convert.source import open_source
from xport.errors import DestinationError, InputsError, UsageError
from xport.signature import TensorSpec
from xport.validate.comparing.contenders import Contender, choose
from xport.validate.comparing.making import file_name
from xport.validate.comparing.results import CompareReport
from xport.validate.comparing.run import Plan, refuse_url, run
from xport.validate.matrix import run as matrix
from xport.validate.runners import DEVICES

DEFAULT_TIMEOUT = 600.0
"""Seconds that one request to a contender's process may take."""

DEFAULT_STARTS = 3
"""How often each contender is started."""


def compare(
    model: Any,
    *,
    contenders: str | Sequence[str] = (),
    batch: int | Sequence[int] = (),
    device: str = "cpu",
    threads: int = 1,
    runs: int | None = None,
    starts: int = DEFAULT_STARTS,
    seed: int = 0,
    inputs: Iterable[TensorSpec | str] = (),
    input_data: str | Path | Mapping[str, np.ndarray] | None = None,
    arch: str | None = None,
    trust_pickle: bool = False,
    example_inputs: Any = None,
    output_names: Iterable[str] = (),
    signature: str | None = None,
    output: str | Path | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    progress: Callable[[str], None] | None = None,
    verbose: bool = False,
    command: str = "",
) -> CompareReport:
    """Run the same weights on every runtime and measure what each costs: latency, start-up, memory, accuracy.

    Every contender is a conversion that passed the gate, or the model itself, in a process of its own. What cannot be
    made or run has its reason in the report. The model itself always takes part: the others are compared with it.

    Args:
        model: A path, a ``zoo:`` name, or a live ``nn.Module``.
        contenders: Names out of `xport.validate.comparing.contenders.CONTENDERS`; all by default.
        batch: Batch sizes; by default 1 and 8, or those of the user's inputs.
        device: ``cpu`` or ``cuda``.
        threads: How many threads every runtime may use.
        runs: Counted calls at each batch size; by default 100, fewer for slow models.
        starts: How often each contender is started to measure that; 0 for not at all.
        seed: For the inputs that are drawn.
        inputs: Specs of the inputs, for models that do not record them: ``x:float32[batch,3,224,224]``.
        input_data: The user's own inputs instead of seeded ones: an ``.npz`` file, or arrays by name.
        arch: ``package.module:factory`` for a state dict.
        trust_pickle: Allow code in the file to run.
        example_inputs: Example arrays or tensors for a live module, by name or in order.
        output_names: Names for the outputs, for models that do not name theirs.
        signature: Which signature of a SavedModel is meant.
        output: A folder that keeps the artifacts.
        timeout: Seconds that one request to a contender's process may take; None for no limit.
        progress: Told in a few words what begins.
        verbose: Let the frameworks' messages through.
        command: What the report says repeats the run.

    Returns:
        The report; its ``answer`` is a paragraph, its ``exit_code`` what the command would exit with.

    Raises:
        UsageError: If the model cannot be read, a contender is unknown, or batch or inputs do not fit.
        XportError: If the model itself does not run.

    Example:
        >>> print(xport.compare("model.pt2", batch=[1, 32]).answer)  # doctest: +SKIP
    """
    refuse_url(model)
    _check_counts(threads=threads, starts=starts, runs=runs)
    if device not in DEVICES:
        raise UsageError(f"Unknown device {device!r}.", f"Use {' or '.join(DEVICES)}.")
    specs = tuple(TensorSpec.parse(spec) if isinstance(spec, str) else spec for spec in inputs)
    opening: dict[str, Any] = {
        "inputs": specs,
        "arch": arch,
        "trust_pickle": trust_pickle,
        "example_inputs": example_inputs,
        "output_names": tuple(output_names),
        "signature": signature,
    }
    source = open_source(model, **opening)
    asked = contenders.split(",") if isinstance(contenders, str) else contenders
    chosen = choose([name for name in asked if name.strip()], source.format)
    _check_data(input_data)
    measured = matrix.Plan(
        devices=(device,),
        batches=(batch,) if isinstance(batch, int) else tuple(batch),
        specs=specs,
        input_data=input_data,
        seed=seed,
        runs=runs,
        threads=threads,
        timeout=timeout,
        verbose=verbose,
        command=command or f"xport.compare({str(model)!r})",
    )
    converting = {**opening, "input_data": input_data, "seed": seed, "verbose": verbose}
    with tempfile.TemporaryDirectory(prefix="xport-") as scratch, _folder(output, chosen, scratch) as folder:
        return run(
            Plan(
                given=model,
                source=source,
                contenders=chosen,
                convert=converting,
                matrix=measured,
                starts=starts,
                folder=folder,
                scratch=Path(scratch),
                kept=output is not None,
                tell=progress or (lambda _: None),
            )
        )


def _check_counts(*, threads: int, starts: int, runs: int | None) -> None:
    for what, value, least in (("threads", threads, 1), ("starts", starts, 0), ("runs", runs, 1)):
        if value is not None and value < least:
            raise UsageError(f"{what} is {value}, expected at least {least}.", f"Leave --{what} out for the default.")


def _check_data(given: Any) -> None:
    if isinstance(given, str | Path) and not Path(given).is_file():
        what = "is a folder" if Path(given).is_dir() else "does not exist"
        raise InputsError(f"{given}, given with --inputs, {what}.", "Name an .npz file with one array an input.")


@contextlib.contextmanager
def _folder(output: str | Path | None, contenders: Sequence[Contender], scratch: str) -> Iterator[Path]:
    """The folder of the artifacts; the user's own must hold nothing that would be written over."""
    if output is None:
        yield Path(scratch)
        return
    folder = Path(output)
    taken = [name for c in contenders if (folder / (name := file_name(c.format))).exists()]
    if taken:
        raise DestinationError(f"{folder / taken[0]} exists already.", "Name an empty folder with --output.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DestinationError(f"{folder} cannot be made: {error.strerror}.", "Choose another --output.") from error
    yield folder
