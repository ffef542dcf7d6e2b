"""Attention and RotaryEmbedding of the default domain."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering.interpreter import Context, dtype_name
from xport.convert.lowering.registry import Tensor, op, refuse
from xport.convert.operators.attention_core import (
    Scores,
    attend,
    combined_bias,
    distances,
    join_heads,
    split_heads,
)
from xport.signature import numpy_dtype


@op("Attention", since=23)
def attention(
    xp: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    nonpad_kv_seqlen: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    context: Context,
) -> Any:
    """Scaled dot-product attention with masks, windows, caches and grouped heads, over 3-D or 4-D inputs."""
    flat = xp.rank(q) == 3
    if flat:
        if q_num_heads is None or kv_num_heads is None:
            raise refuse("3-D inputs", "q_num_heads and kv_num_heads must be given")
        q = split_heads(xp, q, q_num_heads)
        k, v = split_heads(xp, k, kv_num_heads), split_heads(xp, v, kv_num_heads)
    elif kv_num_heads is not None and q_num_heads is not None:
        q, k, v = _with_heads(xp, q, q_num_heads), _with_heads(xp, k, kv_num_heads), _with_heads(xp, v, kv_num_heads)
    if (past_key is None) != (past_value is None):
        raise refuse("past_key without past_value", "they belong together")
    past = 0 if past_key is None else xp.shape(past_key)[2]
    if past_key is not None:
        k, v = xp.concat([past_key, k], 2), xp.concat([past_value, v], 2)
    windows = (0 if is_causal else right_window_size, left_window_size)
    if is_causal and right_window_size > 0:
        windows = (0, left_window_size)
    lengths = None if nonpad_kv_seqlen is None else xp.cast(nonpad_kv_seqlen, "int32")
    bias, may_mask_all = _bias(xp, q, k, mask, lengths, past, windows, context.version)
    scores = Scores(
        bias,
        may_mask_all,
        scale,
        softcap,
        None if softmax_precision is None else dtype_name(ir.DataType(softmax_precision)),
        qk_matmul_output_mode if context.wants(3) else None,
    )
    output, stage = attend(xp, q, k, v, scores)
    return (join_heads(xp, output) if flat else output, k, v, stage)[: context.n_outputs]


def _with_heads(xp: Any, x: Any, heads: int) -> Any:
    sizes = xp.shape(x)
    return xp.reshape(x, [sizes[0], heads, *sizes[2:]])


def _bias(
    xp: Any, q: Any, k: Any, mask: Any, lengths: Any, past: Any, windows: tuple[int, int], version: int
) -> tuple[Any, bool]:
    """What is added to the scores, and whether it may mask a whole row."""
    q_length, k_length = xp.shape(q)[2], xp.shape(k)[2]
    right, left = windows
    allowed, added = [], None
    if mask is not None:
        mask = _widened(xp, mask, k_length) if version >= 24 else mask
        if xp.dtype(mask) == "bool":
            allowed.append(mask)
        else:
            added = mask
    if right >= 0 or left >= 0:
        offset = past if lengths is None else xp.sub(lengths, xp.size_scalar(q_length))
        behind = distances(xp, q_length, k_length, offset)
        if right >= 0:
            allowed.append(xp.greater_equal(behind, xp.scalar(-right, behind)))
        if left >= 0:
            allowed.append(xp.less_equal(behind, xp.scalar(left, behind)))
    if lengths is not None:
        keys = xp.reshape(xp.iota(k_length), [1, 1, 1, k_length])
        allowed.append(xp.less(keys, xp.reshape(lengths, [xp.shape(lengths)[0], 1, 1, 1])))
    bias = combined_bias(xp, allowed, added, q)
    # A causal frontier alone leaves every query its own key, or at least the first one.
    return bias, mask is not None or lengths is not None or left >= 0


def _widened(xp: Any, mask: Any, length: Any) -> Any:
    """A mask narrower than the keys, filled up with what disallows them."""
    *leading, own = xp.shape(mask)
    missing = length - own
    if isinstance(missing, int) and missing <= 0:
        return mask
    kind = xp.dtype(mask)
    fill = np.zeros((), bool) if kind == "bool" else np.array(float("-inf")).astype(numpy_dtype(kind))
    return xp.concat([mask, xp.fill([*leading, missing], fill)], len(leading))


@op("RotaryEmbedding", since=23)
def rotary_embedding(
    xp: Any,
    x: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    position_ids: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Any:
    """Rotate pairs of features by angles that grow with the position: halves, or neighbours if ``interleaved``."""
    flat = xp.rank(x) == 3
    sizes = xp.shape(x)
    if flat:
        if not num_heads:
            raise refuse("a 3-D input", "num_heads must be given")
        x = xp.reshape(x, [*sizes[:2], num_heads, _head_size(sizes[2], num_heads)])
    else:
        x = xp.transpose(x, [0, 2, 1, 3])
    if position_ids is not None:
        cos_cache, sin_cache = xp.gather(cos_cache, position_ids, 0), xp.gather(sin_cache, position_ids, 0)
    rotated = rotate(xp, x, cos_cache, sin_cache, rotary_embedding_dim, bool(interleaved))
    return xp.reshape(rotated, sizes) if flat else xp.transpose(rotated, [0, 2, 1, 3])


def _head_size(hidden: Any, heads: int) -> Any:
    if isinstance(hidden, int) and hidden % heads:
        raise refuse(f"a hidden size of {hidden}", f"it must be a multiple of {heads} heads")
    return hidden // heads


def rotate(xp: Any, x: Any, cos: Any, sin: Any, width: int, interleaved: bool) -> Any:
    """Rotate the first ``width`` features (0 for all) of [B, S, heads, D] by tables of [B, S, width / 2]."""
    *leading, size = xp.shape(x)
    width = width or size
    half = width // 2
    batch, length = xp.shape(cos)[:2]
    cos, sin = (xp.reshape(t, [batch, length, 1, half]) for t in (cos, sin))
    turned, rest = (x, None) if width == size else xp.split(x, [width, size - width], 3)
    if interleaved:
        pairs = xp.reshape(turned, [*leading, half, 2])
        first, second = (xp.reshape(p, [*leading, half]) for p in xp.split(pairs, [1, 1], 4))
    else:
        first, second = xp.split(turned, [half, half], 3)
    real = xp.sub(xp.mul(cos, first), xp.mul(sin, second))
    imaginary = xp.add(xp.mul(sin, first), xp.mul(cos, second))
    if interleaved:
        lifted = [xp.reshape(t, [*leading, half, 1]) for t in (real, imaginary)]
        result = xp.reshape(xp.concat(lifted, 4), [*leading, width])
    else:
        result = xp.concat([real, imaginary], 3)
    return result if rest is None else xp.concat([result, rest], 3)
