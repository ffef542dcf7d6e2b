"""Operators of the com.microsoft domain against ONNX Runtime, which defines them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.operators.parity import check, node_model

RNG = np.random.default_rng(3)
EVERY = ("savedmodel", "tflite", "torch")


def some(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def one(
    op: str, inputs: list[np.ndarray | None], *, outputs: int = 1, domain: str = "com.microsoft", **extra: Any
) -> None:
    """Check one node with its inputs fed."""
    feed = [x for x in inputs if x is not None]
    opset = extra.pop("opset", 17)
    model = node_model(op, inputs, extra, domain=domain, outputs=outputs, opset=opset)
    check(model, feed, targets=EVERY, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes"),
    [
        ("Gelu", [(2, 3)], {}),
        ("FastGelu", [(2, 3)], {}),
        ("FastGelu", [(2, 3), (3,)], {}),
        ("BiasGelu", [(2, 3), (3,)], {}),
        ("QuickGelu", [(2, 3)], {"alpha": 1.5}),
        ("FusedMatMul", [(2, 3, 4), (2, 5, 4)], {"transB": 1, "alpha": 0.5}),
        ("FusedMatMul", [(3, 2, 4), (2, 4, 5)], {"transBatchA": 1}),
        ("FusedMatMul", [(4, 2, 3), (2, 4, 5)], {"transBatchA": 1, "transA": 1}),
        ("TransposeMatMul", [(4, 3), (4, 5)], {"transA": 1}),
        ("FusedGemm", [(2, 3), (3, 4), (4,)], {"activation": "Relu"}),
        ("FusedGemm", [(2, 3), (4, 3), (4,)], {"activation": "LeakyRelu", "activation_alpha": 0.2, "transB": 1}),
        ("FusedConv", [(1, 2, 5, 5), (3, 2, 3, 3), (3,)], {"activation": "Relu", "pads": [1, 1, 1, 1]}),
        ("FusedConv", [(1, 3, 3, 3), (3, 3, 1, 1), (3,), (1, 3, 3, 3)], {"activation": "Relu"}),
        ("FusedConv", [(2, 2, 5), (3, 2, 3)], {"activation": "Clip", "activation_params": [-0.2, 0.3]}),
        ("FusedConv", [(1, 2, 5, 5), (3, 2, 3, 3)], {"activation": "HardSigmoid", "activation_params": [0.2, 0.4]}),
        ("SkipLayerNormalization", [(2, 3, 4), (2, 3, 4), (4,), (4,), (4,)], {}),
        ("SkipLayerNormalization", [(2, 3, 4), (1, 3, 4), (4,), (4,)], {"epsilon": 0.1}),
        ("SkipSimplifiedLayerNormalization", [(2, 3, 4), (2, 3, 4), (4,), (4,)], {"epsilon": 0.1}),
    ],
)
def test_float_operators(op: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any]) -> None:
    one(op, [some(*s) for s in shapes], **attributes)


def test_normalisations_of_the_default_domain() -> None:
    one("LayerNormalization", [some(2, 3, 4), some(4), some(4)], domain="", opset=13, epsilon=0.01)
    one("SimplifiedLayerNormalization", [some(2, 3, 4), some(4)], domain="", opset=13, epsilon=0.01)


def test_the_sum_as_fourth_output() -> None:
    inputs = [some(2, 3, 4), some(2, 3, 4), some(4), some(4), some(4)]
    model = node_model("SkipLayerNormalization", inputs, domain="com.microsoft", outputs=4, opset=17)
    for index in (1, 2):
        model.graph.node[0].output[index] = ""
    kept = [model.graph.output[0], model.graph.output[3]]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    check(model, inputs, targets=EVERY, rtol=1e-4, atol=1e-5)


def test_embeddings() -> None:
    ids = RNG.integers(0, 7, (2, 3)).astype(np.int32)
    tables = [some(7, 4), some(5, 4), some(2, 4), some(4), some(4)]
    segments = np.array([[0, 0, 1], [1, 0, 1]], np.int32)
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int32)
    one("EmbedLayerNormalization", [ids, segments, *tables, mask], outputs=2)
    one("EmbedLayerNormalization", [ids, None, tables[0], tables[1], None, tables[3], tables[4]], outputs=2)
    positions = np.array([[2, 1, 0], [4, 4, 3]], np.int32)
    one("EmbedLayerNormalization", [ids, segments, *tables, mask, positions], outputs=2)


@pytest.mark.parametrize("mask", [None, (2, 3), (2, 3, 3)])
@pytest.mark.parametrize("unidirectional", [0, 1])
def test_self_attention(mask: tuple[int, ...] | None, unidirectional: int) -> None:
    kept = None if mask is None else RNG.integers(0, 2, mask).astype(np.int32)
    inputs = [some(2, 3, 8), some(8, 24), some(24), kept]
    one("Attention", inputs, num_heads=2, unidirectional=unidirectional)


def test_self_attention_with_a_past() -> None:
    inputs = [some(2, 3, 8), some(8, 24), some(24), None, some(2, 2, 2, 5, 4)]
    one("Attention", inputs, num_heads=2, unidirectional=1, outputs=2)


def test_self_attention_of_unequal_sizes() -> None:
    inputs = [some(2, 3, 8), some(8, 22), some(22)]
    one("Attention", inputs, num_heads=2, qkv_hidden_sizes=[8, 8, 6], scale=0.3)


@pytest.mark.parametrize(
    ("extras", "attributes"),
    [
        ({}, {}),
        ({"bias": (24,)}, {"scale": 0.4}),
        ({"mask": (2, 5)}, {}),
        ({"mask": (2, 3, 5)}, {"mask_filter_value": -3.0}),
        ({"attention_bias": (1, 2, 3, 5)}, {}),
        ({"attention_bias": (2, 1, 3, 5), "mask": (2, 5)}, {}),
        ({"past": (2, 2, 4, 4), "mask": (2, 9)}, {}),
    ],
)
def test_multi_head_attention(extras: dict[str, tuple[int, ...]], attributes: dict[str, Any]) -> None:
    mask = RNG.integers(0, 2, extras["mask"]).astype(np.int32) if "mask" in extras else None
    past = [some(*extras["past"]), some(*extras["past"])] if "past" in extras else [None, None]
    bias = some(*extras["bias"]) if "bias" in extras else None
    added = some(*extras["attention_bias"]) if "attention_bias" in extras else None
    inputs = [some(2, 3, 8), some(2, 5, 8), some(2, 5, 8), bias, mask, added, *past]
    one("MultiHeadAttention", inputs, num_heads=2, outputs=3 if "past" in extras else 1, **attributes)


def test_causal_multi_head_attention() -> None:
    one("MultiHeadAttention", [some(2, 4, 8), some(2, 4, 8), some(2, 4, 8)], num_heads=2, unidirectional=1)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(interleaved: int) -> None:
    tables = [some(9, 2), some(9, 2)]
    rows = RNG.integers(0, 9, (2, 3)).astype(np.int64)
    one("RotaryEmbedding", [some(2, 3, 8), rows, *tables], interleaved=interleaved)
    one("RotaryEmbedding", [some(2, 2, 3, 4), rows, *tables], interleaved=interleaved)
    one("RotaryEmbedding", [some(2, 3, 8), np.array([4], np.int64), *tables], interleaved=interleaved)
    partial = {"num_heads": 2, "rotary_embedding_dim": 4, "interleaved": interleaved}
    one("RotaryEmbedding", [some(2, 3, 16), rows, *tables], **partial)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rotary", [0, 1])
def test_group_query_attention_without_a_past(packed: bool, rotary: int) -> None:
    q, k, v = some(2, 3, 64), some(2, 3, 32), some(2, 3, 32)
    given = [np.concatenate([q, k, v], 2), None, None] if packed else [q, k, v]
    tables = [some(9, 8), some(9, 8)] if rotary else []
    lengths, total = np.array([2, 2], np.int32), np.array([3], np.int32)
    inputs = [*given, None, None, lengths, total, *tables]
    one("GroupQueryAttention", inputs, num_heads=4, kv_num_heads=2, do_rotary=rotary, outputs=3)
