"""May rows of several requests be run together? Only if each row's answer does not depend on the others.

The shapes alone cannot tell: a model may normalise over its batch. So rows are run alone and together and compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xport.errors import XportError
from xport.golden import Case
from xport.signature import Signature
from xport.validate.inputs import batch_symbol, cases
from xport.validate.parity import judge
from xport.validate.runners import Runner

Tensors = dict[str, np.ndarray]


def why_alone(runner: Runner, golden: Sequence[Case]) -> str:
    """Find out whether rows of several requests may be run together.

    Args:
        runner: The model.
        golden: Its golden cases, which are inputs that it certainly takes.

    Returns:
        Why each request must be run alone; empty if it need not be.
    """
    signature = runner.signature
    symbol = leading_symbol(signature)
    if symbol is None:
        return "an input does not begin with the batch axis, or its size is fixed"
    elsewhere = [s for s in signature.inputs if symbol in (s.shape or ())[1:]]
    if elsewhere:
        return f"the batch size is also another size of {elsewhere[0].name!r}"
    try:
        return _compare(runner, _rows(signature, golden))
    except XportError as error:
        return f"a trial failed: {error.message}"


def leading_symbol(signature: Signature) -> str | None:
    """The symbol that leads every input; None if there is none."""
    leading = {spec.shape[0] if spec.shape else None for spec in signature.inputs}
    only = leading.pop() if len(leading) == 1 else None
    return only if isinstance(only, str) else None


def _rows(signature: Signature, golden: Sequence[Case]) -> list[Tensors]:
    """Three rows of the same sizes with other values."""
    for inputs, _ in golden:
        count = len(next(iter(inputs.values())))
        if count >= 2:
            return [{name: array[i : i + 1] for name, array in inputs.items()} for i in (0, 1, count - 1)]
    batch = batch_symbol(signature)
    sizes = {s: 1 if s == batch else 8 for s in signature.symbols}
    if golden:
        inputs = golden[0][0]
        sizes = dict(signature.check(inputs)) | ({batch: 1} if batch else {})
    return [case.inputs for case in cases(signature, seed=7, sizes=[sizes], repeats=3)]


def _compare(runner: Runner, rows: Sequence[Tensors]) -> str:
    """Run rows alone and together; another order, too, so that a first row that leads is found out."""
    alone = [runner.run(row) for row in rows]
    for order in ((0, 1, 2), (2, 0, 1)):
        together = runner.run({name: np.concatenate([rows[i][name] for i in order]) for name in rows[0]})
        for name, array in together.items():
            if array.ndim == 0 or len(array) != len(order):
                return f"output {name!r} has shape {list(array.shape)} for {len(order)} rows"
            if any(len(alone[i][name]) != 1 for i in order):
                return f"output {name!r} has not one row for one row"
        expected = {name: np.concatenate([alone[i][name] for i in order]) for name in together}
        failed = [verdict for verdict in judge(expected, together) if not verdict.passed]
        if failed:
            return f"output {failed[0].output!r} of a row depends on the rows beside it"
    return ""
