"""ONNX Runtime's attention operators: Attention, MultiHeadAttention, GroupQueryAttention, RotaryEmbedding."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import Tensor, op, refuse
from xport.convert.operators.attention import rotate
from xport.convert.operators.attention_core import (
    Scores,
    attend,
    combined_bias,
    distances,
    join_heads,
    split_heads,
)

MICROSOFT = "com.microsoft"


def _mask_bias(xp: Any, mask: Any, filter_value: float, like: Any) -> Any:
    """A mask [B, K], [B, Q, K] or [B, 1, Q, K] of ones and zeros as what is added: ``filter_value`` for a zero."""
    if xp.rank(mask) == 1:
        raise refuse("a mask of one axis", "its meaning depends on its length; give one row for each batch")
    sizes = xp.shape(mask)
    if len(sizes) == 2:
        mask = xp.reshape(mask, [sizes[0], 1, 1, sizes[1]])
    elif len(sizes) == 3:
        mask = xp.reshape(mask, [sizes[0], 1, *sizes[1:]])
    kept = mask if xp.dtype(mask) == "bool" else xp.greater(mask, xp.scalar(0, mask))
    return xp.where(kept, xp.scalar(0, like), xp.scalar(filter_value, like))


def _bias(xp: Any, q: Any, k: Any, mask: Any, added: Any, filter_value: float, past: Any, causal: bool) -> Any:
    """The sum of a padding mask and an explicit bias, cut off beyond the causal frontier."""
    terms = [] if mask is None else [_mask_bias(xp, mask, filter_value, q)]
    if added is not None:
        terms.append(added)
    total = terms[0] if terms else None
    for term in terms[1:]:
        total = xp.add(total, term)
    if not causal:
        return total
    behind = distances(xp, xp.shape(q)[2], xp.shape(k)[2], past)
    return combined_bias(xp, [xp.greater_equal(behind, xp.scalar(0, behind))], total, q)


@op("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(
    xp: Any,
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    past_sequence_length: Tensor | None = None,
    cache_indirection: Tensor | None = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    scale: float | None = None,
    unidirectional: int = 0,
    context: Context,
) -> Any:
    """Attention over projected queries, keys and values, with masks, biases and a growing cache."""
    if key is None or value is None or xp.rank(query) != 3:
        raise refuse("packed queries, keys and values", "they must be three inputs of their own")
    if past_sequence_length is not None or cache_indirection is not None or context.wants(3):
        raise refuse("a shared cache buffer or the scores as output", "only growing caches are known")
    if bias is not None:
        sizes = [num_heads_size(xp, t) for t in (query, key, value if xp.rank(value) == 3 else query)]
        parts = xp.split(bias, sizes, 0)
        query = xp.add(query, parts[0])
        key = xp.add(key, parts[1]) if xp.rank(key) == 3 else key
        value = xp.add(value, parts[2]) if xp.rank(value) == 3 else value
    q = split_heads(xp, query, num_heads)
    # Four axes mean that keys and values come split into heads, from an encoder that ran before.
    k = key if xp.rank(key) == 4 else split_heads(xp, key, num_heads)
    v = value if xp.rank(value) == 4 else split_heads(xp, value, num_heads)
    past = 0
    if past_key is not None and past_value is not None:
        past = xp.shape(past_key)[2]
        k, v = xp.concat([past_key, k], 2), xp.concat([past_value, v], 2)
    added = _bias(xp, q, k, key_padding_mask, attention_bias, mask_filter_value, past, bool(unidirectional))
    y, _ = attend(xp, q, k, v, Scores(added, scale=scale or None))
    return (join_heads(xp, y), k, v)[: context.n_outputs]


def num_heads_size(xp: Any, x: Any) -> int:
    """The features of a projected tensor, all heads together."""
    size = xp.shape(x)[-1]
    if not isinstance(size, int):
        raise refuse("a bias over features of unknown number", "the hidden size must be known while converting")
    return size


@op("Attention", domain=MICROSOFT)
def attention(
    xp: Any,
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    mask_index: Tensor | None = None,
    past: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_sequence_length: Tensor | None = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: list[int] | None = None,
    rotary_embedding_dim: int = 0,
    scale: float | None = None,
    unidirectional: int = 0,
    context: Context,
) -> Any:
    """Self-attention with the projection of queries, keys and values as one product."""
    if do_rotary or past_present_share_buffer or past_sequence_length is not None:
        raise refuse("do_rotary or a shared cache buffer", "ONNX Runtime's CPU has no such kernel to compare with")
    projected = xp.matmul(x, weights)
    projected = projected if bias is None else xp.add(projected, bias)
    hidden = num_heads_size(xp, projected)
    parts = xp.split(projected, qkv_hidden_sizes or [hidden // 3] * 3, 2)
    q, k, v = (split_heads(xp, part, num_heads) for part in parts)
    before: Any = 0
    if past is not None:
        sizes = xp.shape(past)
        before = sizes[3]
        old = [xp.reshape(t, sizes[1:]) for t in xp.split(past, [1, 1], 0)]
        k, v = xp.concat([old[0], k], 2), xp.concat([old[1], v], 2)
    added = _bias(xp, q, k, mask_index, attention_bias, mask_filter_value, before, bool(unidirectional))
    y, _ = attend(xp, q, k, v, Scores(added, scale=scale or None))
    if not context.wants(1):
        return join_heads(xp, y)
    present = xp.concat([xp.reshape(t, [1, *xp.shape(t)]) for t in (k, v)], 0)
    return join_heads(xp, y), present


def _rotated(xp: Any, x: Any, positions: Any, cos: Any, sin: Any, width: int, interleaved: bool) -> Any:
    """Rotate [B, heads, S, D] by the tables' rows at positions [B, S]."""
    moved = xp.transpose(x, [0, 2, 1, 3])
    turned = rotate(xp, moved, xp.gather(cos, positions, 0), xp.gather(sin, positions, 0), width, interleaved)
    return xp.transpose(turned, [0, 2, 1, 3])


