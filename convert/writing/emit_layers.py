"""Layers with weights: convolutions, products with matrices, normalisations, embeddings."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from xport.convert.writing.code import Code, Operand, binary, call, method, plain
from xport.convert.writing.emit_activations import number
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit, refuse


def short(values: list[int]) -> Any:
    """One number where all are equal, otherwise a tuple."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def padded(node: NodeView, x: Operand, kernel: list[int], strides: list[int], dilations: list[int]) -> tuple[Any, Any]:
    """The input and the padding that the layer does itself; what is not the same on both sides is done before."""
    before, after = pads_of(node, kernel, strides, dilations)
    if before is None or after is None:
        name = node.helper("pad_same")
        lower = node.attr("auto_pad") == "SAME_LOWER"
        return call(name, x, tuple(kernel), tuple(strides), tuple(dilations), lower), [0] * len(kernel)
    if before == after:
        return x, before
    amounts = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return call("F.pad", x, tuple(amounts)), [0] * len(kernel)


def pads_of(
    node: NodeView, kernel: list[int], strides: list[int], dilations: list[int]
) -> tuple[list[int] | None, list[int] | None]:
    """Padding before and after each axis; None if it depends on a size that is not known."""
    rank = len(kernel)
    mode = node.attr("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID", ""):
        pads = node.attr("pads", [0] * 2 * rank) if mode != "VALID" else [0] * 2 * rank
        return list(pads[:rank]), list(pads[rank:])
    shape = node.shape() or (None,) * (rank + 2)
    before, after = [], []
    for size, k, s, d in zip(shape[2:], kernel, strides, dilations, strict=False):
        if s == 1:
            total = d * (k - 1)
        elif isinstance(size, int):
            total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        else:
            return None, None
        small, large = total // 2, total - total // 2
        before.append(large if mode == "SAME_LOWER" else small)
        after.append(small if mode == "SAME_LOWER" else large)
    return before, after


def _bias(node: NodeView) -> np.ndarray | None:
    """The bias; none where an exporter made up one of zeros."""
    bias = node.weight(2) if node.has(2) else None
    made_up = bias is not None and not node.value(2).is_initializer() and not bias.any()
    return None if made_up else bias


@emit("Conv")
def convolution(node: NodeView) -> Code:
    """Convolutions of one to three axes."""
    weight, bias = node.weight(1), _bias(node)
    shape = node.shape(1)
    kernel = [n for n in (shape or ())[2:] if isinstance(n, int)]
    rank = len(shape or ()) - 2
    if rank not in (1, 2, 3) or len(kernel) != rank:
        raise refuse(f"a convolution over {rank} axes")
    strides, dilations = node.attr("strides", [1] * rank), node.attr("dilations", [1] * rank)
    groups = node.attr("group", 1)
    x, padding = padded(node, node.x(), kernel, strides, dilations)
    options = {
        "stride": (short(strides), 1),
        "padding": (short(padding), 0),
        "dilation": (short(dilations), 1),
        "groups": (groups, 1),
    }
    if weight is None or (node.has(2) and node.const(2) is None) or node.translator.shared(node.node, 1, "Conv"):
        given = {name: value for name, (value, default) in options.items() if value != default}
        third = [node.x(2)] if node.has(2) else []
        return call(f"F.conv{rank}d", x, node.x(1), *third, **given)
    arguments = [
        ("in_channels", weight.shape[1] * groups, None),
        ("out_channels", weight.shape[0], None),
        ("kernel_size", short(kernel), None),
        *((name, value, default) for name, (value, default) in options.items()),
        ("bias", bias is not None, True),
    ]
    weights: dict[str, tuple[int | None, np.ndarray]] = {"weight": (1, weight)}
    if bias is not None:
        weights["bias"] = (2, bias)
    return call(node.layer(f"Conv{rank}d", arguments, weights, positional=3), x)


