"""May a server join the requests of several clients along the first axis? Only if that was tried.

A first axis of free size is not enough: it may be a sequence, or the model may normalise over it. So the rows of golden
inputs are run alone, and joined with others in another order: each must come out as it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xport.artifact import Proof
from xport.errors import WorkerError, XportError
from xport.golden import Case
from xport.signature import Signature
from xport.validate.parity import judge_golden
from xport.validate.runners import open_runner
from xport.worker import Worker


def why_not_batched(path: Path, signature: Signature, cases: Sequence[Case], made: Proof | None, worker: Worker) -> str:
    """Whether requests may be joined along the first axis.

    Args:
        path: The model.
        signature: Its inputs and outputs.
        cases: Golden inputs and outputs.
        made: Its proof, with the floors to judge by.
        worker: The process to try it in.

    Returns:
        Empty if they may; otherwise why not.

    Raises:
        WorkerError: If the runtime crashes.
    """
    leading = {spec.shape[0] if spec.shape else None for spec in (*signature.inputs, *signature.outputs)}
    if len(leading) != 1 or not isinstance(next(iter(leading)), str):
        return "not every input and output begins with the same dynamic dimension"
    first = signature.inputs[0].name
    case = max(cases, key=lambda case: case[0][first].shape[0], default=None)
    if case is None or case[0][first].shape[0] < 2:
        return "there are no golden inputs of several rows to try it with"
    trials = [_part(case, 0), _part(case, -1), _joined(case)]
    try:
        with open_runner(path, worker=worker) as runner:
            actual = [runner.run(inputs) for inputs, _ in trials]
    except WorkerError:
        raise
    except XportError as error:
        return f"golden inputs with another number of rows were refused: {error.message}"
    verdicts = judge_golden([outputs for _, outputs in trials], actual, made.parity if made else [])
    failed = [verdict.output for verdict in verdicts if not verdict.passed]
    return f"rows depend on one another: among others they give another {', '.join(failed)}" if failed else ""


def _part(case: Case, row: int) -> Case:
    """One row, alone."""
    inputs, outputs = ({name: array[[row]] for name, array in part.items()} for part in case)
    return inputs, outputs


def _joined(case: Case) -> Case:
    """Two requests in one: the rows as they are, then in the opposite order."""
    inputs, outputs = ({name: np.concatenate([array, array[::-1]]) for name, array in part.items()} for part in case)
    return inputs, outputs
