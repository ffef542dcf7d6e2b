"""Computing every value of a form: in ONNX Runtime, and in float64. These functions run in a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from xport.errors import XportError
from xport.runtimes import require

Tensors = dict[str, np.ndarray]

HERE = "xport.validate.bisection.tracing"


def run_onnx(model: bytes, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> Tensors:
    """Run a model in ONNX Runtime, node by node as it is written.

    Args:
        model: The serialized model; ``wanted`` need not be among its outputs.
        inputs: Arrays by name.
        wanted: Names of the values to compute.

    Returns:
        Arrays by name; values that are no tensors, or of a dtype that numpy lacks, are left out.

    Raises:
        XportError: If ONNX Runtime cannot run it.
    """
    ort = require("onnxruntime")
    options = ort.SessionOptions()
    # A fused node would hide the values inside it.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(_showing(model, wanted), options, providers=["CPUExecutionProvider"])
        found = session.run_with_ort_values(
            list(wanted), {name: ort.OrtValue.ortvalue_from_numpy(_whole(a)) for name, a in inputs.items()}
        )
    except Exception as error:  # the runtime's exceptions share no root
        first = next(iter(str(error).splitlines()), "")
        raise XportError(f"ONNX Runtime does not run the ONNX form: {first[:300]}") from error
    arrays: Tensors = {}
    for name, value in zip(wanted, found, strict=True):
        if not value.has_value() or not value.is_tensor():
            continue
        try:
            arrays[name] = value.numpy()
        except RuntimeError:  # bfloat16 and float8
            continue
    return arrays


def run_wide(model: bytes, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> Tensors:
    """Run a model in float64, through xport's PyTorch lowering.

    Args:
        model: The serialized model.
        inputs: Arrays by name, in the model's own dtypes.
        wanted: Names of the values to compute.

    Returns:
        Arrays by name, in float64.

    Raises:
        XportError: If PyTorch cannot express an operator.
    """
    import onnx
    import onnx_ir as ir
    import torch

    from xport.convert.lowering.model import infer_shapes
    from xport.convert.onnx_to_module import OnnxModule
    from xport.convert.primitives.torch_core import to_numpy, to_torch
    from xport.validate.figures import to_float64
    from xport.validate.torch_reference import double_precision

    shown = onnx.ModelProto.FromString(_showing(model, wanted))
    order = [value.name for value in shown.graph.input if value.name in inputs]
    module = OnnxModule(infer_shapes(ir.from_proto(shown))).eval().double()
    wide = [to_float64(a) if a.dtype.kind == "f" else a for a in (np.asarray(inputs[name]) for name in order)]
    with torch.no_grad(), double_precision():
        results = module(*(to_torch(_whole(array)) for array in wide))
    tensors = results if isinstance(results, tuple) else (results,)
    return {name: to_numpy(tensor) for name, tensor in zip(wanted, tensors, strict=True)}


def _showing(model: bytes, wanted: Sequence[str]) -> bytes:
    """The model with exactly these outputs."""
    import onnx

    proto = onnx.ModelProto.FromString(model)
    known = {value.name: value for value in proto.graph.output}
    outputs = [known.get(name) or onnx.ValueInfoProto(name=name) for name in wanted]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    content: bytes = proto.SerializeToString()
    return content


def _whole(array: np.ndarray) -> np.ndarray:
    """An array that lies in one piece; `numpy.ascontiguousarray` would give a scalar an axis."""
    return array if array.flags.c_contiguous else array.copy()
