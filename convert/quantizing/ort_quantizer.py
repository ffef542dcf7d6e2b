"""What ONNX Runtime's quantizer is asked for, and its chatter and temporary files kept in their place."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from xport.errors import ConversionError
from xport.runtimes import require

Tensors = Mapping[str, np.ndarray]

QUANTIZED = (
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "Add",
    "Sub",
    "Mul",
    "Relu",
    "Clip",
    "LeakyRelu",
    "Sigmoid",
    "Tanh",
    "Softmax",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "ReduceMean",
    "Concat",
    "Split",
    "Slice",
    "Pad",
    "Gather",
    "Resize",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
)
"""Operators between int8 tensors: the layers with weights, and what TFLite and ONNX Runtime compute in int8 between.

Normalisations, square roots and exponentials stay in float: eight bits of a sum of squares are no number to divide by.
"""

HUGE = 1e9
"""A range beyond this is a mask's or a sentinel's, which no eight bits hold together with numbers."""


class _Reader:
    """Batches as ONNX Runtime's calibrators take them; they ask for no more than ``get_next``."""

    def __init__(self, batches: Sequence[Tensors]) -> None:
        self._rows = iter(batches)

    def get_next(self) -> Tensors | None:
        return next(self._rows, None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the quantizer's advice, prints and warnings about ranges that are not used from the user."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(None), np.errstate(all="ignore"):
            yield
    finally:
        root.setLevel(before)


def measure_ranges(model: Path, batches: Sequence[Tensors], folder: Path) -> Any:
    """Find the range of every activation on some samples.

    Args:
        model: A prepared model.
        batches: The samples.
        folder: Where a model that shows its activations may lie for a while.

    Returns:
        The ``TensorsData`` of ONNX Runtime's quantizer.

    Raises:
        ConversionError: If the model does not run on them.
    """
    require("onnxruntime")
    from onnxruntime.quantization import calibrate

    augmented = folder / "ranges.onnx"
    try:
        with quiet():
            calibrator = calibrate.create_calibrator(model, list(QUANTIZED), augmented_model_path=str(augmented))
            calibrator.collect_data(_Reader(batches))
            return calibrator.compute_data()
    except Exception as error:  # ONNX Runtime raises its own types, which have no common one
        first = str(error).splitlines()[0][:300]
        raise ConversionError(
            f"Activations could not be measured: {first}", "Check that the model runs on the calibration data."
        ) from error
    finally:
        augmented.unlink(missing_ok=True)


def unfit(model: onnx.ModelProto, ranges: Any) -> list[str]:
    """The nodes that handle numbers beyond `HUGE`, masks with infinity for example."""
    huge = {name for name, data in ranges.items() if not _fits(data)}
    huge |= {t.name for t in model.graph.initializer if _is_huge(t)}
    return [n.name for n in model.graph.node if huge & {*n.input, *n.output}]


def _fits(data: Any) -> bool:
    low, high = data.range_value
    ends = np.asarray([low, high], np.float64)
    return bool(np.isfinite(ends).all() and np.abs(ends).max(initial=0.0) < HUGE)


def _is_huge(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return False
    array = onnx.numpy_helper.to_array(tensor)
    return bool(array.size) and not bool((np.abs(array) < HUGE).all())


def quantize(
    model: onnx.ModelProto, ranges: Any, *, exclude: Collection[str] = (), only: Collection[str] = ()
) -> onnx.ModelProto:
    """Put QuantizeLinear and DequantizeLinear around a model's nodes; weights become int8, one scale a channel.

    Args:
        model: A prepared model; it stays as it is.
        ranges: What `measure_ranges` found.
        exclude: Nodes that stay in float.
        only: The only nodes to quantize; all if empty.

    Returns:
        A new model.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    options = {"WeightSymmetric": True, "ActivationSymmetric": False}
    with quiet():
        quantizer = QDQQuantizer(
            copy,
            True,  # one scale a channel
            False,  # all eight bits
            QuantType.QInt8,
            QuantType.QInt8,
            ranges,
            list(only),
            list(exclude),
            list(QUANTIZED),
            options,
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    return made
