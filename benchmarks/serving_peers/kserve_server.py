"""What a user of KServe's SDK writes to serve an ONNX model, after its documentation."""

from __future__ import annotations

import sys

import kserve
import numpy as np
import onnxruntime


class OnnxModel(kserve.Model):
    """An ONNX model on one thread, as all servers here run it."""

    def __init__(self, name: str, path: str) -> None:
        """Open the model."""
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):  # noqa: D102
        name = self.session.get_inputs()[0].name
        rows = np.array(payload["instances"], np.float32)
        return {"predictions": self.session.run(None, {name: rows})[0].tolist()}


if __name__ == "__main__":
    path, port = sys.argv[1:]
    del sys.argv[1:]  # the SDK reads them, too
    kserve.ModelServer(http_port=int(port), enable_grpc=False, workers=1).start([OnnxModel("model", path)])
