"""A request and an answer as the protocols see them: the body is read late, within a size and a time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import hdrs
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_request import BaseRequest

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


class Request:
    """A request whose body is read within limits.

    Args:
        raw: aiohttp's request.
        max_body: The most bytes of a body, decompressed.
        timeout: Seconds in which it must have arrived.

    Attributes:
        method: The HTTP method.
        path: The path as it was sent, without the query.
        headers: The headers, whatever their case.
        model: The model's name, once it is known; for metrics.
        version: The version.
    """

    __slots__ = ("_max_body", "_raw", "_timeout", "headers", "method", "model", "path", "version")

    def __init__(self, raw: BaseRequest, *, max_body: int, timeout: float) -> None:
        self._raw, self._max_body, self._timeout = raw, max_body, timeout
        self.method = raw.method
        self.path = raw.raw_path.partition("?")[0] if raw.raw_path.startswith("/") else raw.rel_url.raw_path
        self.headers: Mapping[str, str] = raw.headers
        self.model = self.version = ""

    def note(self, servable: Any) -> None:
        """Remember which version answers."""
        self.model, self.version = servable.name, str(servable.version)

    async def body(self) -> bytes:
        """The whole body, decompressed.

        Raises:
            ServingError: If it is too large, too slow, or cannot be decompressed.
        """
        length = self._raw.content_length
        if length is not None and length > self._max_body:
            raise self._too_large()
        content = self._raw.content
        try:
            if content.is_eof():  # it came with the headers, as most do
                data = content.read_nowait()
                if len(data) > self._max_body:
                    raise self._too_large()
                return data
            async with asyncio.timeout(self._timeout):
                return await self._collect()
        except TimeoutError as error:
            raise ServingError(
                f"The body did not arrive within {self._timeout:g} s.", code="REQUEST_TIMEOUT"
            ) from error
        except (RequestPayloadError, HttpProcessingError, zlib.error) as error:
            encoding = self.headers.get(hdrs.CONTENT_ENCODING, "")
            how = f"Content-Encoding {encoding!r}" if encoding else "its framing"
            raise ServingError(f"The body cannot be read by {how}: {error}") from error

    async def _collect(self) -> bytes:
        parts = bytearray()
        while chunk := await self._raw.content.readany():
            parts += chunk
            if len(parts) > self._max_body:
                raise self._too_large()
        return bytes(parts)

    def _too_large(self) -> ServingError:
        return ServingError(
            f"The body is larger than {self._max_body} bytes.",
            "Send less, or start the server with a larger --max-body.",
            code="PAYLOAD_TOO_LARGE",
        )
