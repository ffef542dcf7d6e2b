"""Compares small models on every target with ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper

from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_signature import signature_of
from xport.errors import UnsupportedError

TARGETS = ("savedmodel", "tflite", "torch")

Feeds = Sequence[np.ndarray]
Runner = Callable[[Feeds], list[np.ndarray]]


def element_type(array: np.ndarray) -> int:
    """The ONNX element type of an array."""
    return TensorProto.STRING if array.dtype == object else helper.np_dtype_to_tensor_dtype(array.dtype)


def node_model(
    op: str,
    inputs: Sequence[np.ndarray | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    opset: int = 21,
    domain: str = "",
    outputs: int = 1,
    constants: Sequence[int] = (),
    symbolic: bool = False,
) -> onnx.ModelProto:
    """A model of one node.

    Args:
        op: The operator.
        inputs: Its inputs; None for omitted ones.
        attributes: Its attributes.
        opset: The default domain's version.
        domain: The operator's domain.
        outputs: How many outputs to take.
        constants: Positions of inputs that are initializers.
        symbolic: Whether every size of every other input is left open.
    """
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, made, domain=domain, name=op, **(attributes or {}))
    fed, known = [], []
    for i, (name, array) in enumerate(zip(names, inputs, strict=True)):
        if array is None:
            continue
        if i in constants:
            known.append(onnx.numpy_helper.from_array(array, name))
        else:
            sizes = [f"{name}_{axis}" for axis in range(array.ndim)] if symbolic else array.shape
            fed.append(helper.make_tensor_value_info(name, element_type(array), sizes))
    graph = helper.make_graph([node], "node", fed, [helper.make_empty_tensor_value_info(y) for y in made], known)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=[*opsets, helper.make_opsetid("ai.onnx.ml", 4)], ir_version=10)


def graph_model(
    nodes: Sequence[tuple[str, Sequence[str], Mapping[str, Any]]],
    inputs: Mapping[str, np.ndarray],
    *,
    opset: int = 21,
    domain: str = "",
    constants: Sequence[str] = (),
    symbolic: bool = False,
) -> onnx.ModelProto:
    """A model of many nodes side by side, so that one conversion tests them all; each has one output."""
    made = [f"y{i:03d}" for i in range(len(nodes))]
    protos = [
        helper.make_node(op, list(names), [y], name=f"{op}_{y}", domain=domain, **attributes)
        for y, (op, names, attributes) in zip(made, nodes, strict=True)
    ]
    fed = [
        helper.make_tensor_value_info(
            name, element_type(x), [f"s{x.ndim - axis}" for axis in range(x.ndim)] if symbolic else x.shape
        )
        for name, x in inputs.items()
        if name not in constants
    ]
    known = [onnx.numpy_helper.from_array(inputs[name], name) for name in constants]
    graph = helper.make_graph(protos, "nodes", fed, [helper.make_empty_tensor_value_info(y) for y in made], known)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def expected(model: onnx.ModelProto, *feeds: Feeds) -> list[list[np.ndarray]]:
    """ONNX Runtime's answers, one list a feed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [i.name for i in session.get_inputs()]
    return [list(session.run(None, dict(zip(names, feed, strict=True)))) for feed in feeds]


def declare_outputs(model: onnx.ModelProto, answers: Sequence[np.ndarray], symbolic: bool) -> None:
    """Give outputs without a type the one they have, since shape inference knows no contrib operators."""
    for value, answer in zip(model.graph.output, answers, strict=True):
        if not value.type.HasField("tensor_type"):
            sizes = [f"{value.name}_{axis}" for axis in range(answer.ndim)] if symbolic else answer.shape
            value.CopyFrom(helper.make_tensor_value_info(value.name, element_type(answer), sizes))


def check(
    model: onnx.ModelProto,
    *feeds: Feeds,
    targets: Sequence[str] = TARGETS,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    may_refuse: Sequence[str] = (),
    steps: int = 0,
) -> None:
    """Convert a model once for each target and compare every feed's outputs with ONNX Runtime's.

    Args:
        model: The model.
        *feeds: Inputs in the graph's order; several for one conversion where sizes are symbolic.
        targets: Which targets.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        may_refuse: Targets that may refuse the model with a reason.
        steps: How far integer outputs may be apart.
    """
    answers = expected(model, *feeds)
    declare_outputs(model, answers[0], symbolic=len(feeds) > 1)
    for target in targets:
        try:
            run = build(model, target)
        except UnsupportedError:
            if target in may_refuse:
                continue
            raise
        for feed, wanted in zip(feeds, answers, strict=True):
            for got, want in zip(run(feed), wanted, strict=True):
                compare(target, got, want, rtol, atol, steps)


def build(model: onnx.ModelProto, target: str) -> Runner:
    """Convert a model for one target.

    Args:
        model: The model.
        target: A target's name.

    Returns:
        What runs it: inputs in the graph's order in, outputs out.

    Raises:
        UnsupportedError: If the target cannot express it.
    """
    return _BUILDERS[target](onnx_model.infer_shapes(ir.from_proto(model)))


