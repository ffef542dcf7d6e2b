"""Attention and RotaryEmbedding of the default domain against ONNX Runtime."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from tests.operators.parity import _BUILDERS as BUILDERS
from tests.operators.parity import check, declare_outputs, node_model
from xport.convert.lowering import model as onnx_model

RNG = np.random.default_rng(11)
EVERY = ("savedmodel", "tflite", "torch")


def some(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def drawn(seed: int) -> tuple[list[np.ndarray | None], dict[str, Any], int]:
    """Inputs, attributes and the number of outputs of an Attention node."""
    draw = random.Random(seed)
    kv = draw.choice([1, 2, 3])
    heads = kv * draw.choice([1, 2])
    batch, q_length, k_length, size = draw.choice([1, 2]), draw.choice([1, 3]), draw.choice([3, 4]), draw.choice([2, 4])
    past = draw.choice([0, 0, 2])
    attributes: dict[str, Any] = {"is_causal": draw.randint(0, 1)}
    if draw.random() < 0.3:
        attributes["scale"] = 0.7
    if draw.random() < 0.3:
        attributes["softcap"] = 1.5
    if draw.random() < 0.5:
        attributes |= {"q_num_heads": heads, "kv_num_heads": kv}
        shapes = [(batch, q_length, heads * size), (batch, k_length, kv * size), (batch, k_length, kv * size)]
    else:
        shapes = [(batch, heads, q_length, size), (batch, kv, k_length, size), (batch, kv, k_length, size)]
    total = k_length + past
    mask: np.ndarray | None = None
    leading = draw.choice([(), (heads,), (batch, 1), (batch, heads)])
    if draw.random() < 0.7:
        mask = some(*leading, q_length, total)
        if draw.random() < 0.5:
            mask = RNG.integers(0, 3, mask.shape) > 0
            mask[..., 0] = True
    inputs = [*(some(*s) for s in shapes), mask]
    if past:
        inputs += [some(batch, kv, past, size), some(batch, kv, past, size)]
    return inputs, attributes, 3 if past else 1


@pytest.mark.parametrize("seed", range(12))
def test_attention_agrees_with_onnx_runtime(seed: int) -> None:
    inputs, attributes, outputs = drawn(seed)
    model = node_model("Attention", inputs, attributes, opset=23, outputs=outputs)
    targets = EVERY if seed % 3 == 0 else ("savedmodel", "torch")
    check(model, [x for x in inputs if x is not None], targets=targets, rtol=1e-4, atol=1e-5)


def test_open_batch_and_lengths() -> None:
    def feed(batch: int, q: int, k: int) -> list[np.ndarray]:
        return [some(batch, 2, q, 4), some(batch, 2, k, 4), some(batch, 2, k, 4)]

    model = node_model("Attention", feed(1, 2, 3), {"is_causal": 1}, opset=23)
    for value in model.graph.input:
        for axis, name in ((0, "batch"), (2, "q" if value.name == "x0" else "k")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    targets = (*EVERY, "script", "exported")
    check(model, feed(2, 3, 5), feed(3, 4, 7), targets=targets, rtol=1e-4, atol=1e-5)


def test_a_row_without_any_key_gives_zeros() -> None:
    mask = np.array([[True, False, True], [False, False, False]])
    inputs = [some(1, 1, 2, 4), some(1, 1, 3, 4), some(1, 1, 3, 4), mask]
    model = node_model("Attention", inputs, {}, opset=23)
    declare_outputs(model, [np.zeros((1, 1, 2, 4), np.float32)], symbolic=False)
    for target in EVERY:
        (got,) = BUILDERS[target](onnx_model.infer_shapes(ir.from_proto(model)))(inputs)
        assert not got[0, 0, 1].any()
        assert np.isfinite(got).all()


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [0, 4])
def test_rotary_embedding(interleaved: int, width: int) -> None:
    size = 6 if width else 4
    tables = [some(9, 2), some(9, 2)]
    rows = RNG.integers(0, 9, (2, 3)).astype(np.int64)
    attributes = {"interleaved": interleaved, "rotary_embedding_dim": width}
    inputs = [some(2, 2, 3, size), *tables, rows]
    check(node_model("RotaryEmbedding", inputs, attributes, opset=23), inputs, targets=EVERY)
    inputs = [some(2, 3, 2 * size), some(2, 3, 2), some(2, 3, 2)]
    model = node_model("RotaryEmbedding", inputs, attributes | {"num_heads": 2}, opset=23)
    check(model, inputs, targets=EVERY)
