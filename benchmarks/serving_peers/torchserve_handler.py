"""What a user of TorchServe writes to serve an ONNX model: a handler, after its documentation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime


class OnnxHandler:
    """An ONNX model on one thread, as all servers here run it."""

    def initialize(self, context) -> None:
        """Open the model that lies in the archive."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = Path(context.system_properties["model_dir"]) / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(path), options)

    def handle(self, data, context):
        """Answer the requests of a batch, each of one row."""
        bodies = [row.get("body") or row.get("data") for row in data]
        rows = [body if isinstance(body, dict) else json.loads(body) for body in bodies]
        inputs = np.array([row["instances"][0] for row in rows], np.float32)
        name = self.session.get_inputs()[0].name
        return [{"predictions": [row]} for row in self.session.run(None, {name: inputs})[0].tolist()]


_service = OnnxHandler()


def handle(data, context):
    """The entry point that TorchServe calls; the first call is made to initialise."""
    if data is None:
        return _service.initialize(context)
    return _service.handle(data, context)
