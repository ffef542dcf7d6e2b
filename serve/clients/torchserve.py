"""TorchServe's inference API as a client speaks it: ``.npz`` or JSON, as the handler that xport packages takes it.

A handler may take and give anything; what is tried here are those forms, and answers that are bare lists. Sources:
https://docs.pytorch.org/serve/inference_api.html and management_api.html.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from xport.errors import ServingError
from xport.serve.clients.base import Description, Protocol, Request, Target, Tensors, read_json
from xport.serve.clients.tf_serving import read_outputs
from xport.serve.clients.v2 import model_names, to_json
from xport.serve.torchserve_tensors import BadRequestError, npy_bytes, read_npy, read_npz
from xport.signature import Signature


class TorchServe(Protocol):
    """TorchServe's ``/predictions``; the interface must be known otherwise, since handlers do not tell it."""

    name = "torchserve"
    forms = ("npz", "column", "row")

    @property
    def written(self) -> bool:
        """Whether answers are numbers in decimal."""
        return self.form != "npz"

    def encode(self, target: Target, inputs: Mapping[str, np.ndarray]) -> Request:
        """The request that has a model run once."""
        path = f"/predictions/{quote(target.model, safe='')}" + (f"/{target.version}" if target.version else "")
        if self.form == "npz":
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w") as archive:
                for name, array in inputs.items():
                    archive.writestr(f"{name}.npy", _npy(name, array))
            return Request("POST", path, stream.getvalue(), {"Content-Type": "application/x-npz"})
        columns = {name: to_json(array) for name, array in inputs.items()}
        document: dict[str, Any] = {"inputs": columns}
        if self.form == "row":
            document = {
                "instances": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            }
        return Request("POST", path, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def decode(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Tensors:
        """The outputs in an answer."""
        interface = self._interface()
        try:
            if body.startswith(b"PK\x03\x04"):
                return read_npz(body)
            if body.startswith(b"\x93NUMPY"):
                name = interface.outputs[0].name
                return {name: read_npy(body, name)}
        except BadRequestError as error:
            raise ServingError(f"The answer cannot be read: {error}", code="INTERNAL") from error
        found = read_json(body, "The handler")
        if not isinstance(found, dict):
            found = {"predictions": found}
        return read_outputs(found, interface, rows="predictions" in found)

    def predict(self, target: Target, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """Run a model once; see `Protocol`."""
        self._interface()
        return super().predict(target, inputs)

    def metadata(self, target: Target) -> dict[str, Any]:
        """What the management API tells, where it is on the same address."""
        found = read_json(self._send("GET", f"/models/{quote(target.model, safe='')}", None, {})[0], "The server")
        row = found[0] if isinstance(found, list) and found else found
        return row if isinstance(row, dict) else {}

    def describe(self, target: Target) -> Description:
        """What the server tells about a model: no interface, and nothing at all without the management API."""
        try:
            found = self.metadata(target)
        except ServingError:
            return Description(platform="TorchServe")
        version = found.get("modelVersion")
        return Description(None, (str(version),) if version else (), f"TorchServe, {found.get('runtime', 'python')}")

    def listing(self) -> list[str]:
        """The models, where the management API is on the same address."""
        try:
            return model_names(json.loads(self._send("GET", "/models", None, {})[0]))
        except (ServingError, ValueError):
            return []

    def _interface(self) -> Signature:
        if self.known is None:
            raise ServingError(
                "TorchServe does not tell what its models take and give.",
                "Name the model that it serves: xport probe URL --against model.onnx",
                code="FAILED_PRECONDITION",
            )
        return self.known


def _npy(name: str, array: np.ndarray) -> bytes:
    try:
        return npy_bytes((name, np.asarray(array)))
    except BadRequestError as error:
        raise ServingError(f"Input {name!r} is text, which .npy cannot hold.", "Use JSON.") from error
