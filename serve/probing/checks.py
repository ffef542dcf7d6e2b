"""Golden inputs over the wire, and the answers of a load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.golden import Case
from xport.serve.clients.connection import Connection
from xport.serve.probing.consistency import under_load
from xport.serve.probing.load import Load, Record
from xport.serve.probing.results import Check, Outcome
from xport.serve.protocols.decimals import Decimals
from xport.validate.parity import judge_golden

Tensors = dict[str, np.ndarray]


def golden_check(
    connection: Connection, cases: Sequence[Case], parity: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> Check:
    """Ask for an artifact's golden inputs and judge the answers by its own proof.

    Args:
        connection: The endpoint.
        cases: Golden inputs and outputs.
        parity: What the proof records of each output.
        names: The server's names by the artifact's.

    Returns:
        The check; a refusal is a failure.
    """
    name = f"golden inputs ({_way(connection)})"
    back = {theirs: own for own, theirs in names.items()}
    decimals = Decimals()
    answers: list[Tensors] = []
    try:
        for inputs, _ in cases:
            asked = {names.get(key, key): array for key, array in inputs.items()}
            answers.append({back.get(key, key): array for key, array in ask(connection, asked, decimals).items()})
    except (ServingError, KeyError) as error:
        why = error.message if isinstance(error, ServingError) else f"the artifact has no input {error}"
        return Check(name, Outcome.FAILED, f"case {len(answers) + 1} of {len(cases)} was refused: {why}")
    answers = [decimals.within_all(found, wanted) for found, (_, wanted) in zip(answers, cases, strict=True)]
    verdicts = tuple(judge_golden([expected for _, expected in cases], answers, parity))
    failed = [v for v in verdicts if not v.passed]
    if failed:
        return Check(name, Outcome.FAILED, f"{failed[0].output}: {failed[0].reason}", verdicts)
    return Check(name, Outcome.PASSED, f"{len(cases)} cases, every output as the proof says.", verdicts)


def ask(connection: Connection, inputs: Mapping[str, np.ndarray], decimals: Decimals) -> Tensors:
    """Ask once, and see with how many digits the answer is written."""
    protocol, target = connection.protocol, connection.target
    body, headers = protocol.ask(protocol.encode(target, inputs))
    if protocol.written:
        decimals.see(body)
    return protocol.decode(target, body, headers)


def load_check(load: Load, record: Record, connection: Connection, calm: Sequence[Tensors]) -> Check:
    """Compare every different answer of a load with what the calm server answered."""
    name, protocol = f"answers under {load.text}", connection.protocol
    decimals, found = Decimals(), []
    for (index, _), (body, headers) in record.answers.items():
        try:
            if protocol.written:
                decimals.see(body)
            found.append((index, protocol.decode(connection.target, body, headers)))
        except ServingError as error:
            return Check(name, Outcome.FAILED, f"an answer cannot be read: {error.message}")
    return under_load(name, found, calm, decimals, record.distinct)


def _way(connection: Connection) -> str:
    served = connection.served
    version = f", version {served.version}" if served.version else ""
    return f"{served.protocol} {served.form}{version}"
