"""ONNX models of a few numbers, for tests that need a real file and no time."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_tiny(path, *, scale=1.0, names=("x", "y"), batch="batch"):
    """``y = tanh(x @ w)`` with x of four features and y of three."""
    weights = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32) * np.float32(scale)
    given, result = names
    graph = helper.make_graph(
        [helper.make_node("MatMul", [given, "w"], ["h"], name="mm"), helper.make_node("Tanh", ["h"], [result])],
        "tiny",
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