@emit("ConvTranspose")
def transposed(node: NodeView) -> Code:
    """Transposed convolutions; padding that differs between the sides is cut off afterwards."""
    weight, bias = node.weight(1), node.weight(2) if node.has(2) else None
    if weight is None or weight.ndim not in (3, 4, 5):
        raise refuse("weights that are computed at run time, or more than three axes")
    rank = weight.ndim - 2
    kernel = list(weight.shape[2:])
    strides, dilations = node.attr("strides", [1] * rank), node.attr("dilations", [1] * rank)
    extra = node.attr("output_padding", [0] * rank)
    before, after, extra = _transposed_pads(node, kernel, strides, dilations, extra)
    groups = node.attr("group", 1)
    # What is cut off less after than before is more output: PyTorch's output_padding, which must be below the stride.
    common = [min(b, a) for b, a in zip(before, after, strict=True)]
    cut = [(b - c, a - c) for b, a, c in zip(before, after, common, strict=True)]
    if any(e >= max(s, d) and e for e, s, d in zip(extra, strides, dilations, strict=True)) or min(common) < 0:
        raise refuse("output_padding or pads that PyTorch does not take")
    arguments = [
        ("in_channels", weight.shape[0], None),
        ("out_channels", weight.shape[1] * groups, None),
        ("kernel_size", short(kernel), None),
        ("stride", short(strides), 1),
        ("padding", short(common), 0),
        ("output_padding", short(extra), 0),
        ("groups", groups, 1),
        ("bias", bias is not None, True),
        ("dilation", short(dilations), 1),
    ]
    weights: dict[str, tuple[int | None, np.ndarray]] = {"weight": (1, weight)}
    if bias is not None:
        weights["bias"] = (2, bias)
    made = call(node.layer(f"ConvTranspose{rank}d", arguments, weights, positional=3), node.x())
    if not any(a or b for a, b in cut):
        return made
    return call("F.pad", made, tuple(-n for pair in reversed(cut) for n in pair))


def _transposed_pads(
    node: NodeView, kernel: list[int], strides: list[int], dilations: list[int], extra: list[int]
) -> tuple[list[int], list[int], list[int]]:
    rank = len(kernel)
    mode, wanted = node.attr("auto_pad", "NOTSET"), node.attr("output_shape")
    if wanted is None and mode in ("NOTSET", "VALID", ""):
        pads = node.attr("pads", [0] * 2 * rank) if mode != "VALID" else [0] * 2 * rank
        return list(pads[:rank]), list(pads[rank:]), extra
    sizes = (node.shape() or (None,) * (rank + 2))[2:]
    before, after = [], []
    for i, size in enumerate(sizes):
        reach = dilations[i] * (kernel[i] - 1) + 1
        if wanted is None:
            total = reach + extra[i] - strides[i]
        elif isinstance(size, int):
            total = strides[i] * (size - 1) + extra[i] + reach - wanted[-rank:][i]
        else:
            raise refuse("output_shape with a size that is not known")
        if total < 0:
            extra[i] -= total
            total = 0
        small, large = total // 2, total - total // 2
        before.append(small if mode == "SAME_UPPER" else large)
        after.append(large if mode == "SAME_UPPER" else small)
    return before, after, extra


@emit("Gemm")
def general_product(node: NodeView) -> Any:
    """``alpha A B + beta C``; a linear layer where it is one."""
    alpha, beta = number(node.attr("alpha", 1.0)), number(node.attr("beta", 1.0))
    weight = node.weight(1)
    if weight is not None and weight.ndim == 2 and alpha == beta == 1.0 and not node.attr("transA", 0):
        bias = node.const(2)
        out = weight.shape[0] if node.attr("transB", 0) else weight.shape[1]
        if not node.has(2) or (bias is not None and bias.size in (1, out) and bias.shape[-1:] in ((out,), (1,), ())):
            flat = None if bias is None else np.broadcast_to(bias.reshape(-1), (out,)).copy()
            return linear(node, weight, flat, 2, transposed=bool(node.attr("transB", 0)))
    a = method(node.x(0), "t") if node.attr("transA", 0) else node.x(0)
    b = method(node.x(1), "t") if node.attr("transB", 0) else node.x(1)
    product: Code = binary("@", a, b)
    product = product if alpha == 1.0 else binary("*", alpha, product)
    if not node.has(2) or beta == 0.0:
        return product
    return binary("+", product, node.x(2) if beta == 1.0 else binary("*", beta, node.x(2)))


@emit("MatMul")
def product(node: NodeView) -> Any:
    """Products of matrices; a linear layer where one is a weight, with the bias that follows."""
    weight = node.weight(1)
    if weight is None or weight.ndim != 2:
        return binary("@", node.x(0), node.x(1))
    position, bias = _following_bias(node, weight.shape[1])
    if position is None:
        return linear(node, weight, None, None)
    return linear(node, weight, bias, position)


