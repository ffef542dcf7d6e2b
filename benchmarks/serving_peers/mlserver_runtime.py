"""What a user of MLServer writes to serve an ONNX model: a runtime of one method, after its documentation."""

from __future__ import annotations

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """An ONNX model on one thread, as all servers here run it."""

    async def load(self) -> bool:
        """Open the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request, or a batch that MLServer has put together."""
        inputs = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        outputs = [
            NumpyCodec.encode_output(output.name, array)
            for output, array in zip(self.session.get_outputs(), self.session.run(None, inputs), strict=True)
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
