"""Recurrent operators over directions, activations and everything optional."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.properties.examining import Case, drawn, examine
from tests.operators.properties.strategies import Draw, floats, ints, mode

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
PLAIN = [
    "Sigmoid",
    "Tanh",
    "Relu",
    "Softsign",
    "Softplus",
    "HardSigmoid",
    "Elu",
    "LeakyRelu",
    "Affine",
    "ThresholdedRelu",
]
WITH_ALPHA = {"HardSigmoid", "Elu", "LeakyRelu", "Affine", "ThresholdedRelu"}
WITH_BETA = {"HardSigmoid", "Affine"}


@st.composite
def recurrences(draw: Draw) -> Case:
    op = draw(st.sampled_from(list(GATES)))
    opset = draw(st.sampled_from([7, 14, 22]))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    ways = 2 if direction == "bidirectional" else 1
    steps, batch = draw(st.sampled_from([(3, 2), (1, 1), (4, 1), (2, 3), (3, 3)]))
    size, hidden = draw(st.sampled_from([(2, 3), (1, 1), (3, 3), (4, 2)]))
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    by_batch = opset >= 14 and draw(st.integers(0, 2)) == 0
    if by_batch:
        attributes["layout"] = 1
    if draw(st.booleans()):
        attributes["clip"] = draw(st.sampled_from([0.5, 2.0]))
    if draw(st.integers(0, 2)) == 0:
        count = ways * FUNCTIONS[op]
        names = [draw(st.sampled_from(PLAIN)) for _ in range(count)]
        attributes["activations"] = names
        if alphas := [draw(st.sampled_from([0.5, 0.25])) for name in names if name in WITH_ALPHA]:
            attributes["activation_alpha"] = alphas
        if betas := [draw(st.sampled_from([0.5, 0.25])) for name in names if name in WITH_BETA]:
            attributes["activation_beta"] = betas
    if op == "GRU" and draw(st.booleans()):
        attributes["linear_before_reset"] = 1
    gates = GATES[op]
    x = floats(draw, (batch, steps, size) if by_batch else (steps, batch, size))
    w = floats(draw, (ways, gates * hidden, size)) / 8
    r = floats(draw, (ways, gates * hidden, hidden)) / 8
    b = floats(draw, (ways, 2 * gates * hidden)) / 4 if draw(st.booleans()) else None
    lengths = ints(draw, (batch,), 1, steps + 1, np.int32) if draw(st.booleans()) else None
    state = (batch, ways, hidden) if by_batch else (ways, batch, hidden)
    inputs = [x, w, r, b, lengths, floats(draw, state) / 4 if draw(st.booleans()) else None]
    outputs = draw(st.integers(1, 2))
    if op == "LSTM":
        inputs.append(floats(draw, state) / 4 if draw(st.booleans()) else None)
        inputs.append(floats(draw, (ways, 3 * hidden)) / 4 if draw(st.booleans()) else None)
        outputs = draw(st.integers(1, 3))
    while inputs[-1] is None:
        inputs.pop()
    return Case(op, inputs, attributes, opset, outputs, **mode(draw, inputs), rtol=1e-4)


@drawn(20)
@given(recurrences())
def test_recurrence(case: Case) -> None:
    examine(case)


@pytest.mark.slow
@drawn(15)
@given(recurrences())
def test_for_tflite(case: Case) -> None:
    examine(case, ["tflite"])
