"""Runs the ONNX project's backend node tests through a target; the tests and `make conformance` use it.

By hand: ``python tests/conformance/harness.py TARGET [FILTER] [--mode MODE] [-v]`` with TARGET one of `TARGETS`.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_signature import signature_of
from xport.errors import XportError

TARGETS = ("savedmodel", "tflite", "torch", "exported", "onnxruntime")
MODES = ("runtime", "constant", "symbolic")


@dataclass(frozen=True)
class Case:
    """One node test with plain tensors: a model, inputs, and the outputs the specification wants."""

    name: str
    model: onnx.ModelProto
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Outcome:
    """What became of a case: ``pass``, ``refused`` (with a reason), ``failed`` (it broke) or ``wrong`` (silently)."""

    status: str
    detail: str = ""


@functools.cache
def _tests() -> dict[str, Any]:
    return {test.name: test for test in load_model_tests(kind="node")}


def names() -> list[str]:
    """Every case whose inputs and outputs are plain tensors."""
    return [name for name, test in _tests().items() if _plain(test.model)]


def _plain(model: onnx.ModelProto) -> bool:
    values = [*model.graph.input, *model.graph.output]
    return all(v.type.WhichOneof("value") == "tensor_type" for v in values)


def load(name: str) -> Case:
    """Take a case from the installed onnx package."""
    test = _tests()[name]
    inputs, outputs = test.data_sets[0]
    return Case(name, test.model, list(map(_array, inputs)), list(map(_array, outputs)), test.rtol, test.atol)


def _array(data: Any) -> np.ndarray:
    return numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else np.asarray(data)


def as_constants(case: Case) -> Case | None:
    """All inputs but the first as initializers; None if there is only one."""
    if len(case.inputs) < 2:
        return None
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    fed = [v for v in model.graph.input if v.name]
    for value, array in zip(fed[1:], case.inputs[1:], strict=False):
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    return Case(case.name, model, case.inputs[:1], case.outputs, case.rtol, case.atol)


def as_symbolic(case: Case) -> Case:
    """Every dimension of every input symbolic."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.Clear()
            dim.dim_param = f"{value.name}_{axis}"
    for value in model.graph.output:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.Clear()
            dim.dim_param = f"{value.name}_{axis}"
    return Case(case.name, model, case.inputs, case.outputs, case.rtol, case.atol)


def run(case: Case, target: str, mode: str = "runtime") -> Outcome | None:
    """Run a case; None if the mode does not apply to it."""
    variant: Case | None = case
    if mode == "constant":
        variant = as_constants(case)
    elif mode == "symbolic":
        variant = as_symbolic(case)
    if variant is None:
        return None
    try:
        outputs = _RUNNERS[target](variant)
    except XportError as error:
        return Outcome("refused" if type(error).__name__ == "UnsupportedError" else "failed", str(error))
    except Exception as error:
        return Outcome("failed", f"{type(error).__name__}: {error}")
    return compare(variant, outputs)


def compare(case: Case, outputs: list[np.ndarray]) -> Outcome:
    """Compare with the specification's outputs: shape, dtype, and values.

    The tolerance is the case's own, but never finer than rounding: one unit in the last place, and where sums cancel
    the rounding of the largest element, eight times for types of 32 bits and more.
    """
    for i, (got, want) in enumerate(zip(outputs, case.outputs, strict=False)):
        if got.dtype != want.dtype and not (got.dtype.kind in "OSU" and want.dtype.kind in "OSU"):
            return Outcome("wrong", f"output {i} is {got.dtype}, expected {want.dtype}")
        if got.shape != want.shape:
            return Outcome("wrong", f"output {i} has shape {got.shape}, expected {want.shape}")
        if want.dtype.kind in "OSU":
            same = [_text(g) == _text(w) for g, w in zip(got.reshape(-1), want.reshape(-1), strict=True)]
            if not all(same):
                return Outcome("wrong", f"output {i} holds other strings")
            continue
        a, b = _wide(got), _wide(want)
        rtol, atol = _tolerance(want.dtype, b, case)
        if not np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
            with np.errstate(all="ignore"):
                worst = np.nanmax(np.abs(np.subtract(a, b, dtype=np.float64))) if a.size else 0
            return Outcome("wrong", f"output {i} differs by up to {worst}")
    if len(outputs) != len(case.outputs):
        return Outcome("wrong", f"{len(outputs)} outputs, expected {len(case.outputs)}")
    return Outcome("pass")


def _tolerance(dtype: np.dtype[Any], values: np.ndarray, case: Case) -> tuple[float, float]:
    if dtype.kind in "biu" or "int" in dtype.name:
        return case.rtol, case.atol
    eps = float(ml_dtypes.finfo(dtype).eps)
    finite = np.abs(values[np.isfinite(values)])
    roundings = 8 if dtype.itemsize >= 4 else 1
    return max(case.rtol, eps), max(case.atol, roundings * eps * float(finite.max(initial=0.0)))


