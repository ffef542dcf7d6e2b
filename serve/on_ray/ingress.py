"""The ingress: the same protocols as the embedded server's, behind Ray's HTTP proxies."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xport.errors import ServingError
from xport.runtimes import require
from xport.serve.embedded.catalogue import Catalogue, Model
from xport.serve.embedded.desk import Desk
from xport.serve.embedded.exchange import Request, too_large, too_slow, unreadable
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.tf_rest import TfRest
from xport.serve.embedded.v2_rest import V2Rest
from xport.serve.embedded.version import Version
from xport.serve.on_ray.remote import RemoteVersion
from xport.serve.on_ray.spec import ModelSpec

_WINDOW_BITS: Mapping[str, int] = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's, by Content-Encoding


class Ingress:
    """Takes requests in and has the versions' replicas answer them.

    Args:
        versions: Every version with the handle of its deployment.
        options: How it behaves.
    """

    def __init__(self, versions: Sequence[tuple[ModelSpec, Any]], options: ServerOptions) -> None:
        self._options = options
        self._versions = [
            RemoteVersion(spec.name, spec.version, handle, timeout=options.timeout, max_queue=options.max_queue)
            for spec, handle in versions
        ]
        models: dict[str, Model[Version]] = {}
        for version in self._versions:
            model = models.setdefault(version.name, Model(version.name, Path(), True))
            model.servables[version.version] = version
        catalogue = Catalogue(list(models.values()), options.labels)
        self._desk = Desk([("/v1/", TfRest(catalogue).handle), ("/v2", V2Rest(catalogue).handle)])

    async def check_health(self) -> None:
        """Ray asks first when it starts: an ingress is ready when every version is."""
        for version in self._versions:
            await version.learn()

    async def __call__(self, raw: Any) -> Any:
        """Answer a request.

        Args:
            raw: Starlette's request.

        Returns:
            Starlette's response.
        """
        request = AsgiRequest(raw, max_body=self._options.max_body, timeout=self._options.body_timeout)
        answer = await self._desk.answer(request)
        headers = {"Content-Type": answer.content_type, **answer.headers}
        return require("starlette.responses").Response(answer.body, answer.status, headers)


class AsgiRequest(Request):
    """A request that came through ASGI.

    Args:
        raw: Starlette's request.
        max_body: The most bytes of a body, decompressed.
        timeout: Seconds in which it must have arrived.
    """

    __slots__ = ("_max_body", "_raw", "_timeout")

    def __init__(self, raw: Any, *, max_body: int, timeout: float) -> None:
        sent = raw.scope.get("raw_path") or raw.scope["path"].encode()
        super().__init__(raw.method, sent.partition(b"?")[0].decode("latin-1"), raw.headers)
        self._raw, self._max_body, self._timeout = raw, max_body, timeout

    async def body(self) -> bytes:
        """See `Request.body`."""
        length = self.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > self._max_body:
            raise too_large(self._max_body)
        encoding = self.headers.get("Content-Encoding", "identity").strip().lower()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._collect(encoding)
        except TimeoutError as error:
            raise too_slow(self._timeout) from error
        except zlib.error as error:
            raise unreadable(encoding, error) from error
        except require("starlette.requests").ClientDisconnect as error:
            raise unreadable("", "the client left") from error

    async def _collect(self, encoding: str) -> bytes:
        parts = bytearray()
        inflate, finished = _decoder(encoding)
        async for chunk in self._raw.stream():
            parts += inflate(chunk, self._max_body + 1 - len(parts))
            if len(parts) > self._max_body:
                raise too_large(self._max_body)
        if not finished():
            raise unreadable(encoding, "it ends early, or something stands behind its end")
        return bytes(parts)


def _decoder(encoding: str) -> tuple[Callable[[bytes, int], bytes], Callable[[], bool]]:
    """What decompresses the next bytes to at most so many, and whether all that came was well-formed."""
    if encoding in ("", "identity"):
        return lambda chunk, most: chunk, lambda: True
    if encoding not in _WINDOW_BITS:
        raise ServingError(
            f"Content-Encoding {encoding!r} is not served; use gzip or deflate.", code="UNSUPPORTED_MEDIA_TYPE"
        )
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    return inflater.decompress, lambda: inflater.eof and not inflater.unused_data
