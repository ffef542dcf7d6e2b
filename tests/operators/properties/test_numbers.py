"""Arithmetic of integers, casts between all types, quantization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from tests.operators.properties.examining import Case, drawn, examine
from tests.operators.properties.strategies import Draw, axis_of, floats, ints, mode, shapes

INTEGERS = [np.int32, np.int64, np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.uint64]
FLOATS = [np.float32, np.float64, np.float16]
EDGES = [0, 1, -1, 2, -2, 3, 7, -7, 127, -128, 128, 255, 256, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1]
EDGES += [2**53 + 1, 2**62, 2**63 - 1, -(2**63)]


def integers(draw: Draw, shape: tuple[int, ...], dtype: Any, *, zero: bool = True) -> np.ndarray:
    """Small numbers, or the edges of types."""
    limits = np.iinfo(dtype)
    if draw(st.booleans()):
        found = ints(draw, shape, max(-9, limits.min), 10, dtype)
    else:
        edges = np.array([e for e in EDGES if limits.min <= e <= limits.max], dtype)
        found = edges[ints(draw, shape, 0, len(edges))]
    return found if zero else np.where(found == 0, 3, found).astype(dtype)


def broadcast(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast."""
    shape = draw(shapes(0, 3))
    other = tuple(s if draw(st.booleans()) else 1 for s in shape)[draw(st.integers(0, len(shape))) :]
    return (shape, other) if draw(st.booleans()) else (other, shape)


@st.composite
def calculations(draw: Draw) -> Case:
    op = draw(st.sampled_from(["Mod", "Div", "Pow", "Mul", "Sub", "BitShift", "Max", "Min"]))
    first, second = broadcast(draw)
    dtype = draw(st.sampled_from(INTEGERS))
    attributes: dict[str, Any] = {}
    if op == "BitShift":
        dtype = draw(st.sampled_from([np.uint8, np.uint16, np.uint32, np.uint64]))
        attributes["direction"] = draw(st.sampled_from(["LEFT", "RIGHT"]))
        inputs = [integers(draw, first, dtype), ints(draw, second, 0, 8 * np.dtype(dtype).itemsize, dtype)]
    elif op == "Pow":
        base, power = draw(st.sampled_from([np.int32, np.int64, *FLOATS])), draw(st.sampled_from([np.int32, np.int64]))
        inputs = [ints(draw, first, -5, 6).astype(base), ints(draw, second, 0, 6, power)]
    elif op == "Mod" and draw(st.booleans()):
        attributes["fmod"] = 1
        dtype = draw(st.sampled_from([*FLOATS, np.int32, np.int64]))
        divisor = floats(draw, second, dtype) if issubclass(dtype, np.floating) else integers(draw, second, dtype)
        inputs = [floats(draw, first, dtype), np.where(divisor == 0, 2, divisor).astype(dtype)]
    else:
        inputs = [integers(draw, first, dtype), integers(draw, second, dtype, zero=op not in ("Mod", "Div"))]
        if op in ("Mod", "Div"):  # the smallest number by -1 has no result
            inputs[1] = np.where(inputs[1].astype(object) == -1, 1, inputs[1]).astype(dtype)
    return Case(op, inputs, attributes, 14 if op != "Pow" else 15, **mode(draw, inputs))


@st.composite
def casts(draw: Draw) -> Case:
    """Between all types, where the result is defined: a float beyond an integer type's range has none."""
    source = draw(st.sampled_from([*INTEGERS, *FLOATS, np.bool_]))
    wanted = draw(st.sampled_from([*INTEGERS, *FLOATS, np.bool_]))
    shape = draw(shapes(0, 2))
    if source is np.bool_:
        x = ints(draw, shape, 0, 2, np.bool_)
    elif issubclass(source, np.floating):
        unsigned = issubclass(wanted, np.unsignedinteger)
        x = np.abs(floats(draw, shape, source)) if unsigned else floats(draw, shape, source)
        if issubclass(wanted, (np.floating, np.bool_)) and x.size and draw(st.booleans()):
            x.reshape(-1)[0] = draw(st.sampled_from([np.inf, -np.inf, np.nan, -0.0, 6e-8, 65504, 2.0**-24]))
    else:
        x = integers(draw, shape, source)
    to = helper.np_dtype_to_tensor_dtype(np.dtype(wanted))
    return Case("Cast", [x], {"to": to}, draw(st.sampled_from([9, 13, 21])), symbolic=draw(st.booleans()))


@st.composite
def quantizations(draw: Draw) -> Case:
    x = floats(draw, draw(shapes(1, 4, empty=False)))
    opset = draw(st.sampled_from([13, 19, 21]))
    axis = axis_of(draw, x.ndim)
    size = draw(st.sampled_from([(), (), (x.shape[axis],)]))
    scale = (2.0 ** ints(draw, size, -4, 1).astype(np.float32)).astype(np.float32)
    dtype = draw(st.sampled_from([np.int8, np.uint8, *([np.int16, np.uint16] if opset == 21 else [])]))
    attributes = {"axis": axis}
    op = draw(st.sampled_from(["QuantizeLinear", "DequantizeLinear"]))
    zero = integers(draw, size, dtype) if draw(st.booleans()) else None
    if op == "DequantizeLinear":
        x = integers(draw, x.shape, dtype if zero is not None else draw(st.sampled_from([np.int8, np.uint8, np.int32])))
        if x.dtype == np.int32:
            x = x % 1000
    inputs = [x, scale] if zero is None else [x, scale, zero]
    return Case(op, inputs, attributes, opset, **mode(draw, inputs))


FAMILIES = (calculations, casts, quantizations)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_family(family: Any) -> None:
    @drawn(40)
    @given(family())
    def holds(case: Case) -> None:
        examine(case)

    holds()


@pytest.mark.slow
@drawn(60)
@given(st.one_of([family() for family in FAMILIES]))
def test_for_tflite(case: Case) -> None:
    examine(case, ["tflite"])