@op("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(
    xp: Any,
    x: Tensor,
    position_ids: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
) -> Any:
    """Rotate pairs of features by position; one position stands for the first of consecutive ones."""
    if is_packed_batching:
        raise refuse("is_packed_batching=1", "only batches of one length are known")
    flat, sizes = xp.rank(x) == 3, xp.shape(x)
    if flat:
        table = xp.shape(cos_cache)[1]
        heads = num_heads
        if not heads:
            size = rotary_embedding_dim or (2 * table if isinstance(table, int) else 0)
            if rotary_embedding_dim or not size or not isinstance(sizes[2], int):
                raise refuse("rotary_embedding_dim without num_heads", "the head size must be known")
            heads = sizes[2] // size
        x = split_heads(xp, x, heads)
    if xp.rank(position_ids) == 1:
        steps = xp.reshape(xp.cast(xp.iota(xp.shape(x)[2]), xp.dtype(position_ids)), [1, xp.shape(x)[2]])
        position_ids = xp.add(steps, xp.reshape(position_ids, [1, 1]))
    y = _rotated(xp, x, position_ids, cos_cache, sin_cache, rotary_embedding_dim, bool(interleaved))
    y = y if scale == 1.0 else xp.mul(y, xp.scalar(scale, y))
    return join_heads(xp, y) if flat else y


@op("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(
    xp: Any,
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    seqlens_k: Tensor | None = None,
    total_sequence_length: Tensor | None = None,
    cos_cache: Tensor | None = None,
    sin_cache: Tensor | None = None,
    position_ids: Tensor | None = None,
    attention_bias: Tensor | None = None,
    *,
    do_rotary: int = 0,
    kv_num_heads: int,
    local_window_size: int = -1,
    num_heads: int,
    qk_output: int = 0,
    rotary_interleaved: int = 0,
    scale: float | None = None,
    smooth_softmax: int = 0,
    softcap: float = 0.0,
    context: Context,
) -> Any:
    """Causal attention of grouped heads over a cache that grows by the new keys and values.

    Each sequence's keys fill the cache from the front: ``seqlens_k + 1`` of them count, the last S of which are new.
    """
    if seqlens_k is None:
        raise refuse("input seqlens_k", "it is missing")
    if smooth_softmax or qk_output or context.wants(3):
        raise refuse("smooth_softmax or qk_output", "only the plain softmax is known")
    if attention_bias is not None or local_window_size != -1:
        raise refuse("attention_bias or local_window_size", "only the causal mask is known")
    q, k, v = _grouped(xp, query, key, value, num_heads, kv_num_heads)
    batch, _, length, _ = xp.shape(q)
    before = xp.sub(xp.add(xp.cast(seqlens_k, "int32"), xp.scalar(1, xp.iota(1))), xp.size_scalar(length))
    before = xp.reshape(before, [batch])
    # Before the first token there is no cache, whatever padding makes of the count.
    before = xp.maximum(before, xp.scalar(0, before))
    if do_rotary:
        if cos_cache is None or sin_cache is None:
            raise refuse("do_rotary without tables", "cos_cache and sin_cache must be given")
        steps = xp.reshape(xp.iota(length), [1, length])
        positions = xp.add(steps, xp.reshape(before, [batch, 1])) if position_ids is None else position_ids
        q, k = (_rotated(xp, t, positions, cos_cache, sin_cache, 0, bool(rotary_interleaved)) for t in (q, k))
    if past_key is not None and past_value is not None:
        capacity = xp.shape(past_key)[2]
        if not (isinstance(capacity, int) and capacity == 0):
            k, v = _grown(xp, context, past_key, k, before), _grown(xp, context, past_value, v, before)
    behind = distances(xp, length, xp.shape(k)[2], before)
    bias = combined_bias(xp, [xp.greater_equal(behind, xp.scalar(0, behind))], None, q)
    y, _ = attend(xp, q, k, v, Scores(bias, scale=scale or None, softcap=softcap))
    return (join_heads(xp, y), k, v)[: context.n_outputs]


def _grouped(xp: Any, query: Any, key: Any, value: Any, heads: int, kv_heads: int) -> tuple[Any, Any, Any]:
    """Queries, keys and values split into heads, out of one packed tensor if only one is given."""
    if key is not None and value is not None:
        return split_heads(xp, query, heads), split_heads(xp, key, kv_heads), split_heads(xp, value, kv_heads)
    size = num_heads_size(xp, query) // (heads + 2 * kv_heads)
    q, k, v = xp.split(query, [heads * size, kv_heads * size, kv_heads * size], 2)
    return split_heads(xp, q, heads), split_heads(xp, k, kv_heads), split_heads(xp, v, kv_heads)


def _grown(xp: Any, context: Context, past: Any, new: Any, before: Any) -> Any:
    """The cache with each sequence's new rows put behind its ``before`` old ones; it grows by the number of new rows.

    A buffer that is larger than what it holds keeps its size in ONNX Runtime, which only its run time can tell apart;
    the two agree where every cached row counts.
    """
    raise refuse(
        "past_key that is not empty",
        "whether the cache is a shared buffer or grows is decided by total_sequence_length at run time",
    )
