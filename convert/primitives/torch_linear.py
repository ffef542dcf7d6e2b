"""PyTorch's matrix products, reductions and normalisations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from xport.convert.primitives.torch_bitwise import TorchBitwise


class TorchLinear(TorchBitwise):
    """Matrix products, reductions, softmax, normalisation."""

    def as_tensor(self, x: Any, name: str = "") -> Any:
        """A known array as a constant; a tensor as it is."""
        return self.constant(x, name) if isinstance(x, np.ndarray) else x

    def matmul(self, a: Any, b: Any) -> Any:
        """Numpy's matmul, vectors included."""
        if a.dtype in (torch.uint16, torch.uint32, torch.uint64):
            # Products and sums wrap around alike with and without a sign.
            return torch.matmul(a.to(torch.int64), b.to(torch.int64)).to(a.dtype)
        return torch.matmul(a, b)

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
        if transpose_b and alpha == 1.0 and beta == 1.0 and (c is None or (c.dim() == 1 and c.shape == b.shape[:1])):
            return F.linear(left, b, c)
        right = b.t() if transpose_b else b
        if c is not None and beta != 0.0 and c.is_floating_point() and c.dim() <= 2:
            return torch.addmm(c, left, right, beta=beta, alpha=alpha)
        result = self.matmul(left, right)
        result = result if alpha == 1.0 else result * alpha
        if c is None or beta == 0.0:
            return result
        return result + (c if beta == 1.0 else c * beta)

    def determinant(self, x: Any) -> Any:
        """The determinants of square matrices."""
        if x.dtype in (torch.float16, torch.bfloat16):
            return torch.linalg.det(x.to(torch.float32)).to(x.dtype)
        return torch.linalg.det(x)

    def softmax(self, x: Any, axis: int) -> Any:
        """Softmax along an axis."""
        return torch.softmax(x, axis)

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
