"""A request and an answer as the protocols see them, whatever carries them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xport.errors import ServingError

JSON = "application/json"


@dataclass(slots=True)
class Answer:
    """What is sent back.

    Attributes:
        body: The bytes.
        content_type: What they are.
        headers: Further headers.
        status: The HTTP status.
    """

    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


class Request(ABC):
    """A request whose body is read late, within limits.

    Args:
        method: The HTTP method.
        path: The path as it was sent, without the query.
        headers: The headers, whatever their case.

    Attributes:
        method: The HTTP method.
        path: The path.
        headers: The headers.
        model: The model's name, once it is known; for metrics.
        version: The version.
    """

    __slots__ = ("headers", "method", "model", "path", "version")

    def __init__(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        self.method, self.path, self.headers = method, path, headers
        self.model = self.version = ""

    def note(self, version: Any) -> None:
        """Remember which version answers."""
        self.model, self.version = version.name, str(version.version)

    @abstractmethod
    async def body(self) -> bytes:
        """The whole body, decompressed.

        Raises:
            ServingError: If it is too large, too slow, or cannot be decompressed.
        """


def too_large(limit: int) -> ServingError:
    """The error for a body beyond the limit."""
    return ServingError(
        f"The body is larger than {limit} bytes.",
        "Send less, or start the server with a larger --max-body.",
        code="PAYLOAD_TOO_LARGE",
    )


def too_slow(seconds: float) -> ServingError:
    """The error for a body that does not come."""
    return ServingError(f"The body did not arrive within {seconds:g} s.", code="REQUEST_TIMEOUT")


def unreadable(encoding: str, error: object) -> ServingError:
    """The error for a body that is not what its headers say."""
    how = f"Content-Encoding {encoding!r}" if encoding else "its framing"
    return ServingError(f"The body cannot be read by {how}: {error}")
