"""PyTorch's primitives that rearrange tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from xport.convert.lowering.values import HostVector
from xport.convert.primitives.torch_linear import TorchLinear


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
        """Numpy's slicing; each range is (axis, start, end, step)."""
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

    def shape_tensor(self, x: Any) -> Any:
        """The sizes as an int64 vector."""
        return self.stack(HostVector(list(x.shape)))

    def range(self, start: Any, limit: Any, delta: Any) -> Any:
        """An arithmetic sequence."""
        return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype, device=self.device)
