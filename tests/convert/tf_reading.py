"""Runs TensorFlow functions, and what xport's reader of TensorFlow graphs writes of them, side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnx_ir as ir
import onnxruntime
import tensorflow as tf

from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_graph import GraphReader
from xport.convert.importing.writer import Writer
from xport.convert.onnx_cleanup import clean
from xport.signature import dtype_name

Function = Callable[..., Any]
Feeds = Sequence[np.ndarray]
ROUNDING = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 4e-6, "float64": 1e-13}
"""What the largest magnitude of an output is multiplied by to give the error that rounding may make."""


def read(
    function: Function, feeds: Feeds, dynamic: Mapping[int, Sequence[int]] | None = None
) -> tuple[ir.Model, list[Callable[[Feeds], list[np.ndarray]]]]:
    """Trace a function and read its graph.

    Args:
        function: Takes tensors and gives a tensor or several.
        feeds: Arrays with the dtypes and sizes of its arguments.
        dynamic: The axes of each argument whose size is left open; by default the first one of each.

    Returns:
        The ONNX model, and what runs the graph in TensorFlow and in ONNX Runtime.
    """
    shapes: list[list[int | None]] = [list(x.shape) for x in feeds]
    for i, shape in enumerate(shapes):
        for axis in dynamic.get(i, ()) if dynamic is not None else ([0] if shape else []):
            shape[axis] = None
    given = [
        tf.TensorSpec(shape, dtype_name(x.dtype), name=f"x{i}")
        for i, (x, shape) in enumerate(zip(feeds, shapes, strict=True))
    ]
    concrete = tf.function(function, input_signature=given, autograph=False).get_concrete_function()
    model = _onnx(concrete, len(feeds))
    runner = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])

    def theirs(arrays: Feeds) -> list[np.ndarray]:
        return [a.numpy() for a in tf.nest.flatten(concrete(*(tf.constant(a) for a in arrays)))]

    def ours(arrays: Feeds) -> list[np.ndarray]:
        names = [f"x{i}" for i in range(len(arrays))]
        wanted = {x.name for x in runner.get_inputs()}
        fed = {name: array for name, array in zip(names, arrays, strict=True) if name in wanted}
        return [np.asarray(a) for a in runner.run(None, fed)]

    return model, [theirs, ours]


def _onnx(concrete: Any, count: int) -> ir.Model:
    writer, graph = Writer(), concrete.graph
    given, captured = graph.inputs[:count], {}
    functions = {f.signature.name: f for f in graph.as_graph_def().library.function}
    variables = {id(v.handle): v for v in graph.variables}
    feeds: dict[str, Tensor] = {}
    for outside, inside in graph.captures:
        if id(outside) in variables:
            captured[inside.name] = variables[id(outside)].numpy()
            handle = SimpleNamespace(type="VarHandleOp", name=inside.name)
            feeds[inside.name] = Tensor("resource", (), label=inside.name, extra=handle)
        else:
            feeds[inside.name] = constant(outside.numpy())
    reader = GraphReader(writer, graph, functions, lambda op: captured[op.name])
    inputs = [writer.input(f"x{i}", t.dtype.name, _shape(t, f"x{i}")) for i, t in enumerate(given)]
    feeds |= {t.name: x for t, x in zip(given, inputs, strict=True)}
    reader.check(graph.outputs)
    results = reader.run(feeds, graph.outputs)
    return clean(writer.graph(inputs, [writer.value(x) for x in results], "model"))


def _shape(tensor: Any, name: str) -> tuple[int | str, ...] | None:
    if tensor.shape.rank is None:
        return None
    return tuple(f"{name}_{k}" if d is None else d for k, d in enumerate(tensor.shape.as_list()))


def check(
    function: Function,
    feeds: Feeds,
    *others: Feeds,
    dynamic: Mapping[int, Sequence[int]] | None = None,
    scale: float = 1.0,
) -> ir.Model:
    """Compare TensorFlow with ONNX Runtime on every set of feeds; the first tells dtypes and sizes.

    Args:
        function: See `read`.
        feeds: Arrays, one an argument.
        others: More of them, with other sizes along the dynamic axes.
        dynamic: See `read`.
        scale: What the rounding of a long sum is multiplied by.

    Returns:
        The ONNX model.
    """
    model, (theirs, ours) = read(function, feeds, dynamic)
    for arrays in (feeds, *others):
        for want, have in zip(theirs(arrays), ours(arrays), strict=True):
            assert have.dtype == want.dtype
            assert have.shape == want.shape
            same(have, want, scale)
    return model


def same(have: np.ndarray, want: np.ndarray, scale: float = 1.0) -> None:
    """Equal, for floats up to rounding of the largest magnitude; what is not finite stands at the same places."""
    if have.dtype.name not in ROUNDING:
        np.testing.assert_array_equal(have, want)
        return
    rounding = ROUNDING[have.dtype.name] * scale
    have, want = have.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(have[~finite], want[~finite])
    largest = np.abs(want[finite]).max(initial=0.0)
    np.testing.assert_allclose(have[finite], want[finite], rtol=0, atol=rounding * largest)
