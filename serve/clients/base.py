"""What all client protocols share: a request is made apart from being sent, so that a load can send it many times."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from xport.errors import ServingError
from xport.signature import Signature

Exchange = tuple[bytes, Mapping[str, str]]
"""The body and the headers of an answer."""
Send = Callable[[str, str, bytes | None, Mapping[str, str]], Exchange]
"""Sends method, path, body and headers; over gRPC the path is that of the method."""
Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Target:
    """What a request is for.

    Attributes:
        model: The model's name.
        version: Its version; the server's choice where it is empty.
        label: A label of TF Serving in place of a version.
        signature: A signature of TF Serving; its default one where it is empty.
    """

    model: str
    version: str = ""
    label: str = ""
    signature: str = ""


@dataclass(frozen=True)
class Request:
    """A request that can be sent, any number of times."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """What a server tells about a model.

    Attributes:
        signature: Its inputs and outputs; None where the protocol does not tell.
        versions: Those that take requests, as far as the server tells.
        platform: What the server calls its runtime.
    """

    signature: Signature | None = None
    versions: tuple[str, ...] = ()
    platform: str = ""


class Protocol(ABC):
    """A protocol over a way to send requests.

    Args:
        send: Sends method, path, body and headers.
        form: One of `forms`; the first by default.

    Attributes:
        name: What ``--protocol`` calls it.
        forms: The ways in which it can write the same request.
        written: Whether answers are numbers in decimal.
        known: The model's interface, for servers that do not tell it.
    """

    name: ClassVar[str]
    forms: ClassVar[tuple[str, ...]]

    def __init__(self, send: Send, *, form: str = "") -> None:
        self._send = send
        self.form = form or self.forms[0]
        self.known: Signature | None = None

    @property
    def written(self) -> bool:
        """Whether answers are numbers in decimal."""
        return False

    @abstractmethod
    def encode(self, target: Target, inputs: Mapping[str, np.ndarray]) -> Request:
        """The request that has a model run once."""

    @abstractmethod
    def decode(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Tensors:
        """The outputs in an answer.

        Raises:
            ServingError: If it is no answer of this protocol.
        """

    @abstractmethod
    def metadata(self, target: Target) -> dict[str, Any]:
        """What the server tells about a model, in the words of the protocol."""

    @abstractmethod
    def describe(self, target: Target) -> Description:
        """What the server tells about a model."""

    def listing(self) -> list[str]:
        """The models of the server; none where it does not tell."""
        return []

    def predict(self, target: Target, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """Run a model once."""
        return self.decode(target, *self.ask(self.encode(target, inputs)))

    def ask(self, request: Request) -> Exchange:
        """Send a request."""
        return self._send(request.method, request.path, request.body, request.headers)


def read_json(body: bytes, what: str) -> Any:
    """A body as JSON.

    Raises:
        ServingError: If it is none; HTML is called by its name.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        shown = body[:80].decode(errors="replace").strip()
        kind = "an HTML page" if shown.startswith("<") else f"{shown!r}" if shown else "nothing"
        raise ServingError(
            f"{what} answers {kind} where JSON is expected.",
            "Is this the address of an inference server, and not of a page or a proxy in front of it?",
            code="INTERNAL",
        ) from error


def read_object(body: bytes, what: str) -> dict[str, Any]:
    """A body as a JSON object.

    Raises:
        ServingError: If it is none.
    """
    found = read_json(body, what)
    if not isinstance(found, dict):
        raise ServingError(f"{what} answers {type(found).__name__}, expected a JSON object.", code="INTERNAL")
    return found


def read_message(kind: Any, body: bytes) -> Any:
    """A message of gRPC.

    Raises:
        ServingError: If the bytes are none of that kind.
    """
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise ServingError(f"The server answers no {kind.DESCRIPTOR.name}: {error}", code="INTERNAL") from error


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case."""
    return {key.lower(): value for key, value in headers.items()}