def _following_bias(node: NodeView, size: int) -> tuple[Any, np.ndarray | None]:
    """The vector that the only use of a product adds, which is then done with."""
    value = node.node.outputs[0]
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.op_type != "Add":
        return None, None
    add, place = uses[0].node, uses[0].idx
    other = add.inputs[1 - place]
    entry = node.translator.known(other)
    if entry is None or entry.shape != (size,) or entry.dtype.kind not in "fV":
        return None, None
    if node.translator.shared(add, 1 - place, "Add"):
        return None, None
    node.translator.absorbed[add] = place
    return other, entry


def linear(
    node: NodeView, weight: np.ndarray, bias: np.ndarray | None, source: Any, *, transposed: bool = False
) -> Code:
    """A linear layer; with a weight that another layer holds, a product with that one's."""
    matrix = weight if transposed else weight.T
    owner = node.translator.owner(node.value(1), matrix)
    if owner is not None and owner[0].kind != "Linear":
        held = Code((call(owner[0]).parts[0], f".{owner[1]}"))
        third = [] if bias is None else [node.x(source) if isinstance(source, int) else node.translator.tensor(source)]
        return call("F.linear", node.x(), held, *third)
    arguments = [
        ("in_features", matrix.shape[1], None),
        ("out_features", matrix.shape[0], None),
        ("bias", bias is not None, True),
    ]
    weights: dict[str, tuple[Any, np.ndarray]] = {"weight": (1, np.ascontiguousarray(matrix))}
    if bias is not None:
        weights["bias"] = (source, bias)
    return call(node.layer("Linear", arguments, weights), node.x())


@emit("Gather")
def gather(node: NodeView) -> Any:
    """Rows of a table are an embedding; the rest is indexing."""
    from xport.convert.writing.emit_indexing import gathered

    table = node.weight(0)
    if table is None or table.ndim != 2 or node.attr("axis", 0) != 0 or node.const(1) is not None:
        return gathered(node)
    if not node.value(0).is_initializer() or not hasattr(node.x(1), "path"):
        return gathered(node)
    arguments = [("num_embeddings", table.shape[0], None), ("embedding_dim", table.shape[1], None)]
    return call(node.layer("Embedding", arguments, {"weight": (0, table)}), node.x(1))


def _vectors(node: NodeView, *positions: int) -> list[np.ndarray] | None:
    found = [node.weight(i) for i in positions]
    return [v for v in found if v is not None] if all(v is not None for v in found) else None


@emit("BatchNormalization")
def batch_norm(node: NodeView) -> Code:
    """Normalisation by the statistics that training left."""
    if node.attr("training_mode", 0) or node.wants(1):
        raise refuse("normalisation by the batch's own statistics")
    if node.version < 9 and not node.attr("spatial", 1):
        raise refuse("spatial=0")
    vectors, rank = _vectors(node, 1, 2, 3, 4), node.rank()
    eps = number(node.attr("epsilon", 1e-5))
    if vectors is None or rank not in (2, 3, 4, 5):
        return call("F.batch_norm", node.x(), node.x(3), node.x(4), node.x(1), node.x(2), eps=eps)
    names = ("weight", "bias", "running_mean", "running_var")
    weights: dict[str, tuple[int | None, np.ndarray]] = {
        name: (i, array) for i, (name, array) in enumerate(zip(names, vectors, strict=True), 1)
    }
    weights["num_batches_tracked"] = (None, np.zeros((), np.int64))
    momentum = round(1 - number(node.attr("momentum", 0.9)), 6)
    arguments = [("num_features", vectors[0].size, None), ("eps", eps, 1e-5), ("momentum", momentum, 0.1)]
    return call(node.layer(f"BatchNorm{max(rank - 2, 1)}d", arguments, weights, positional=1), node.x())


@emit("InstanceNormalization")
def instance_norm(node: NodeView) -> Code:
    """Normalisation of each channel of each sample."""
    vectors, rank = _vectors(node, 1, 2), node.rank()
    eps = number(node.attr("epsilon", 1e-5))
    if vectors is None or rank not in (3, 4, 5):
        return call("F.instance_norm", node.x(), weight=node.x(1), bias=node.x(2), eps=eps)
    arguments = [("num_features", vectors[0].size, None), ("eps", eps, 1e-5), ("affine", True, False)]
    weights: dict[str, tuple[int | None, np.ndarray]] = {"weight": (1, vectors[0]), "bias": (2, vectors[1])}
    return call(node.layer(f"InstanceNorm{rank - 2}d", arguments, weights, positional=1), node.x())


