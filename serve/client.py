"""A client with numpy in and out, for this server and for others of the same protocols."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from xport.errors import ServingError, UsageError
from xport.serve.clients.base import Protocol, Target
from xport.serve.clients.http import HttpTransport
from xport.serve.clients.tf_serving import TfServing
from xport.serve.clients.v2 import V2

PROTOCOLS: Mapping[str, type[Protocol]] = {"v2": V2, "tf-serving": TfServing}
"""The protocol by its name."""


class Client:
    """Asks a server for predictions. One client may be used by several threads.

    Args:
        url: Where the server is, for example ``http://127.0.0.1:8501``.
        model: The model's name; may be left out where `predict` names it, or the server has only one.
        version: Its version; the latest by default.
        protocol: ``v2`` (raw tensors), ``tf-serving`` (JSON), or ``auto``, which asks the server.
        token: A bearer token.
        timeout: Seconds for each try.
        retries: How often to try again after 429, 502, 503, a proxy's own 500 or a broken connection.
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
        if protocol not in ("auto", *PROTOCOLS):
            raise UsageError(f"Unknown protocol {protocol!r}.", f"Use auto, {', '.join(PROTOCOLS)}.")
        self._http = HttpTransport(
            url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout,
            retries=retries,
            backoff=backoff,
            ca_file=ca_file,
        )
        self._model, self._version = model, version
        self._protocol: Protocol | None = None if protocol == "auto" else PROTOCOLS[protocol](self._http.exchange)

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
        return self._speaks().predict(self._target(model, version or self._version), arrays)

    def metadata(self, model: str | None = None) -> dict[str, Any]:
        """What the server tells about a model, in the words of its protocol.

        Raises:
            ServingError: If the server refuses.
        """
        return self._speaks().metadata(self._target(model, self._version))

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _speaks(self) -> Protocol:
        if self._protocol is None:
            try:
                self._http.exchange("GET", "/v2", None, {})
                self._protocol = PROTOCOLS["v2"](self._http.exchange)
            except ServingError as error:
                if error.code not in ("NOT_FOUND", "INVALID_ARGUMENT", "METHOD_NOT_ALLOWED"):
                    raise
                self._protocol = PROTOCOLS["tf-serving"](self._http.exchange)
        return self._protocol

    def _target(self, model: str | None, version: int | None) -> Target:
        if model is None and self._model is None:
            listed = json.loads(self._http.exchange("GET", "/v1/models", None, {})[0]).get("models", [])
            if len(listed) != 1:
                names = ", ".join(row["name"] for row in listed) or "none"
                raise UsageError(f"The server has several models or none: {names}.", "Name one: Client(url, 'name')")
            self._model = listed[0]["name"]
        return Target(model or self._model or "", str(version) if version is not None else "")
