"""ONNX Runtime's own operators (``com.microsoft``) that optimised and Hugging Face models contain."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.layout import Call
from xport.convert.lowering.registry import RawValue, Static, Tensor, Weight, op, refuse
from xport.convert.operators.activations import in_single
from xport.convert.operators.linear import gemm
from xport.convert.operators.normalization import layer_normalization
from xport.convert.operators.recurrent_cells import activations
from xport.convert.operators.spatial import conv

MICROSOFT = "com.microsoft"

# ONNX Runtime writes LayerNormalization into the default domain of models older than the operator.
op("LayerNormalization", since=1, until=16)(layer_normalization)


@op("Gelu", domain=MICROSOFT, layout=layout.elementwise)
def gelu(xp: Any, x: Tensor) -> Any:
    """The exact Gaussian error linear unit."""
    return in_single(xp, x, lambda y: xp.gelu(y, "none"))


@op("BiasGelu", domain=MICROSOFT, layout=layout.elementwise)
def bias_gelu(xp: Any, x: Tensor, bias: Tensor) -> Any:
    """The exact GELU of a sum."""
    return in_single(xp, xp.add(x, bias), lambda y: xp.gelu(y, "none"))


@op("FastGelu", domain=MICROSOFT, layout=layout.elementwise)
def fast_gelu(xp: Any, x: Tensor, bias: Tensor | None = None) -> Any:
    """GELU by the tanh formula, of a sum if there is a bias."""
    return in_single(xp, x if bias is None else xp.add(x, bias), lambda y: xp.gelu(y, "tanh"))


@op("QuickGelu", domain=MICROSOFT, layout=layout.elementwise)
def quick_gelu(xp: Any, x: Tensor, *, alpha: float = 1.702) -> Any:
    """``x * sigmoid(alpha * x)``."""
    return in_single(xp, x, lambda y: xp.mul(y, xp.sigmoid(xp.mul(y, xp.scalar(alpha, y)))))


@op("ExpandDims", domain=MICROSOFT)
def expand_dims(xp: Any, x: Tensor, axis: Static) -> Any:
    """Insert one axis of size one."""
    sizes = xp.shape(x)
    sizes.insert(int(axis.reshape(-1)[0]) % (len(sizes) + 1), 1)
    return xp.reshape(x, sizes)


@op("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(
    xp: Any,
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Any:
    """``alpha * A @ B``, either matrix transposed, or its first axis moved behind the other batch axes."""
    product = xp.matmul(_turned(xp, a, transA, transBatchA), _turned(xp, b, transB, transBatchB))
    return product if alpha == 1.0 else xp.mul(product, xp.scalar(alpha, product))


def _turned(xp: Any, x: Any, transpose: int, batch: int) -> Any:
    rank = xp.rank(x)
    order = list(range(rank))
    if batch and rank > 2:
        order = [*order[1:-1], 0, order[-1]]
    if transpose and rank > 1:
        order[-2:] = [order[-1], order[-2]]
    return x if order == list(range(rank)) else xp.transpose(x, order)


def _activated(xp: Any, x: Any, name: str, parameters: list[float]) -> Any:
    """An activation that a fused operator names; its parameters are alpha and then beta."""
    if not name:
        return x
    if name.lower() == "clip":
        if len(parameters) != 2:
            raise refuse("activation Clip", "it needs both limits")
        low, high = (xp.scalar(p, x) for p in parameters)
        return xp.minimum(xp.maximum(x, low), high)
    (function,) = activations([name], parameters[:1], parameters[1:2])
    return function(xp, x)


@op("FusedGemm", domain=MICROSOFT)
def fused_gemm(
    xp: Any,
    a: RawValue,
    b: Weight,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    context: Context,
) -> Any:
    """Gemm, then an activation."""
    product = gemm(xp, a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB, context=context)
    given = [p for p in (activation_alpha, activation_beta) if p is not None]
    return _activated(xp, product, activation, given)


def _images(call: Call) -> None:
    """The convolved image and the one added to the result are stored alike."""
    layout.spatial(call)
    if len(call.perms) > 3 and call.values[3] is not None:
        call.perms[3] = call.perms[0]


@op("FusedConv", domain=MICROSOFT, layout=_images)
def fused_conv(
    xp: Any,
    x: Tensor,
    w: Weight,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: list[float] | None = None,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """Convolution, then the sum with another image, then an activation."""
    y = conv(
        xp,
        x,
        w,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return _activated(xp, y if z is None else xp.add(y, z), activation, list(activation_params or []))


def _normalized(xp: Any, x: Any, scale: Any, bias: Any, epsilon: float) -> Any:
    wide = xp.cast(x, "float32") if xp.dtype(x) in ("float16", "bfloat16") else x
    kind = xp.dtype(wide)
    moved = None if bias is None else xp.cast(bias, kind)
    y = xp.layer_norm(wide, xp.cast(scale, kind), moved, [xp.rank(x) - 1], epsilon)
    return xp.cast(y, xp.dtype(x))


def _by_root_mean_square(xp: Any, x: Any, scale: Any, axes: list[int], epsilon: float) -> tuple[Any, Any]:
    """Root-mean-square normalisation, and the factor it multiplied by."""
    wide = xp.cast(x, "float32") if xp.dtype(x) in ("float16", "bfloat16") else x
    mean = xp.reduce_mean(xp.mul(wide, wide), axes, True)
    inverse = xp.reciprocal(xp.sqrt(xp.add(mean, xp.scalar(epsilon, mean))))
    y = xp.mul(xp.mul(wide, inverse), xp.cast(scale, xp.dtype(wide)))
    return xp.cast(y, xp.dtype(x)), inverse


@op("SimplifiedLayerNormalization", since=1)
def simplified_layer_normalization(
    xp: Any, x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1, context: Context
) -> Any:
    """Divide by the root of the mean square over the trailing axes, then scale."""
    rank = xp.rank(x)
    y, inverse = _by_root_mean_square(xp, x, scale, list(range(axis % rank, rank)), epsilon)
    return (y, inverse)[: context.n_outputs]


def _summed(xp: Any, x: Any, skip: Any, bias: Any) -> Any:
    total = xp.add(x, skip)
    return total if bias is None else xp.add(total, bias)


@op("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(
    xp: Any,
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    context: Context,
) -> Any:
    """Layer normalisation of a sum, with the sum itself as a fourth output."""
    _only(context, 1, 2)
    total = _summed(xp, x, skip, bias)
    return (_normalized(xp, total, gamma, beta, epsilon), None, None, total)[: context.n_outputs]


@op("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(
    xp: Any,
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    context: Context,
) -> Any:
    """Root-mean-square normalisation of a sum, with the sum itself as a fourth output."""
    _only(context, 1, 2)
    total = _summed(xp, x, skip, bias)
    y, _ = _by_root_mean_square(xp, total, gamma, [xp.rank(total) - 1], epsilon)
    return (y, None, None, total)[: context.n_outputs]


def _only(context: Context, *unwanted: int) -> None:
    """Refuse outputs that ONNX Runtime itself leaves unfilled at inference."""
    for index in unwanted:
        if context.wants(index):
            raise refuse(f"output {index}", "it is for training only")


@op("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(
    xp: Any,
    input_ids: Tensor,
    segment_ids: Tensor | None = None,
    word_embedding: Tensor | None = None,
    position_embedding: Tensor | None = None,
    segment_embedding: Tensor | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 0,
    context: Context,
) -> Any:
    """Sum of word, position and segment embeddings, normalised; the mask's row sums as a second output."""
    required = {"word_embedding": word_embedding, "position_embedding": position_embedding, "gamma": gamma}
    for name, tensor in required.items():
        if tensor is None:
            raise refuse(f"input {name}", "it is missing")
    batch, length = xp.shape(input_ids)
    if position_ids is None:
        position_ids = xp.reshape(xp.iota(length), [1, length])
    total = xp.add(xp.gather(word_embedding, input_ids, 0), xp.gather(position_embedding, position_ids, 0))
    if segment_ids is not None and segment_embedding is not None:
        total = xp.add(total, xp.gather(segment_embedding, segment_ids, 0))
    if mask is None:
        index = xp.fill([batch], np.zeros((), np.int32))
    else:
        index = xp.cast(xp.reduce_sum(mask, [1], False), "int32")
    return (_normalized(xp, total, gamma, beta, epsilon), index, total)[: context.n_outputs]


@op("BiasSplitGelu", domain=MICROSOFT)
def bias_split_gelu(xp: Any, x: Tensor, bias: Tensor) -> Any:
    """Half of the features times the GELU of the other half, after a bias."""
    total = xp.add(x, bias)
    axis = xp.rank(total) - 1
    size = xp.shape(total)[axis]
    if not isinstance(size, int) or size % 2:
        raise refuse(f"{size} features", "they must be a known even number")
    left, right = xp.split(total, [size // 2] * 2, axis)
    return xp.mul(left, in_single(xp, right, lambda y: xp.gelu(y, "none")))


@op("BiasAdd", domain=MICROSOFT, layout=layout.elementwise)
def bias_add(xp: Any, x: Tensor, bias: Tensor, skip: Tensor) -> Any:
    """The sum of three tensors."""
    return xp.add(xp.add(x, bias), skip)
