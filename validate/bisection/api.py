"""`xport.validate.bisect`: where do two artifacts part?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from xport.errors import InputsError
from xport.signature import TensorSpec
from xport.validate.bisection.reproducer import check_free
from xport.validate.bisection.results import BisectReport
from xport.validate.bisection.run import Question, run
from xport.validate.matrix.subjects import open_subjects

DEFAULT_TIMEOUT = 600.0
"""Seconds that one request to an artifact's process may take."""


def bisect(
    reference: Any,
    other: Any,
    *,
    inputs: Iterable[TensorSpec | str] = (),
    input_data: Any = None,
    seed: int = 0,
    names: Mapping[str, str] | None = None,
    arch: str | None = None,
    trust_pickle: bool = False,
    example_inputs: Any = None,
    output_names: Iterable[str] = (),
    reproduce: str | Path | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    progress: Callable[[str], None] | None = None,
    verbose: bool = False,
) -> BisectReport:
    """Find the first value that diverges between two artifacts of any formats, and the operator at fault.

    Args:
        reference: A path, a ``zoo:`` name, or a live ``nn.Module``.
        other: What is compared with it, likewise.
        inputs: Specs of the inputs, for artifacts that do not record them: ``x:float32[batch,3,224,224]``.
        input_data: The user's own inputs instead of seeded ones, as for `xport.validate`.
        seed: For the inputs that are drawn.
        names: The other's own names by the reference's, where they differ.
        arch: ``package.module:factory`` for state dicts.
        trust_pickle: Allow code in the files to run.
        example_inputs: Example arrays or tensors for a live module, by name or in order.
        output_names: Names for the outputs of artifacts of the PyTorch family.
        reproduce: A folder to write the smallest sub-model to that still shows it; it must not exist.
        timeout: Seconds that one request to an artifact's process may take; None for no limit.
        progress: Told in a few words what begins.
        verbose: Let the frameworks' messages through.

    Returns:
        The report; call its ``check`` to have a divergence raised.

    Raises:
        UsageError: If an artifact cannot be read, signatures do not match, inputs do not fit, or one is random.
        UnsupportedError: If an artifact has no ONNX form to be taken apart in.
        XportError: If an artifact does not run.

    Example:
        >>> print(xport.validate.bisect("model.pt2", "model.tflite").verdict)  # doctest: +SKIP
    """
    if reproduce is not None:
        check_free(Path(reproduce))
    if isinstance(input_data, str | Path) and not Path(input_data).exists():
        raise InputsError(f"{input_data} does not exist.", "Check the path given with --inputs.")
    subjects = open_subjects(
        [reference, other],
        arch=arch,
        trust_pickle=trust_pickle,
        inputs=inputs,
        example_inputs=example_inputs,
        output_names=output_names,
    )
    question = Question(
        input_data=input_data,
        seed=seed,
        names=dict(names or {}),
        reproduce=Path(reproduce) if reproduce is not None else None,
        timeout=timeout,
        verbose=verbose,
        tell=progress or (lambda _: None),
    )
    return run(subjects, question)
