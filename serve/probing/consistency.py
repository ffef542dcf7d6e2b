"""Does an endpoint agree with itself? The same request again, and the same rows alone and together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from xport.errors import ServingError, UsageError
from xport.serve.clients.connection import Connection
from xport.serve.probing.results import Check, Outcome
from xport.serve.protocols.decimals import Decimals
from xport.signature import Signature
from xport.validate.bounds import random_output
from xport.validate.inputs import batch_symbol
from xport.validate.matrix.sets import InputSet
from xport.validate.parity import judge

Tensors = dict[str, np.ndarray]
_REPEATS = 5
DETERMINISM, INVARIANCE = "the same request again", "rows alone and together"


def accepted(connection: Connection, choices: Sequence[Sequence[InputSet]]) -> list[InputSet]:
    """The first list of sets that the server runs on, without its edge sets.

    Raises:
        UsageError: If it runs on none.
    """
    first: ServingError | None = None
    for sets in choices:
        try:
            connection.predict(sets[0].case.inputs)
            return [each for each in sets if not each.is_edge]
        except ServingError as error:
            if error.code not in ("INVALID_ARGUMENT", "INTERNAL", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
                raise
            first = first or error
    listing = ", ".join(map(str, connection.signature.inputs))
    raise UsageError(
        f"{connection.served.name} does not run on inputs of its interface, {listing}: "
        f"{first.message if first else 'there are no inputs'}",
        "Give inputs that it runs on with --inputs file.npz, or other sizes with --batch.",
    )


def determinism(connection: Connection, inputs: Mapping[str, np.ndarray]) -> Check:
    """Ask for the same several times."""
    answers = [connection.predict(inputs) for _ in range(_REPEATS)]
    for other in answers[1:]:
        name = random_output(answers[0], other)
        if name is not None:
            return Check(DETERMINISM, Outcome.FAILED, f"the output {name!r} is another one each time: it is random.")
    equal = all(_same(answers[0][name], other[name]) for other in answers[1:] for name in answers[0])
    how = "equal to the last bit" if equal else "equal up to rounding"
    return Check(DETERMINISM, Outcome.PASSED, f"{_REPEATS} answers are {how}.")


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(np.array_equal(one, other)) if one.dtype.kind == "O" else one.tobytes() == other.tobytes()


def invariance(connection: Connection, sets: Sequence[InputSet], *, decisive: bool) -> Check:
    """Ask for the rows of the largest batch alone and together.

    Args:
        connection: The endpoint.
        sets: Those that it runs on.
        decisive: Whether a difference is a failure. Where the endpoint is compared with an artifact, which may let rows
            depend on each other by itself, it is only noted.
    """
    signature = connection.signature
    symbol = batch_symbol(signature)
    largest = max(sets, key=lambda each: each.batch or 0)
    if symbol is None or not largest.batch or largest.batch < 2 or not _led(signature, symbol):
        return Check(INVARIANCE, Outcome.SKIPPED, "not every tensor leads with a batch of two or more rows.")
    inputs = largest.case.inputs
    try:
        together = connection.predict(inputs)
        alone = [
            connection.predict({name: array[row : row + 1] for name, array in inputs.items()})
            for row in range(largest.batch)
        ]
    except ServingError as error:
        if error.code == "UNAVAILABLE":
            raise
        return Check(INVARIANCE, Outcome.FAILED if decisive else Outcome.NOTED, f"it is refused: {error.message}")
    joined = {name: np.concatenate([answer[name] for answer in alone]) for name in together}
    verdicts = tuple(judge(joined, together, names=[largest.case.name], no_reference="rows are compared"))
    failed = [v for v in verdicts if not v.passed]
    if not failed:
        return Check(INVARIANCE, Outcome.PASSED, f"{largest.batch} rows are the same alone and together.", verdicts)
    reason = f"{failed[0].output}: {failed[0].reason} Its rows depend on each other, or batching goes wrong."
    outcome = Outcome.FAILED if decisive else Outcome.NOTED
    return Check(INVARIANCE, outcome, reason, verdicts)


def _led(signature: Signature, symbol: str) -> bool:
    return all(spec.shape and spec.shape[0] == symbol for spec in (*signature.inputs, *signature.outputs))


def under_load(
    name: str,
    answers: Sequence[tuple[int, Tensors]],
    expected: Sequence[Tensors],
    decimals: Decimals | None,
    different: int,
) -> Check:
    """Compare the answers of a load with those of a calm server.

    Args:
        name: What the check is called.
        answers: Different answers, with the positions of their requests.
        expected: What a calm server answered, by that position.
        decimals: The digits that the server writes, where it writes any.
        different: How many different answers there were.
    """
    pairs = [(expected[index], found) for index, found in answers]
    if decimals is not None:
        pairs = [(wanted, decimals.within_all(found, wanted)) for wanted, found in pairs]
    labels = [f"answer {place + 1}" for place in range(len(pairs))]
    verdicts = judge([e for e, _ in pairs], [f for _, f in pairs], names=labels, no_reference="answers are compared")
    short = tuple(replace(v, cases=()) for v in verdicts)
    failed = [v for v in short if not v.passed]
    if failed:
        return Check(name, Outcome.FAILED, f"{failed[0].output}: {failed[0].reason}", short)
    several = (
        f"{len(pairs)} different ones" if len(pairs) < different else f"{len(pairs)} out of {different} different ones"
    )
    which = "every answer is" if different == 1 else f"of all answers, {several} were compared: each is"
    return Check(name, Outcome.PASSED, f"{which} the calm server's, up to rounding.", short)
