"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, Weight, op, refuse
from xport.convert.lowering.values import Value


@op("MatMul", since=1)
def matmul(xp: Any, a: RawValue, b: RawValue, *, context: Context) -> Any:
    """Numpy's matmul."""
    swapped = None if b.perm is None else (*range(len(b.perm) - 2), len(b.perm) - 1, len(b.perm) - 2)
    if b.tensor is not None and swapped is not None and b.perm == swapped:
        return xp.matmul(context.tensor(a), b.tensor, transpose_b=True)  # stored transposed, which kernels take
    weight = None if xp.keeps_weights else b.static()
    rows, right = _rows(xp, a, context.tensor(b) if weight is None else weight, context)
    return xp.matmul(rows, xp.as_tensor(right, _name(context)))


@op("Gemm", since=7)
def gemm(
    xp: Any,
    a: RawValue,
    b: Weight,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    context: Context,
) -> Any:
    """``alpha * A @ B + beta * C``, either matrix transposed on request."""
    dtype = b.dtype.name if isinstance(b, np.ndarray) else xp.dtype(b)
    if "int" in dtype and (alpha % 1 or beta % 1):
        raise refuse(f"alpha {alpha} and beta {beta} of integers", "the specification does not say how to round")
    if transB and isinstance(b, np.ndarray):
        b = np.ascontiguousarray(b.T)
        transB = 0  # noqa: N806
    if transA or transB:
        rows = context.tensor(a)
    else:
        rows, b = _rows(xp, a, b, context)
    weight = xp.as_tensor(b, _name(context))
    return xp.gemm(rows, weight, c, alpha=alpha, beta=beta, transpose_a=bool(transA), transpose_b=bool(transB))


def _name(context: Context) -> str:
    """The ONNX name of the right operand."""
    value = context.node.inputs[1]
    return "" if value is None or value.name is None else value.name


def _rows(xp: Any, a: Value, b: Any, context: Context) -> tuple[Any, Any]:
    """The left operand; if it flattens an image stored channels-last, the order goes into the known weight."""
    image = a.flattened
    if image is None or image.perm is None or not isinstance(b, np.ndarray) or b.ndim != 2:
        return context.tensor(a), b
    stored = xp.shape(image.tensor)
    sizes = [stored[image.perm.index(axis)] for axis in range(len(stored))]
    columns = np.arange(b.shape[0]).reshape(sizes[1:])
    order = columns.transpose([axis - 1 for axis in image.perm[1:]]).reshape(-1)
    return xp.reshape(image.tensor, [stored[0], b.shape[0]]), np.ascontiguousarray(b[order])


@op("Det", since=11)
def det(xp: Any, x: Tensor) -> Any:
    """The determinant of each square matrix in the last two axes."""
    return xp.determinant(x)
