"""TFLite's fused recurrent operators, as ONNX's own."""

from __future__ import annotations

import numpy as np

from xport.convert.importing import shaping
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tflite_registry import Call, op

# Inputs 1..4 are the weights of input, forget, cell and output gates; 5..8 the recurrent ones; 12..15 biases.
# ONNX orders gates input, output, forget, cell. Sources: tensorflow/lite/kernels/unidirectional_sequence_lstm.cc,
# https://onnx.ai/onnx/operators/onnx__LSTM.html.
_GATES = (0, 3, 1, 2)
_REFUSED = {9: "peepholes", 10: "peepholes", 11: "peepholes", 16: "a projection", 17: "a projection"}
_REFUSED |= dict.fromkeys((20, 21, 22, 23), "layer normalization")


@op("UNIDIRECTIONAL_SEQUENCE_LSTM")
def _lstm(c: Call) -> Tensor:
    for i, what in _REFUSED.items():
        if c.maybe(i) is not None:
            raise c.refuse(f"{what} are not read")
    if c.reader.file.activations.get(c.option("fusedActivationFunction")) != "TANH" or c.option("cellClip"):
        raise c.refuse("only the plain cell with tanh is read")
    if c.maybe(1) is None:
        raise c.refuse("coupled gates are not read")
    x = c.x if c.option("timeMajor", False) else c.w.transpose(c.x, (1, 0, 2))
    weights = [np.concatenate([_known(c, first + g) for g in _GATES])[None] for first in (1, 5)]
    bias = np.concatenate([_known(c, 12 + g) for g in _GATES])
    whole = np.concatenate([bias, np.zeros_like(bias)])[None]
    hidden = int(weights[1].shape[2])
    inputs = [c.w.value(x), *(c.w.value(constant(a)) for a in (*weights, whole))]
    value = c.w.emit("LSTM", inputs, [c.x.dtype], {"hidden_size": hidden})[0]
    dims = x.dims or (c.w.fresh(), c.w.fresh(), 0)
    made = shaping.squeeze(c.w, Tensor(c.x.dtype, (dims[0], 1, dims[1], hidden), value), [1])
    return made if c.option("timeMajor", False) else c.w.transpose(made, (1, 0, 2))


def _known(c: Call, i: int) -> np.ndarray:
    tensor = c.graph.tensors[c.op.inputs[i]]
    grid = c.reader.file.quantization(tensor)
    array: np.ndarray = c.reader.file.array(tensor)
    if grid is None:
        return array.astype(np.float32)
    real: np.ndarray = (array.astype(np.int64) - grid.zero.reshape(-1)[0]) * grid.scale.reshape(-1)[0]
    return real.astype(np.float32)
