"""PyTorch's matrix products, reductions, normalisations, shapes and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
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


class TorchShapes(TorchLinear):
    """Concatenate, expand, fill, gather, slice, split."""

    def concat(self, tensors: Sequence[Any], axis: int) -> Any:
        """Join tensors along an axis."""
        return torch.cat(list(tensors), axis)

    def expand(self, x: Any, sizes: Sequence[Any]) -> Any:
        """Broadcast both ways."""
        return torch.broadcast_to(x, torch.broadcast_shapes(x.shape, tuple(sizes)))

    def fill(self, sizes: Sequence[Any], value: np.ndarray) -> Any:
        """A tensor of one value."""
        return self.constant(value).expand(list(sizes))

    def gather(self, data: Any, indices: Any, axis: int) -> Any:
        """Slices of ``data`` along an axis, by indices of any rank, negative ones from the end."""
        wrapped = torch.where(indices < 0, indices + data.shape[axis], indices)
        flat = torch.index_select(data, axis, wrapped.reshape(-1))
        return flat.reshape([*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]])

    def slice(self, x: Any, ranges: Sequence[tuple[int, Any, Any, int]]) -> Any:
        """numpy's slicing; each range is (axis, start, end, step)."""
        keys: list[Any] = [slice(None)] * x.dim()
        for axis, start, end, step in ranges:
            if step < 0:
                count = range(x.shape[axis])[slice(int(start), None if end < -x.shape[axis] else int(end), step)]
                x = torch.index_select(x, axis, torch.tensor(list(count), dtype=torch.int64, device=x.device))
            else:
                keys[axis] = slice(start, end, step)
        return x[tuple(keys)]

    def split(self, x: Any, sizes: Sequence[int], axis: int) -> list[Any]:
        """Parts of given sizes along an axis."""
        return list(torch.split(x, list(sizes), axis))


class TorchSpatial(TorchShapes):
    """Convolutions and pools of one to three spatial axes; images are channels-first."""

    def spatial_axes(self, rank: int) -> list[int]:
        """Where an image of this rank stores its spatial axes."""
        return list(range(2, rank))

    def shape_of_weight(self, w: Any) -> list[Any]:
        """Sizes of a weight."""
        return list(w.shape)

    def conv(self, x: Any, w: Any, b: Any, *, strides: Any, padding: Any, dilations: Any, groups: int) -> Any:
        """Convolution."""
        function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(strides)]
        symmetric = all(p[0] == p[1] for p in padding)
        if not symmetric:
            x = F.pad(x, [side for pair in reversed(padding) for side in pair])
        return function(x, w, b, strides, [p[0] for p in padding] if symmetric else 0, dilations, groups)

    def max_pool(self, x: Any, kernel: Any, *, strides: Any, padding: Any, dilations: Any) -> Any:
        """Maximum over windows."""
        function = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(strides)]
        x = F.pad(x, [side for pair in reversed(padding) for side in pair], value=float("-inf"))
        return function(x, kernel, strides, 0, dilations)


class TorchTarget(TorchSpatial):
    """PyTorch's whole set of primitives."""
