"""Requests over HTTP/1.1, with connections that are kept and tries that are repeated."""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from xport.errors import ServingError, UsageError
from xport.serve.clients.base import Exchange
from xport.serve.protocols.status import HTTP_STATUS

CODES = {status: code for code, status in reversed(list(HTTP_STATUS.items()))}
"""The canonical code of an HTTP status."""
HTML_PAGE = "an HTML page, not the answer of an inference server"
"""What is said of an answer that is one."""
_AGAIN = (429, 502, 503)
_LONGEST_PAUSE = 10.0


class HttpTransport:
    """Sends requests to one server; may be used by several threads.

    Args:
        url: Where the server is; a path in it stands before every request's.
        headers: Sent with every request.
        timeout: Seconds for each try.
        retries: How often to try again after 429, 502, 503, a proxy's own 500 or a broken connection.
        backoff: Seconds before the second try; each later pause is twice as long, and up to half of it is chance.
        ca_file: The certificates to trust; the system's by default.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        backoff: float = 0.1,
        ca_file: str | Path | None = None,
    ) -> None:
        place = urlsplit(url if "://" in url else f"http://{url}")
        if place.scheme not in ("http", "https") or not place.hostname:
            raise UsageError(f"Malformed URL {url!r}.", "Write it like http://127.0.0.1:8501")
        self._place, self._prefix = place, place.path.rstrip("/")
        self._tls = tls_context(ca_file) if place.scheme == "https" else None
        self._headers = dict(headers or {})
        self._timeout, self._retries, self._backoff = timeout, retries, backoff
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Exchange:
        """Ask until there is an answer that another try would not change.

        Raises:
            ServingError: If the server refuses, or does not answer after all tries.
        """
        for tries_left in range(self._retries, -1, -1):
            pause = self._backoff * 2 ** (self._retries - tries_left) * random.uniform(0.75, 1.25)
            try:
                status, data, found = self._ask(method, self._prefix + path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                if not tries_left:
                    raise unreachable(error, self._place.netloc.rpartition("@")[2]) from error
            else:
                if status < 300:
                    return data, found
                if not tries_left or not _may_change(status, data):
                    raise refusal(status, data, found)
                pause = max(pause, _seconds(found.get("Retry-After")) if tries_left < self._retries else 0)
            time.sleep(min(pause, _LONGEST_PAUSE))
        raise ServingError("The server was not asked.", "retries must be 0 or more.")

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._ask_over(kept, method, path, body, headers)
            except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
                pass  # the server has closed it while it was idle, which says nothing about the request
        return self._ask_over(self._connect(), method, path, body, headers)

    def _ask_over(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> tuple[int, bytes, Mapping[str, str]]:
        try:
            connection.request(method, path, body, {**self._headers, **headers})
            response = connection.getresponse()
            data, found = response.read(), dict(response.getheaders())
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return response.status, data, found

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._place.hostname or "", self._place.port
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=self._timeout)


def tls_context(ca_file: str | Path | None) -> ssl.SSLContext:
    """What certificates are trusted.

    Raises:
        UsageError: If the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"The certificates {ca_file} cannot be read: {error}", "Name a PEM file.") from error


def unreachable(error: Exception, place: str) -> ServingError:
    """Why a server did not answer at all, in words."""
    host = place.rpartition(":")[0] or place
    what, fix = str(error) or type(error).__name__, "Is the server running? xport serve MODEL"
    if isinstance(error, socket.gaierror):
        what, fix = f"the name {host} cannot be resolved ({error.strerror})", "Check the host in the URL."
    elif isinstance(error, ssl.SSLCertVerificationError):
        what = f"its certificate is not trusted ({error.verify_message})"
        fix = "Name the authority that signed it: --ca-file ca.pem"
    elif isinstance(error, ssl.SSLError):
        what, fix = f"TLS failed ({error.reason or error})", "Does it speak plain HTTP? Write http:// then."
    elif isinstance(error, ConnectionRefusedError):
        what = "nobody listens there (connection refused)"
    elif isinstance(error, TimeoutError):
        what, fix = "it took longer than the time limit", "Give it more: --timeout 120"
    elif isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
        what, fix = "it does not speak HTTP/1.1", "For a gRPC port write grpc://HOST:PORT."
    return ServingError(f"{place} does not answer: {what}", fix, code="UNAVAILABLE")


def refusal(status: int, data: bytes, headers: Mapping[str, str]) -> ServingError:
    """An answer that is no success, as an error; an HTML page is called one."""
    try:
        found = json.loads(data)
        message = str(found.get("error") or found.get("message") or found) if isinstance(found, dict) else str(found)
    except ValueError:
        message = data[:500].decode(errors="replace").strip()
        if message.startswith("<"):
            message = HTML_PAGE
    message = message or http.client.responses.get(status, "no reason given")
    fix = ""
    if status in (401, 403):
        fix = "Give a token with --token-file FILE, or whatever header it wants with --header 'NAME: VALUE'."
    elif 300 <= status < 400:
        message = f"moved to {headers.get('Location') or headers.get('location') or 'elsewhere'}"
        fix = "Give that address."
    return ServingError(f"{status}: {message}", fix, code=CODES.get(status, "INTERNAL"))


def _may_change(status: int, data: bytes) -> bool:
    """Whether another try may go better. A 500 of plain words is a proxy's, whose server was lost under the request."""
    return status in _AGAIN or (status == 500 and data.lstrip()[:1] not in (b"{", b"["))


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isdigit() else 0.0
