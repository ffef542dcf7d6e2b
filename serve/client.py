"""A client with numpy in and out, for this server and for others of the same protocols."""

from __future__ import annotations

import http.client
import json
import random
import ssl
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import numpy as np

from xport.errors import ServingError, UsageError
from xport.serve.client_protocols import PROTOCOLS, Exchange, Protocol
from xport.serve.protocols.status import HTTP_STATUS

_CODES = {status: code for code, status in reversed(list(HTTP_STATUS.items()))}
_AGAIN = (429, 503)
_LONGEST_PAUSE = 10.0


class Client:
    """Asks a server for predictions. One client may be used by several threads.

    Args:
        url: Where the server is, for example ``http://127.0.0.1:8501``.
        model: The model's name; may be left out where `predict` names it, or the server has only one.
        version: Its version; the latest by default.
        protocol: ``v2`` (raw tensors), ``tf-serving`` (JSON), or ``auto``, which asks the server.
        token: A bearer token.
        timeout: Seconds for each try.
        retries: How often to try again after 429, 503 or a broken connection.
        backoff: Seconds before the second try; each later pause is twice as long, and up to half of it is chance.
        ca_file: The certificates to trust; the system's by default.

    Example:
        >>> with xport.Client("http://127.0.0.1:8501", "digits") as model:  # doctest: +SKIP
        ...     model({"x": np.zeros((1, 64), np.float32)})["logits"]
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        version: int | None = None,
        protocol: str = "auto",
        token: str | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        backoff: float = 0.1,
        ca_file: str | Path | None = None,
    ) -> None:
        place = urlsplit(url if "://" in url else f"http://{url}")
        if place.scheme not in ("http", "https") or not place.hostname:
            raise UsageError(f"Malformed URL {url!r}.", "Write it like http://127.0.0.1:8501")
        if protocol not in ("auto", *PROTOCOLS):
            raise UsageError(f"Unknown protocol {protocol!r}.", f"Use auto, {', '.join(PROTOCOLS)}.")
        self._place, self._prefix = place, place.path.rstrip("/")
        self._tls = ssl.create_default_context(cafile=ca_file) if place.scheme == "https" else None
        self._model, self._version = model, version
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout, self._retries, self._backoff = timeout, retries, backoff
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._protocol: Protocol | None = None if protocol == "auto" else PROTOCOLS[protocol](self._exchange)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict with the client's model; see `predict`."""
        return self.predict(inputs)

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, model: str | None = None, version: int | None = None
    ) -> dict[str, np.ndarray]:
        """Have a model run once.

        Args:
            inputs: Arrays by input name.
            model: Another model than the client's.
            version: Another version than the client's.

        Returns:
            Arrays by output name, with the dtypes that the model declares.

        Raises:
            ServingError: If the server refuses, or does not answer after all tries.
        """
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        return self._speaks().predict(self._name(model), version or self._version, arrays)

    def metadata(self, model: str | None = None) -> dict[str, Any]:
        """What the server tells about a model, in the words of its protocol.

        Raises:
            ServingError: If the server refuses.
        """
        return self._speaks().metadata(self._name(model), self._version)

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _speaks(self) -> Protocol:
        if self._protocol is None:
            try:
                self._exchange("GET", "/v2", None, {})
                self._protocol = PROTOCOLS["v2"](self._exchange)
            except ServingError as error:
                if error.code not in ("NOT_FOUND", "INVALID_ARGUMENT", "METHOD_NOT_ALLOWED"):
                    raise
                self._protocol = PROTOCOLS["tf-serving"](self._exchange)
        return self._protocol

    def _name(self, model: str | None) -> str:
        if model is None and self._model is None:
            listed = json.loads(self._exchange("GET", "/v1/models", None, {})[0]).get("models", [])
            if len(listed) != 1:
                names = ", ".join(row["name"] for row in listed) or "none"
                raise UsageError(f"The server has several models or none: {names}.", "Name one: Client(url, 'name')")
            self._model = listed[0]["name"]
        return quote(model or self._model or "", safe="")

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Exchange:
        """Ask until there is an answer that another try would not change."""
        for tries_left in range(self._retries, -1, -1):
            pause = self._backoff * 2 ** (self._retries - tries_left) * random.uniform(0.75, 1.25)
            try:
                status, data, found = self._ask(method, self._prefix + path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                if not tries_left:
                    raise ServingError(
                        f"{self._place.netloc} does not answer: {error or type(error).__name__}",
                        "Is the server running? xport serve MODEL",
                        code="UNAVAILABLE",
                    ) from error
            else:
                if status < 400:
                    return data, found
                if status not in _AGAIN or not tries_left:
                    raise _refusal(status, data)
                pause = max(pause, _seconds(found.get("Retry-After")) if tries_left < self._retries else 0)
            time.sleep(min(pause, _LONGEST_PAUSE))
        raise ServingError("The server was not asked.", "retries must be 0 or more.")

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        with self._lock:
            connection = self._idle.pop() if self._idle else self._connect()
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


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isdigit() else 0.0


def _refusal(status: int, data: bytes) -> ServingError:
    try:
        message = str(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        message = data[:500].decode(errors="replace") or http.client.responses.get(status, "no reason given")
    return ServingError(f"{status}: {message}", code=_CODES.get(status, "INTERNAL"))