@emit("GroupNormalization")
def group_norm(node: NodeView) -> Code:
    """Normalisation of groups of channels; before opset 21 the weights are one a group."""
    vectors = _vectors(node, 1, 2)
    channels = (node.shape() or (None, None))[1]
    if vectors is None or not isinstance(channels, int):
        raise refuse("weights or a number of channels that are computed at run time")
    groups, eps = node.attr("num_groups"), number(node.attr("epsilon", 1e-5))
    scale, bias = (v if v.size == channels else np.repeat(v, channels // groups) for v in vectors)
    arguments = [("num_groups", groups, None), ("num_channels", channels, None), ("eps", eps, 1e-5)]
    return call(node.layer("GroupNorm", arguments, {"weight": (1, scale), "bias": (2, bias)}), node.x())


@emit("LayerNormalization")
def layer_norm(node: NodeView) -> Any:
    """Normalisation over the last axes."""
    if node.wants(1) or node.wants(2):
        raise refuse("mean and deviation as outputs")
    rank = node.rank()
    count = rank - node.axis(node.attr("axis", -1))
    shape = (node.shape() or ())[rank - count :]
    eps = number(node.attr("epsilon", 1e-5))
    scale, bias = node.weight(1), node.weight(2) if node.has(2) else None
    plain_weights = (
        scale is not None and scale.shape == shape and (bias.shape == shape if bias is not None else not node.has(2))
    )
    if scale is None or not plain_weights:
        third = {"bias": node.x(2)} if node.has(2) else {}
        if not all(isinstance(n, int) for n in shape) or (node.shape(1) != shape):
            made: Operand = call(
                "F.layer_norm", node.x(), tuple(node.size(0, rank - count + i) for i in range(count)), eps=eps
            )
            made = binary("*", made, node.x(1))
            return binary("+", made, node.x(2)) if node.has(2) else made
        return call("F.layer_norm", node.x(), shape, node.x(1), **third, eps=eps)
    sizes = [n for n in shape if isinstance(n, int)]
    arguments = [("normalized_shape", short(sizes) if count == 1 else tuple(sizes), None), ("eps", eps, 1e-5)]
    arguments.append(("bias", bias is not None, True))
    weights: dict[str, tuple[int | None, np.ndarray]] = {"weight": (1, scale)}
    if bias is not None:
        weights["bias"] = (2, bias)
    return call(node.layer("LayerNorm", arguments, weights, positional=1), node.x())


@emit("RMSNormalization")
def rms_norm(node: NodeView) -> Code:
    """Division by the root of the mean square over the last axes."""
    scale, axis = node.weight(1), node.attr("axis", -1)
    eps = number(node.attr("epsilon", 1e-5))
    if (
        scale is None
        or node.rank() - node.axis(axis) != scale.ndim
        or scale.shape != (node.shape() or ())[-scale.ndim :]
    ):
        raise refuse("a scale that is computed at run time or broadcast")
    shape = list(scale.shape)
    arguments = [("normalized_shape", shape[0] if len(shape) == 1 else tuple(shape), None), ("eps", eps, None)]
    return call(node.layer("RMSNorm", arguments, {"weight": (1, scale)}, positional=1), node.x())


@emit("LRN")
def local_response(node: NodeView) -> Code:
    """Normalisation over neighbouring channels."""
    if node.attr("size") % 2 == 0:
        raise refuse("an even size, which PyTorch centres elsewhere")
    alpha, beta, bias = (number(node.attr(k, v)) for k, v in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    return call("F.local_response_norm", node.x(), node.attr("size"), alpha=alpha, beta=beta, k=bias)


@emit("LpNormalization")
def lp_norm(node: NodeView) -> Code:
    """Division by the norm along an axis."""
    return call("F.normalize", node.x(), p=float(node.attr("p", 2)), dim=node.attr("axis", -1))


@emit("Einsum")
def einsum(node: NodeView) -> Code:
    """Sums of products by a formula."""
    equation = re.sub(r"\s", "", node.attr("equation"))
    if not re.fullmatch(r"[A-Za-z.,]*(->[A-Za-z.]*)?", equation):
        raise refuse(f"the equation {equation[:60]!r}")
    return call("torch.einsum", plain(f'"{equation}"'), *[node.x(i) for i in range(node.count)])