def compare(target: str, got: np.ndarray, want: np.ndarray, rtol: float, atol: float, steps: int = 0) -> None:
    """Compare dtype, shape and content."""
    if want.dtype == object:
        assert [_text(x) for x in got.reshape(-1)] == [_text(x) for x in want.reshape(-1)], target
        return
    assert got.dtype == want.dtype, f"{target} gives {got.dtype}, expected {want.dtype}"
    assert got.shape == want.shape, f"{target} gives {got.shape}, expected {want.shape}"
    if want.dtype.kind in "iub":
        apart = np.abs(np.subtract(got, want, dtype=object)) if steps else np.not_equal(got, want)
        assert not got.size or apart.max() <= steps, f"{target}: {got} expected {want}"
    else:
        np.testing.assert_allclose(
            got.astype(np.float64), want.astype(np.float64), rtol=rtol, atol=atol, err_msg=target
        )


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def _savedmodel(model: ir.Model) -> Runner:
    import tensorflow as tf

    from xport.convert.onnx_to_savedmodel import OnnxFunction

    function = OnnxFunction(model, signature_of(model))

    def run(feed: Feeds) -> list[np.ndarray]:
        tensors = [tf.constant(x.tolist(), tf.string, x.shape) if x.dtype == object else tf.constant(x) for x in feed]
        result = function.concrete(*tensors)
        return [np.asarray(result[key].numpy()) for key in function.output_keys]

    return run


def _tflite(model: ir.Model) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    from xport.convert.onnx_to_savedmodel import OnnxFunction
    from xport.convert.onnx_to_tflite import flatbuffer
    from xport.validate.runners.litert import read

    function = OnnxFunction(model, signature_of(model), "tflite")
    content = flatbuffer(function)

    def run(feed: Feeds) -> list[np.ndarray]:
        interpreter = Interpreter(model_content=content)
        runner = interpreter.get_signature_runner()
        taken, given = runner.get_input_details(), runner.get_output_details()
        del runner  # the interpreter allocates nothing while a runner holds it
        fed = {n: x for n, x in zip(function.input_names.values(), feed, strict=True) if n in taken}
        for name, array in fed.items():
            interpreter.resize_tensor_input(taken[name]["index"], list(array.shape))
        interpreter.allocate_tensors()
        for name, array in fed.items():
            interpreter.set_tensor(taken[name]["index"], array)
        interpreter.invoke()
        return [read(interpreter, given[name]["index"]) for name in function.output_names.values()]

    return run


def _torch(model: ir.Model) -> Runner:
    import torch

    from xport.convert.onnx_to_module import OnnxModule
    from xport.convert.primitives.torch_core import to_numpy, to_torch

    module = OnnxModule(model).eval()

    def run(feed: Feeds) -> list[np.ndarray]:
        with torch.no_grad():
            result = module(*[to_torch(x) for x in feed])
        return [to_numpy(t) for t in (result if isinstance(result, tuple) else (result,))]

    return run


def _script(model: ir.Model) -> Runner:
    """TorchScript, recorded on the first feed and run on all."""
    import torch

    from xport.convert.onnx_to_module import OnnxModule
    from xport.convert.primitives.torch_core import to_numpy, to_torch

    module, recorded = OnnxModule(model).eval(), []

    def run(feed: Feeds) -> list[np.ndarray]:
        tensors = tuple(to_torch(x) for x in feed)
        with torch.no_grad():
            if not recorded:
                recorded.append(torch.jit.trace(module, tensors, check_trace=False))
            result = recorded[0](*tensors)
        return [to_numpy(t) for t in (result if isinstance(result, tuple) else (result,))]

    return run


def _exported(model: ir.Model) -> Runner:
    """An exported program with the model's own open sizes, made on the first feed and run on all."""
    import torch

    from xport.convert.onnx_to_module import OnnxModule
    from xport.convert.primitives.torch_core import to_numpy, to_torch

    module, programs = OnnxModule(model).eval(), []
    dynamic = torch.export.Dim.DYNAMIC
    open_axes = [
        {axis: dynamic for axis, size in enumerate(value.shape or ()) if not isinstance(size, int)}
        for value in model.graph.inputs
    ]

    def run(feed: Feeds) -> list[np.ndarray]:
        tensors = tuple(to_torch(x) for x in feed)
        if not programs:
            shapes = (tuple(open_axes),) if any(open_axes) else None
            programs.append(torch.export.export(module, tensors, dynamic_shapes=shapes).module())
        with torch.no_grad():
            result = programs[0](*tensors)
        return [to_numpy(t) for t in (result if isinstance(result, (tuple, list)) else (result,))]

    return run


_BUILDERS: dict[str, Callable[[ir.Model], Runner]] = {
    "savedmodel": _savedmodel,
    "tflite": _tflite,
    "torch": _torch,
    "script": _script,
    "exported": _exported,
}
