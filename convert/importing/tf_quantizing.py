"""TensorFlow's rounding to a grid of few numbers, as in training for quantization."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.importing import shaping
from xport.convert.importing.formulas import Term
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import Call, op
from xport.convert.importing.tf_shapes import ints
from xport.signature import numpy_dtype


@op("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel")
def _fake_quant(c: Call) -> Tensor:
    if c.op.type.endswith("Args"):
        low, high = (constant(float(c.attr(name)), "float32") for name in ("min", "max"))
    else:
        low, high = c.inputs[1:]
    full = c.attr("num_bits", 8) == 8 and not c.attr("narrow_range", False)
    if full and low.const is not None and high.const is not None and bool(np.all(high.const > low.const)):
        return _as_bytes(c, low.const, high.const)
    return _on_grid(c, Term(c.w, low), Term(c.w, high))


def _as_bytes(c: Call, low: np.ndarray, high: np.ndarray) -> Tensor:
    """The grid of a byte, as other tools look for it in a model."""
    scale = ((high - low) / 255).astype(np.float32)
    zero = np.clip(np.floor(-low / scale + 0.5), 0, 255).astype(np.uint8)
    grid = [constant(scale), constant(zero)]
    axis: dict[str, Any] = {"axis": shaping.rank_of(c.x) - 1} if scale.ndim else {}
    quantized = c.w.op("QuantizeLinear", [c.x, *grid], "uint8", c.x.dims, **axis)
    made: Tensor = c.w.op("DequantizeLinear", [quantized, *grid], "float32", c.x.dims, **axis)
    return made


def _on_grid(c: Call, low: Term, high: Term) -> Tensor:
    """Any grid, whose bounds are moved so that zero is on it; where both bounds are zero so is everything."""
    least, most = float(c.attr("narrow_range", False)), 2.0 ** c.attr("num_bits", 8) - 1
    nothing = low.equals(0) & high.equals(0)
    scale = nothing.where(1, (high - low) / (most - least))
    zero = ((least - low / scale) + 0.5).of("Floor").clip(least, most)
    bottom, top = (least - zero) * scale, (most - zero) * scale
    steps = ((Term(c.w, c.x).least(top).most(bottom) - bottom) / scale + 0.5).of("Floor")
    return nothing.where(0, steps * scale + bottom).tensor


@op("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4")
def _there_and_back(c: Call) -> Tensor:
    x, signed = Term(c.w, c.x), bool(c.attr("signed_input", True))
    bits = ints(c.inputs[3], "The number of bits")[0] if len(c.inputs) > 3 else int(c.attr("num_bits", 8))
    least = -(2.0 ** (bits - 1)) + float(c.attr("narrow_range", False)) if signed else 0.0
    most = 2.0 ** (bits - signed) - 1
    low, high = _range(c, x)
    largest = float(np.finfo(numpy_dtype(c.x.dtype)).max)
    from_low = (low * least > 0).where(least / low, largest)
    from_high = (high * most > 0).where(most / high, largest)
    by_low = from_low < from_high
    scale = by_low.where(from_low, from_high)
    back = by_low.where(low / (least or 1.0), high / most)
    if c.attr("range_given", False):
        x = x.least(by_low.where(back * most, high)).most(by_low.where(low, back * least))
    steps = x * scale
    up = c.attr("round_mode", "HALF_TO_EVEN") == "HALF_UP"
    return (((steps + 0.5).of("Floor") if up else steps.of("Round")) * back).tensor


def _range(c: Call, x: Term) -> tuple[Term, Term]:
    """The smallest and largest number."""
    if int(c.attr("axis", -1)) != -1:
        raise c.refuse("a range for each channel, for which TensorFlow has no kernel on a CPU, cannot be compared")
    if c.attr("range_given", False):
        return Term(c.w, c.inputs[1]), Term(c.w, c.inputs[2])
    axes = range(shaping.rank_of(c.x))
    return x.total(*axes, op="ReduceMin"), x.total(*axes, op="ReduceMax")
