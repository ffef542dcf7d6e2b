"""Small float ONNX models to quantize, and typical inputs for them."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A graph that grows node by node; weights are drawn so that activations keep their size."""

    def __init__(self, inputs, seed=0):
        self.rng = np.random.default_rng(seed)
        self.inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *s]) for n, s in inputs.items()]
        self.nodes, self.weights = [], []

    def weight(self, name, *shape, fan_in=None):
        fan_in = fan_in or int(np.prod(shape[1:])) or 1
        return self.constant(name, self.rng.standard_normal(shape) * np.sqrt(2 / fan_in))

    def constant(self, name, array, dtype=np.float32):
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def add(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def save(self, path, output, sizes, opset=17):
        self.nodes.append(helper.make_node("Identity", [output], ["y"], "deliver"))
        graph = helper.make_graph(
            self.nodes,
            "net",
            self.inputs,
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *sizes])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.save(model, path)
        return path


def save_residual(path, seed=0):
    """A stem, a depthwise and a pointwise convolution with a skip, and a classifier of five: ``x[batch,3,12,12]``."""
    net = Net({"x": (3, 12, 12)}, seed)
    stem = net.add("Conv", ["x", net.weight("w1", 8, 3, 3, 3), net.weight("b1", 8)], "stem", pads=[1] * 4)
    stem = net.add("Relu", [stem], "relu1")
    deep = net.add("Conv", [stem, net.weight("w2", 8, 1, 3, 3)], "depthwise", pads=[1] * 4, group=8)
    deep = net.add("Relu", [deep], "relu2")
    deep = net.add("Conv", [deep, net.weight("w3", 8, 8, 1, 1), net.weight("b3", 8)], "pointwise")
    both = net.add("Relu", [net.add("Add", [stem, deep], "skip")], "relu3")
    pooled = net.add("Flatten", [net.add("MaxPool", [both], "pool", kernel_shape=[2, 2], strides=[2, 2])], "flatten")
    return net.save(
        path, net.add("Gemm", [pooled, net.weight("w4", 5, 288), net.weight("b4", 5)], "head", transB=1), [5]
    )


def save_two_inputs(path, seed=0):
    """Two inputs, joined: ``a[batch,6]``, ``b[batch,4]``."""
    net = Net({"a": (6,), "b": (4,)}, seed)
    left = net.add("MatMul", ["a", net.weight("wa", 6, 16, fan_in=6)], "left")
    right = net.add("MatMul", ["b", net.weight("wb", 4, 16, fan_in=4)], "right")
    joined = net.add("Concat", [net.add("Tanh", [left], "tanh"), net.add("Relu", [right], "relu")], "joined", axis=1)
    shifted = net.add("Add", [joined, net.weight("shift", 32)], "shifted")
    return net.save(path, net.add("MatMul", [shifted, net.weight("wo", 32, 3, fan_in=32)], "out"), [3])


def save_hostile(path, seed=0):
    """One channel of the first layer is a thousand times as large as the others, and the second layer undoes that."""
    net = Net({"x": (16,)}, seed)
    first = net.rng.standard_normal((16, 24)) * 0.3
    second = net.rng.standard_normal((24, 24)) * 0.3
    first[:, 0] *= 1000
    second[0] /= 1000
    a = net.add("Relu", [net.add("MatMul", ["x", net.constant("w1", first)], "huge")], "relu1")
    b = net.add("Relu", [net.add("MatMul", [a, net.constant("w2", second)], "tame")], "relu2")
    c = net.add("Relu", [net.add("MatMul", [b, net.weight("w3", 24, 24, fan_in=24)], "third")], "relu3")
    return net.save(path, net.add("MatMul", [c, net.weight("w4", 24, 4, fan_in=24)], "last"), [4])


def save_lstm(path, seed=0):
    """``x[batch,5,8]`` through an LSTM, its last state to three numbers."""
    net = Net({"x": (5, 8)}, seed)
    turned = net.add("Transpose", ["x"], "turn", perm=[1, 0, 2])
    w, r = (
        net.constant("w", net.rng.standard_normal((1, 64, 8)) * 0.3),
        net.constant("r", net.rng.standard_normal((1, 64, 16)) * 0.2),
    )
    net.nodes.append(helper.make_node("LSTM", [turned, w, r], ["", "h"], "lstm", hidden_size=16))
    state = net.add("Squeeze", ["h", net.constant("zero", [0], np.int64)], "state")
    return net.save(path, net.add("MatMul", [state, net.weight("wo", 16, 3, fan_in=16)], "out"), [3])


def samples(sizes, count=64, seed=5):
    """Typical inputs by name: standard normal."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((count, *shape)).astype(np.float32) for name, shape in sizes.items()}


def run(path, inputs, *, plain=False):
    """The model's first output, by ONNX Runtime; plain as the graph says, without its optimizer's own roundings."""
    options = ort.SessionOptions()
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(inputs))[0]


def sqnr(wanted, found):
    noise = float(np.mean((wanted.astype(np.float64) - found) ** 2))
    return 10 * np.log10(float(np.mean(wanted.astype(np.float64) ** 2)) / noise) if noise else np.inf
