"""A connection to a served model: the protocol is found out, the model described, requests go one way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from xport.errors import ServingError, UsageError
from xport.serve.clients.address import Served
from xport.serve.clients.base import Description, Protocol, Send, Target, read_json
from xport.serve.clients.grpc import GrpcTransport
from xport.serve.clients.http import HTML_PAGE, HttpTransport
from xport.serve.clients.interface import merged
from xport.serve.clients.tf_serving import TfServing, TfServingGrpc
from xport.serve.clients.torchserve import TorchServe
from xport.serve.clients.v2 import BINARY, V2, V2Grpc
from xport.signature import Signature

HTTP_PROTOCOLS: Mapping[str, type[Protocol]] = {each.name: each for each in (V2, TfServing, TorchServe)}
"""What is spoken over HTTP, by name."""
GRPC_PROTOCOLS: Mapping[str, type[Protocol]] = {each.name: each for each in (V2Grpc, TfServingGrpc)}
"""What is spoken over gRPC, by name."""

_ELSEWHERE = ("NOT_FOUND", "INVALID_ARGUMENT", "METHOD_NOT_ALLOWED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE")
"""The codes of an answer that tells only that another protocol is spoken."""


class Connection:
    """A served model that can be asked.

    Args:
        served: Where it is. Protocol, form and model are found out where they are not given.

    Attributes:
        served: The same with everything that was found out.
        protocol: What is spoken.
        target: The model, as requests name it.
        description: What the server tells.
        signature: The interface: as the server tells it, with the order and the words of ``served.interface``.

    Raises:
        ServingError: If nobody answers, or nothing that xport speaks.
        UsageError: If the server has no such model, or nobody says what it takes.
    """

    def __init__(self, served: Served) -> None:
        transport = _transport(served)
        self._transport = transport
        try:
            self.protocol = _protocol(served, transport.exchange)
            model = served.model or _only_model(self.protocol)
            self.target = Target(model, served.version, served.label, served.signature)
            self.description = _described(self.protocol, self.target)
            self.signature = self._interface(served)
            self.protocol.known = self.signature
            self.served = replace(served, protocol=self.protocol.name, form=self.protocol.form, model=model)
        except BaseException:
            self.close()
            raise

    def _interface(self, served: Served) -> Signature:
        found = merged(self.description.signature, served.interface)
        if found is None:
            raise UsageError(
                f"{served.name} does not tell what its model takes and gives.",
                "Name the model that it should be: xport probe URL --against model.onnx",
            )
        return found

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Have the model run once; outputs in the interface's order.

        Raises:
            ServingError: If the server refuses or does not answer.
        """
        found = self.protocol.predict(self.target, {spec.name: inputs[spec.name] for spec in self.signature.inputs})
        order = {spec.name: place for place, spec in enumerate(self.signature.outputs)}
        return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _transport(served: Served) -> HttpTransport | GrpcTransport:
    options = {"headers": dict(served.headers), "timeout": served.timeout, "ca_file": served.ca_file or None}
    if served.over_grpc:
        return GrpcTransport(served.url, **options)  # type: ignore[arg-type]
    return HttpTransport(served.url, retries=0, **options)  # type: ignore[arg-type]


def _protocol(served: Served, send: Send) -> Protocol:
    """The protocol that is asked for, or the one that the server speaks."""
    known = GRPC_PROTOCOLS if served.over_grpc else HTTP_PROTOCOLS
    name = served.protocol
    if name == "auto":
        name = _spoken_grpc(send, served) if served.over_grpc else _spoken(send, served)
    if name not in known:
        how = "over gRPC" if served.over_grpc else "over HTTP"
        raise UsageError(f"xport does not speak {name!r} {how}.", f"Use one of {', '.join(known)}.")
    if served.form and served.form not in known[name].forms:
        raise UsageError(f"{name} has no form {served.form!r}.", f"Use one of {', '.join(known[name].forms)}.")
    form = served.form
    if name == "v2" and not served.over_grpc and not form:
        form = "binary" if _takes_binary(send) else "json"
    return known[name](send, form=form)


def _takes_binary(send: Send) -> bool:
    try:
        return BINARY in V2(send).extensions()
    except ServingError as error:
        if error.code not in _ELSEWHERE:
            raise
        return False


def _spoken(send: Send, served: Served) -> str:
    """The protocol of an HTTP server: each is asked for something that only it answers."""
    said: list[str] = []

    def answers(path: str, fits: Callable[[object], bool]) -> bool:
        try:
            return fits(read_json(send("GET", path, None, {})[0], path))
        except ServingError as error:
            if error.code not in _ELSEWHERE or "does not answer" in error.message:
                raise
            said.append(f"GET {path}: {error.message}")
            return "Malformed request: GET /v1/models" in error.message  # TF Serving, which has no list

    if answers("/v2", lambda found: isinstance(found, dict) and ("name" in found or "extensions" in found)):
        return "v2"
    path = f"/v1/models/{served.model}" if served.model else "/v1/models"
    words = ("model_version_status", "ready", "models", "error")
    if any(
        answers(each, lambda found: isinstance(found, dict) and any(word in found for word in words))
        for each in dict.fromkeys((path, "/v1/models"))
    ):
        return "tf-serving"
    if answers("/ping", lambda found: isinstance(found, dict) and "status" in found):
        return "torchserve"
    raise ServingError(
        f"{served.url} speaks neither V2 nor TF Serving's protocol nor TorchServe's.\n" + "\n".join(said),
        "If a prefix stands before the protocol's paths, write it into the URL; --protocol says which one it is.",
        code="FAILED_PRECONDITION",
    )


def _spoken_grpc(send: Send, served: Served) -> str:
    from xport.serve.protocols.v2_protos import inference

    try:
        send(
            "POST", "/inference.GRPCInferenceService/ServerLive", inference.ServerLiveRequest().SerializeToString(), {}
        )
    except ServingError as error:
        if error.code != "UNIMPLEMENTED":
            raise
        return "tf-serving"
    return "v2"


def _only_model(protocol: Protocol) -> str:
    names = protocol.listing()
    if len(names) == 1:
        return names[0]
    told = f"The server has several models: {', '.join(names)}." if names else "The server does not list its models."
    raise UsageError(told, "Name one with --model NAME, or in the URL.")


def _described(protocol: Protocol, target: Target) -> Description:
    """What the server tells; an unknown model is told together with those that are there."""
    try:
        return protocol.describe(target)
    except ServingError as error:
        if error.code not in ("NOT_FOUND", "INVALID_ARGUMENT") or HTML_PAGE in error.message:
            raise
        names = protocol.listing()
        if target.model in names:
            raise
        there = f"It has {', '.join(names)}." if names else "It does not list its models."
        raise UsageError(
            f"The server has no model {target.model!r}: {error.message.rstrip('.')}. {there}",
            f"Name it with --model {names[0] if names else 'NAME'}.",
        ) from error
