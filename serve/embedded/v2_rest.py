"""The open inference protocol (V2) over HTTP on the embedded server.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from xport import __version__
from xport.errors import ServingError
from xport.serve.embedded.catalogue import Catalogue
from xport.serve.embedded.exchange import Answer, Request
from xport.serve.embedded.version import State, Version
from xport.serve.protocols import v2_infer, v2_tensors
from xport.serve.protocols.json_text import write

EXTENSIONS = ("binary_tensor_data",)
"""The extensions of the protocol that are served."""
PLATFORMS = {
    "onnx": "onnxruntime_onnx",
    "savedmodel": "tensorflow_savedmodel",
    "torchscript": "pytorch_torchscript",
    "exported": "pytorch_exported",
    "tflite": "litert_tflite",
}
"""What metadata calls the runtime of a format."""
_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(infer|ready))?/?")


class V2Rest:
    """Answers what begins with ``/v2``.

    Args:
        store: The models.
    """

    def __init__(self, store: Catalogue[Version]) -> None:
        self._store = store

    async def handle(self, request: Request) -> Answer:
        """Answer a request.

        Raises:
            ServingError: What the client is told instead.
        """
        match = _PATH.fullmatch(request.path)
        if match is None:
            return self._server(request)
        name, version, action = unquote(match[1]), unquote(match[2] or ""), match[3] or "metadata"
        wanted = "POST" if action == "infer" else "GET"
        if request.method != wanted:
            raise ServingError(f"{request.path} takes {wanted}, not {request.method}.", code="METHOD_NOT_ALLOWED")
        servable = find(self._store, name, version)
        if action == "infer":
            return await self._infer(request, servable)
        return Answer(write({"name": name, "ready": True} if action == "ready" else metadata(self._store, servable)))

    def _server(self, request: Request) -> Answer:
        answers: dict[str, dict[str, object]] = {
            "/v2": {"name": "xport", "version": __version__, "extensions": EXTENSIONS},
            "/v2/health/live": {"live": True},
            "/v2/health/ready": {"ready": is_ready(self._store)},
        }
        path = request.path.rstrip("/")
        if path not in answers:
            raise ServingError(f"There is no {request.path}.", code="NOT_FOUND")
        if request.method not in ("GET", "HEAD"):
            raise ServingError(f"{path} takes GET, not {request.method}.", code="METHOD_NOT_ALLOWED")
        return Answer(write(answers[path]), status=503 if answers[path].get("ready") is False else 200)

    async def _infer(self, request: Request, servable: Version) -> Answer:
        request.note(servable)
        length = request.headers.get(v2_tensors.LENGTH_HEADER)
        body = v2_infer.read_body(await request.body(), length)
        _, endpoint = servable.endpoint()
        asked = v2_infer.wanted(body.document, endpoint.signature)
        outputs = await servable.predict(v2_infer.tensors(body, endpoint.signature))
        request_id = body.document.get("id", "")
        data, size = v2_infer.answer(outputs, asked, servable.name, servable.version, request_id)
        if size is None:
            return Answer(data)
        return Answer(data, "application/octet-stream", {v2_tensors.LENGTH_HEADER: str(size)})


def find(store: Catalogue[Version], name: str, version: str) -> Version:
    """A version as V2 names it, where the empty text is the latest.

    Raises:
        ServingError: If there is none.
    """
    if version and not (version.isascii() and version.isdigit()):
        raise ServingError(f"There is no version {version!r} of {name!r}.", code="NOT_FOUND")
    try:
        return store.find(name, int(version) if version else None)
    except ServingError as error:
        which = f"version {version} of model {name!r}" if version else f"model {name!r}"
        raise ServingError(f"There is no {which} that takes requests.", code=error.code) from error


def is_ready(store: Catalogue[Version]) -> bool:
    """Whether every model has a version that takes requests."""
    return all(model.latest is not None for model in store.models.values())


def metadata(store: Catalogue[Version], servable: Version) -> dict[str, object]:
    """The metadata of a version."""
    _, endpoint = servable.endpoint()
    servables = store.models[servable.name].servables
    return {
        "name": servable.name,
        "versions": [str(n) for n in sorted(servables) if servables[n].state is State.AVAILABLE],
        "platform": PLATFORMS.get(servable.card.format, servable.card.format) if servable.card else "",
        "inputs": v2_tensors.specs(endpoint.signature.inputs),
        "outputs": v2_tensors.specs(endpoint.signature.outputs),
    }