def _text(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def _wide(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind in "biuc" and array.dtype.itemsize <= 16 else array.astype(np.float64)


def _prepared(case: Case) -> ir.Model:
    return onnx_model.infer_shapes(ir.from_proto(case.model))


def _savedmodel(case: Case) -> list[np.ndarray]:

    from xport.convert.onnx_to_savedmodel import OnnxFunction

    model = _prepared(case)
    function = OnnxFunction(model, signature_of(model))
    result = function.concrete(*[_tf_tensor(x) for x in case.inputs])
    return [np.asarray(result[key].numpy()) for key in function.output_keys]


def _tf_tensor(array: np.ndarray) -> Any:
    import tensorflow as tf

    if array.dtype.kind in "OSU":
        return tf.constant(array.tolist(), dtype=tf.string, shape=array.shape)
    return tf.constant(array)


def _tflite(case: Case) -> list[np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    from xport.convert.onnx_to_savedmodel import OnnxFunction
    from xport.convert.onnx_to_tflite import flatbuffer
    from xport.validate.runners.litert import read

    model = _prepared(case)
    function = OnnxFunction(model, signature_of(model), "tflite")
    interpreter = Interpreter(model_content=flatbuffer(function))
    runner = interpreter.get_signature_runner()
    taken, given = runner.get_input_details(), runner.get_output_details()
    del runner  # the interpreter allocates nothing while a runner holds it
    fed = {n: x for n, x in zip(function.input_names.values(), case.inputs, strict=True) if n in taken}
    for name, array in fed.items():
        if tuple(taken[name]["shape"]) != array.shape:
            interpreter.resize_tensor_input(taken[name]["index"], list(array.shape))
    interpreter.allocate_tensors()
    for name, array in fed.items():
        interpreter.set_tensor(taken[name]["index"], array)
    interpreter.invoke()
    return [read(interpreter, given[name]["index"]) for name in function.output_names.values()]


def _torch(case: Case) -> list[np.ndarray]:
    from xport.convert.onnx_to_module import OnnxModule
    from xport.convert.primitives.torch_core import to_torch

    return _tensors(OnnxModule(_prepared(case)).eval(), [to_torch(x) for x in case.inputs])


def _exported(case: Case) -> list[np.ndarray]:
    import torch

    from xport.convert.onnx_to_module import OnnxModule
    from xport.convert.primitives.torch_core import to_torch

    inputs = tuple(to_torch(x) for x in case.inputs)
    program = torch.export.export(OnnxModule(_prepared(case)).eval(), inputs)
    return _tensors(program.module(), list(inputs))


def _tensors(module: Any, inputs: list[Any]) -> list[np.ndarray]:
    import torch

    from xport.convert.primitives.torch_core import to_numpy

    with torch.no_grad():
        result = module(*inputs)
    return [to_numpy(t) for t in (result if isinstance(result, (tuple, list)) else (result,))]


def _onnxruntime(case: Case) -> list[np.ndarray]:
    import onnxruntime as ort

    session = ort.InferenceSession(case.model.SerializeToString())
    return list(session.run(None, {i.name: x for i, x in zip(session.get_inputs(), case.inputs, strict=True)}))


_RUNNERS: dict[str, Callable[[Case], list[np.ndarray]]] = {
    "savedmodel": _savedmodel,
    "tflite": _tflite,
    "torch": _torch,
    "exported": _exported,
    "onnxruntime": _onnxruntime,
}


def sweep(target: str, wanted: list[str], mode: str = "runtime") -> Iterator[tuple[str, Outcome]]:
    """Run many cases in this process."""
    for name in wanted:
        outcome = run(load(name), target, mode)
        if outcome is not None:
            yield name, outcome


def serve(target: str, mode: str) -> None:
    """Answer each name on stdin with a line of JSON on stdout: what `report.py` runs in a process of its own."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # native libraries print to stdout
    for name in sys.stdin:
        outcome = run(load(name.strip()), target, mode)
        row = ["skip", ""] if outcome is None else [outcome.status, outcome.detail]
        answers.write(json.dumps(row) + "\n")
        answers.flush()


def main() -> None:
    """Print the outcomes of a target's cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("filter", nargs="*", default=[""])
    parser.add_argument("--mode", choices=MODES, default="runtime")
    parser.add_argument("-v", action="store_true", help="print passing cases too")
    parser.add_argument("--serve", action="store_true", help="read names from stdin, answer in JSON, one a line")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.serve:
        serve(arguments.target, arguments.mode)
        return
    wanted = [n for n in names() if any(f in n for f in arguments.filter)]
    counts: collections.Counter[str] = collections.Counter()
    for name, outcome in sweep(arguments.target, wanted, arguments.mode):
        counts[outcome.status] += 1
        if outcome.status != "pass" or arguments.v:
            print(f"{outcome.status:8s} {name}: {' '.join(outcome.detail.split())[:200]}", flush=True)
    print(dict(counts), file=sys.stderr)


if __name__ == "__main__":
    main()
