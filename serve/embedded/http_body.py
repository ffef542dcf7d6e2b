"""A request that aiohttp has taken in."""

from __future__ import annotations

import asyncio
import zlib

from aiohttp import hdrs
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_request import BaseRequest

from xport.serve.embedded.exchange import Request, too_large, too_slow, unreadable


class HttpRequest(Request):
    """A request whose body is read within a size and a time.

    Args:
        raw: aiohttp's request.
        max_body: The most bytes of a body, decompressed.
        timeout: Seconds in which it must have arrived.
    """

    __slots__ = ("_max_body", "_raw", "_timeout")

    def __init__(self, raw: BaseRequest, *, max_body: int, timeout: float) -> None:
        path = raw.raw_path.partition("?")[0] if raw.raw_path.startswith("/") else raw.rel_url.raw_path
        super().__init__(raw.method, path, raw.headers)
        self._raw, self._max_body, self._timeout = raw, max_body, timeout

    async def body(self) -> bytes:
        """See `Request.body`."""
        length = self._raw.content_length
        if length is not None and length > self._max_body:
            raise too_large(self._max_body)
        content = self._raw.content
        try:
            if content.is_eof():  # it came with the headers, as most do
                data = content.read_nowait()
                if len(data) > self._max_body:
                    raise too_large(self._max_body)
                return data
            async with asyncio.timeout(self._timeout):
                return await self._collect()
        except TimeoutError as error:
            raise too_slow(self._timeout) from error
        except (RequestPayloadError, HttpProcessingError, zlib.error) as error:
            raise unreadable(self.headers.get(hdrs.CONTENT_ENCODING, ""), error) from error

    async def _collect(self) -> bytes:
        parts = bytearray()
        while chunk := await self._raw.content.readany():
            parts += chunk
            if len(parts) > self._max_body:
                raise too_large(self._max_body)
        return bytes(parts)
