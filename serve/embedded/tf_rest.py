"""TF Serving's REST on the embedded server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from xport.serve.embedded.card import PREDICT_METHOD
from xport.serve.embedded.catalogue import Catalogue, Model
from xport.serve.embedded.exchange import Answer, Request
from xport.serve.embedded.version import State, Version
from xport.serve.protocols import json_text, tf_examples, tf_metadata, tf_predict
from xport.serve.protocols.tf_paths import Target, parse_path


class TfRest:
    """Answers what begins with ``/v1/``.

    Args:
        store: The models.
    """

    def __init__(self, store: Catalogue[Version]) -> None:
        self._store = store
        self._actions: dict[str, Callable[[Request, Target], Awaitable[bytes]]] = {
            "predict": self._predict,
            "classify": self._examples,
            "regress": self._examples,
        }

    async def handle(self, request: Request) -> Answer:
        """Answer a request.

        Raises:
            ServingError: What the client is told instead.
        """
        target = parse_path(request.method, request.path)
        if target.action in self._actions:
            return Answer(await self._actions[target.action](request, target))
        if not target.name:
            return Answer(json_text.write({"models": [self._listed(m) for m in self._store.models.values()]}))
        return Answer(json_text.write(self._metadata(target) if target.action == "metadata" else self._status(target)))

    async def _predict(self, request: Request, target: Target) -> bytes:
        body = tf_predict.read_body(json_text.parse(await request.body()))
        servable = self._store.find(target.name, target.version, target.label)
        request.note(servable)
        _, endpoint = servable.endpoint(body.signature)
        inputs = tf_predict.tensors(body, endpoint.signature)
        outputs = await servable.predict(inputs, body.signature)
        return tf_predict.answer(outputs, rows=body.rows)

    async def _examples(self, request: Request, target: Target) -> bytes:
        document = json_text.parse(await request.body())
        body = tf_examples.read_body(document)
        servable = self._store.find(target.name, target.version, target.label)
        request.note(servable)
        _, endpoint = servable.endpoint(body.signature)
        inputs = tf_examples.tensors(body, endpoint.signature, endpoint.method or PREDICT_METHOD, target.action)
        outputs = await servable.predict(inputs, body.signature)
        return tf_examples.answer(outputs, len(body.examples), target.action)

    def _metadata(self, target: Target) -> dict[str, Any]:
        servable = self._store.find(target.name, target.version, target.label)
        card = servable.card
        rows = [(name, e.signature, e.method) for name, e in card.endpoints.items()] if card else []
        return tf_metadata.metadata(servable.name, servable.version, rows)

    def _status(self, target: Target) -> dict[str, Any]:
        return {
            "model_version_status": [_row(s) for s in self._store.versions(target.name, target.version, target.label)]
        }

    def _listed(self, model: Model[Version]) -> dict[str, Any]:
        rows = [_row(s) for _, s in sorted(model.servables.items(), reverse=True)]
        return {"name": model.name, "model_version_status": rows}


def _row(servable: Version) -> dict[str, Any]:
    failed = servable.state is State.END and servable.error is not None
    message = str(servable.error) if failed else ""
    return tf_metadata.version_status(servable.version, servable.state.name, "UNKNOWN" if failed else "OK", message)
