"""PyTorch's matrix products, reductions and normalisations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from xport.convert.primitives.torch_arithmetic import TorchArithmetic


class TorchLinear(TorchArithmetic):
    """Matrix products, reductions, softmax, normalisation."""

    def as_tensor(self, x: Any, name: str = "") -> Any:
        """A known array as a constant; a tensor as it is."""
        return self.constant(x, name) if isinstance(x, np.ndarray) else x

    matmul = staticmethod(torch.matmul)

    def gemm(
        self,
        a: Any,
        b: Any,
        c: Any,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> Any:
        """``alpha * a @ b + beta * c``."""
        left = a.t() if transpose_a else a
        if transpose_b and alpha == 1.0 and beta == 1.0 and (c is None or c.dim() == 1):
            return F.linear(left, b, c)
        result = torch.matmul(left, b.t() if transpose_b else b)
        result = result if alpha == 1.0 else result * alpha
        if c is None or beta == 0.0:
            return result
        return result + (c if beta == 1.0 else c * beta)

    def softmax(self, x: Any, axis: int) -> Any:
        """Softmax along an axis."""
        return torch.softmax(x, axis)

    def gelu(self, x: Any, approximate: str) -> Any:
        """GELU by erf (``none``) or by tanh."""
        return F.gelu(x, approximate=approximate)

    def reduce_sum(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Sum over axes."""
        return torch.sum(x, axes, keepdim=keepdims, dtype=x.dtype)

    def reduce_mean(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Mean over axes."""
        return torch.mean(x, axes, keepdim=keepdims)

    def reduce_max(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Maximum over axes."""
        return torch.amax(x, axes, keepdim=keepdims)

    def reduce_min(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Minimum over axes."""
        return torch.amin(x, axes, keepdim=keepdims)

    def reduce_prod(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Product over axes."""
        for axis in sorted((a % x.dim() for a in axes), reverse=True):
            x = torch.prod(x, axis, keepdim=keepdims, dtype=x.dtype)
        return x

    def layer_norm(self, x: Any, scale: Any, bias: Any, axes: list[int], epsilon: float) -> Any:
        """Normalise over trailing axes, then scale and shift."""
        sizes = [x.shape[axis] for axis in axes]
        if list(scale.shape) == sizes and (bias is None or list(bias.shape) == sizes):
            return F.layer_norm(x, sizes, scale, bias, epsilon)
        result = F.layer_norm(x, sizes, None, None, epsilon) * scale
        return result if bias is None else result + bias

    def batch_norm(self, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, epsilon: float) -> Any:
        """Normalise axis 1 by stored statistics."""
        return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)
