"""In how many ways a served model can be asked: forms of its protocol, gRPC, versions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from xport.errors import ServingError, UsageError
from xport.serve.clients.address import Served
from xport.serve.clients.connection import HTTP_PROTOCOLS, Connection
from xport.signature import Signature, numpy_dtype
from xport.validate.inputs import batch_symbol, cases, settings

_JSON_KINDS = "biufO"
_FINAL = ("UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "UNAVAILABLE")
_UNAUTHORIZED = re.compile(r"token|authori[sz]", re.IGNORECASE)  # TorchServe tells it with a 400


def settled(served: Served) -> Connection:
    """A connection in the first form that the server answers.

    TorchServe's handlers do not tell their forms, and KServe's V1 has row form only.

    Raises:
        ServingError: If it answers in none.
    """
    connection = Connection(served)
    if served.form or served.over_grpc:
        return connection
    if connection.description.platform == "KServe V1":
        return _again(connection, "row")
    return _tried(connection) if connection.served.protocol == "torchserve" else connection


def _again(connection: Connection, form: str) -> Connection:
    connection.close()
    return Connection(replace(connection.served, form=form))


def _tried(connection: Connection) -> Connection:
    (case,) = cases(connection.signature, sizes=settings(connection.signature)[0][:1])
    refused: ServingError | None = None
    for form in connection.protocol.forms:
        connection = _again(connection, form)
        try:
            connection.predict(case.inputs)
            return connection
        except ServingError as error:
            if error.code in _FINAL or _UNAUTHORIZED.search(error.message):
                names = connection.protocol.listing() if error.code == "NOT_FOUND" else []
                connection.close()
                if error.code == "NOT_FOUND":
                    there = f" It has {', '.join(names)}." if names else ""
                    raise UsageError(f"{error.message}.{there}", "Name the model with --model NAME.") from error
                raise
            refused = refused or error
    # No form fits these inputs; others may. What was said first is about the form that loses nothing.
    return _again(connection, connection.protocol.forms[0])


def other_ways(
    connection: Connection, over_grpc: Served | None, versions: Sequence[str]
) -> tuple[list[Served], list[str]]:
    """Every other way in which the model can be asked.

    Args:
        connection: The way that is known.
        over_grpc: The same server over gRPC; None if it is not asked there.
        versions: Other versions that must be the same model.

    Returns:
        The ways, and what a reader should know of those that are left out.
    """
    main = connection.served
    ways, notes = [], []
    for form in HTTP_PROTOCOLS[main.protocol].forms if not main.over_grpc else ():
        why = _unfit(connection, form)
        if why:
            notes.append(f"It is not asked in the form {form}: {why}.")
        elif form != main.form:
            ways.append(replace(main, form=form))
    if over_grpc is not None:
        same = replace(
            over_grpc, protocol=main.protocol, model=main.model, version=main.version, interface=main.interface
        )
        with Connection(same) as found:
            ways.append(found.served)
    ways += [replace(main, version=version) for version in versions]
    return ways, notes


def _unfit(connection: Connection, form: str) -> str:
    """Why a form cannot be taken; empty if it can."""
    signature, platform = connection.signature, connection.description.platform
    if connection.served.form == form:
        return ""
    if form == "binary":
        return "the server does not announce raw tensors"
    if platform == "KServe V1":
        return "KServe's V1 has rows only"
    if connection.served.protocol == "torchserve" and not _answers(connection, form):
        return "the handler does not take it"
    if form == "row" and not _has_rows(signature):
        return "not every tensor leads with the batch"
    if form in ("json", "column", "row"):
        unfit = [
            s for s in (*signature.inputs, *signature.outputs) if not _in_json(s.dtype, connection.served.protocol)
        ]
        return f"JSON cannot carry {unfit[0]}" if unfit else ""
    return ""


def _answers(connection: Connection, form: str) -> bool:
    (case,) = cases(connection.signature, sizes=settings(connection.signature)[0][:1])
    try:
        with Connection(replace(connection.served, form=form)) as other:
            other.predict(case.inputs)
    except ServingError:
        return False
    return True


def _has_rows(signature: Signature) -> bool:
    symbol = batch_symbol(signature)
    return symbol is not None and all(
        spec.shape and spec.shape[0] == symbol for spec in (*signature.inputs, *signature.outputs)
    )


def _in_json(dtype: str, protocol: str) -> bool:
    """TF Serving refuses half in JSON; V2's JSON has no bfloat16."""
    if dtype == "float16":
        return protocol != "tf-serving"
    return numpy_dtype(dtype).kind in _JSON_KINDS
