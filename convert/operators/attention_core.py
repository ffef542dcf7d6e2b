"""Scaled dot-product attention, shared by ONNX's operator and the older ones of ONNX Runtime."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from xport.convert.lowering.registry import refuse

RAW, CAPPED, BIASED, PROBABILITIES = range(4)
"""What ``qk_matmul_output`` holds: the product, after the soft cap, with the bias, after softmax."""


@dataclass
class Scores:
    """How scores become probabilities.

    Attributes:
        bias: What is added to them, broadcasting to [B, heads, Q, K]; None for nothing.
        may_mask_all: Whether ``bias`` can be minus infinity along a whole row, which then gives zeros.
        scale: Their factor; None for ``1 / sqrt(head size)``.
        softcap: Bound by ``softcap * tanh(x / softcap)``; 0 for none.
        precision: The dtype of the softmax; None for the inputs'.
        output: Which stage to return as well; None for none.
    """

    bias: Any = None
    may_mask_all: bool = False
    scale: float | None = None
    softcap: float = 0.0
    precision: str | None = None
    output: int | None = None


def attend(xp: Any, q: Any, k: Any, v: Any, scores: Scores) -> tuple[Any, Any]:
    """Attention over 4-D tensors.

    Args:
        xp: The target's primitives.
        q: Queries [B, heads, Q, D].
        k: Keys [B, heads or a divisor, K, D].
        v: Values [B, heads or a divisor, K, D'].
        scores: The treatment of scores.

    Returns:
        The output [B, heads, Q, D'], and the stage asked for, or None.
    """
    size = xp.shape(q)[3]
    scale = scores.scale
    if scale is None and isinstance(size, int):
        scale = 1 / math.sqrt(size) if size else 1.0
    k, v = repeat_heads(xp, q, k), repeat_heads(xp, q, v)
    masked = _all_masked(xp, scores)
    dtype = xp.dtype(q)
    half = dtype in ("float16", "bfloat16")
    plain = not (half or scores.softcap) and scores.output is None and scores.precision in (None, dtype)
    if plain and scale is not None and scale > 0:
        fused = xp.scaled_dot_product(q, k, v, scores.bias, scale)
        if fused is not None:
            return (fused if masked is None else xp.where(masked, xp.scalar(0, fused), fused)), None
    # Both factors take the root, as the specification has it, so that half precision does not overflow.
    root = _root_of_scale(xp, q, size, scale)
    product = xp.matmul(xp.mul(q, root), xp.transpose(xp.mul(k, root), [0, 1, 3, 2]))
    capped = soft_cap(xp, product, scores.softcap)
    biased = capped if scores.bias is None else _biased(xp, capped, scores.bias, exact=scores.output == BIASED)
    wide = biased if scores.precision in (None, dtype) else xp.cast(biased, scores.precision)
    weights = _softmax_by_steps(xp, wide) if half and scores.precision in (None, dtype) else xp.softmax(wide, 3)
    weights = weights if masked is None else xp.where(masked, xp.scalar(0, weights), weights)
    weights = weights if scores.precision in (None, dtype) else xp.cast(weights, dtype)
    stages = {RAW: product, CAPPED: capped, BIASED: biased, PROBABILITIES: weights}
    return xp.matmul(weights, v), None if scores.output is None else stages[scores.output]


def _root_of_scale(xp: Any, q: Any, size: Any, scale: float | None) -> Any:
    """The root of the scores' factor; where the head size is found at run time, the fourth root of its inverse."""
    if scale is None:
        count = xp.cast(xp.cast(xp.size_scalar(size), "float32"), xp.dtype(q))
        return xp.reciprocal(xp.sqrt(xp.sqrt(count)))
    if scale < 0:
        raise refuse(f"scale={scale}", "its root is not real")
    return xp.scalar(math.sqrt(scale), q)


def _biased(xp: Any, x: Any, bias: Any, *, exact: bool) -> Any:
    """Scores with the bias; where they are an output, infinities are kept from TFLite's finite addition."""
    total = xp.add(x, bias)
    if not (exact and xp.flavor == "tflite"):
        return total
    lowest = xp.scalar(float("-inf"), bias)
    return xp.where(xp.equal(bias, lowest), xp.scalar(float("-inf"), total), total)


def _softmax_by_steps(xp: Any, x: Any) -> Any:
    """Softmax of half-precision scores, each step rounded to their type, as the reference implementation has it."""
    dtype = xp.dtype(x)
    exponents = xp.exp(xp.sub(x, xp.reduce_max(x, [3], True)))
    total = xp.cast(xp.reduce_sum(xp.cast(exponents, "float32"), [3], True), dtype)
    return xp.divide(exponents, total)


def _all_masked(xp: Any, scores: Scores) -> Any:
    """Which rows of the bias are minus infinity throughout; None if there can be none."""
    if scores.bias is None or not scores.may_mask_all:
        return None
    largest = xp.reduce_max(scores.bias, [xp.rank(scores.bias) - 1], True)
    return xp.equal(largest, xp.scalar(float("-inf"), largest))


def soft_cap(xp: Any, x: Any, cap: float) -> Any:
    """``cap * tanh(x / cap)``; the tensor itself for 0."""
    if not cap > 0:
        return x
    return xp.mul(xp.tanh(xp.divide(x, xp.scalar(cap, x))), xp.scalar(cap, x))


def repeat_heads(xp: Any, q: Any, k: Any) -> Any:
    """Give each query head of a group its own copy of the key head: h0, h0, h1, h1 and so on."""
    heads, own = xp.shape(q)[1], xp.shape(k)[1]
    if not isinstance(heads, int) or not isinstance(own, int):
        if heads == own:
            return k
        batch, _, length, size = xp.shape(k)
        copies = xp.expand(xp.reshape(k, [batch, own, 1, length, size]), [batch, own, heads // own, length, size])
        return xp.reshape(copies, [batch, heads, length, size])
    if heads == own:
        return k
    if own == 0 or heads % own:
        raise refuse(f"{heads} query heads over {own} key heads", "the one must be a multiple of the other")
    batch, _, length, size = xp.shape(k)
    copies = xp.concat([xp.reshape(k, [batch, own, 1, length, size])] * (heads // own), 2)
    return xp.reshape(copies, [batch, heads, length, size])


def split_heads(xp: Any, x: Any, heads: int) -> Any:
    """[B, S, heads * D] to [B, heads, S, D]."""
    batch, length, hidden = xp.shape(x)
    if isinstance(hidden, int) and hidden % heads:
        raise refuse(f"a hidden size of {hidden}", f"it must be a multiple of {heads} heads")
    return xp.transpose(xp.reshape(x, [batch, length, heads, hidden // heads]), [0, 2, 1, 3])


def join_heads(xp: Any, x: Any) -> Any:
    """[B, heads, S, D] to [B, S, heads * D]."""
    batch, heads, length, size = xp.shape(x)
    return xp.reshape(xp.transpose(x, [0, 2, 1, 3]), [batch, length, heads * size])


def distances(xp: Any, q_length: Any, k_length: Any, offset: Any) -> Any:
    """How far each key lies behind each query, which stand at ``offset + i``: [Q, K], or [B, 1, Q, K] if per batch.

    Args:
        xp: The target's primitives.
        q_length: Number of queries.
        k_length: Number of keys.
        offset: A size, or an int32 vector [B].
    """
    queries = xp.reshape(xp.iota(q_length), [q_length, 1])
    keys = xp.reshape(xp.iota(k_length), [1, k_length])
    if isinstance(offset, int) and offset == 0:
        return xp.sub(queries, keys)
    if hasattr(offset, "shape") and xp.rank(offset) == 1:
        offset = xp.reshape(offset, [xp.shape(offset)[0], 1, 1, 1])
    else:
        offset = xp.size_scalar(offset)
    return xp.sub(xp.add(queries, offset), keys)


def combined_bias(xp: Any, allowed: list[Any], added: Any, like: Any) -> Any:
    """What is added to scores: a float mask where all conditions allow it, minus infinity elsewhere; None for neither.

    The infinity is chosen, not added: TFLite's addition stops at the largest finite number.
    """
    if not allowed:
        return added
    together = allowed[0]
    for condition in allowed[1:]:
        together = xp.logical_and(together, condition)
    within = xp.scalar(0, like) if added is None else added
    return xp.where(together, within, xp.scalar(float("-inf"), like))
