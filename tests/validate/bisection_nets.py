"""A small network with one of everything that a fault needs, and bisection without child processes."""

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from xport.convert.source import Source
from xport.formats import Format
from xport.signature import Signature
from xport.validate.bisection import sides
from xport.validate.bisection.run import Question, compare
from xport.validate.bisection.tracing import run_onnx, run_wide
from xport.validate.bisection.trunk import Trunk
from xport.validate.inputs import Case
from xport.validate.matrix.matching import Matching
from xport.validate.matrix.sets import InputSet
from xport.validate.matrix.subjects import Subject
from xport.validate.parity import judge

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load_benchmark(name):
    """A module of ``benchmarks/``, which is no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


class Inline:
    """Workers that are this process."""

    def call(self, framework, function, *arguments, **options):
        module, _, name = function.partition(":")
        return getattr(importlib.import_module(module), name)(*arguments, **options)

    def replace(self, framework):
        """Nothing to end."""


def network():
    """Convolutions with padding, a normalisation, a GELU, a flatten and matrix products, 20 operators."""
    rng = np.random.default_rng(1)

    def weight(name, *shape, scale=0.3):
        return numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(np.float32), name)

    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c2", "s", "o", "m", "v"], ["n2"], name="norm2", epsilon=1e-5),
        node("Relu", ["n2"], ["r2"], name="relu2"),
        node("MaxPool", ["r2"], ["p2"], name="pool2", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p2", "w3", "b3"], ["c3"], name="conv3"),
        node("Flatten", ["c3"], ["f"], name="flat"),
        node("MatMul", ["f", "w4"], ["m4"], name="dense4"),
        node("Gelu", ["m4"], ["g4"], name="gelu4"),
        node("Gemm", ["g4", "w5", "b5"], ["m5"], name="dense5", transB=1),
        node("Tanh", ["m5"], ["t5"], name="tanh5"),
        node("MatMul", ["t5", "w6"], ["y"], name="dense6"),
    ]
    tensors = [
        *(weight("w1", 6, 3, 3, 3), weight("b1", 6), weight("w2", 8, 6, 3, 3), weight("b2", 8)),
        *(weight("s", 8), weight("o", 8), weight("m", 8), numpy_helper.from_array(rng.random(8, np.float32), "v")),
        *(weight("w3", 5, 8, 2, 2), weight("b3", 5), weight("w4", 5 * 9, 16), weight("w5", 12, 16)),
        *(weight("b5", 12), weight("w6", 12, 4)),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def images(shape=(4, 3, 8, 8), seed=0):
    return {"x": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def renamed(model, prefix="q"):
    """The same model with names that tell nothing, in another order of initializers; inputs and outputs keep theirs."""
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    names = {}

    def new(name):
        return name if name in kept or not name else names.setdefault(name, f"{prefix}{len(names)}")

    for place, node in enumerate(model.graph.node):
        node.name = f"{prefix}node{place}"
        node.input[:], node.output[:] = map(new, list(node.input)), map(new, list(node.output))
    for tensor in model.graph.initializer:
        tensor.name = new(tensor.name)
    return model


def subject(name):
    return Subject(name, Source(Format.ONNX, None, Path(name)), None, "")


def bisect(reference, other, inputs, *, answered=None, deep=True, **question):
    """Bisect two models in memory; ``answered`` are the other's outputs, if its runtime gives others than its form.

    Without ``deep`` the reference itself has no float64 result, as a SavedModel has none.
    """
    trunks = [Trunk(reference), Trunk(other)]
    outputs = [run_onnx(t.model.SerializeToString(), inputs, t.outputs) for t in trunks]
    wide = run_wide(trunks[0].model.SerializeToString(), inputs, trunks[0].outputs)
    actual = answered or outputs[1]
    known = sides.Answered(
        Signature((), ()),
        Matching({n: n for n in inputs}, {n: n for n in trunks[0].outputs}),
        InputSet(Case("test", {}, inputs), None),
        outputs[0],
        actual,
        wide if deep else None,
        "",
        tuple(judge([outputs[0]], [actual], [wide] if deep else None)),
    )
    return compare([subject("one.onnx"), subject("two.onnx")], Question(**question), known, trunks, Inline())


def copied(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
