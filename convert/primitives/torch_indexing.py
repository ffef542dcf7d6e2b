"""PyTorch's primitives that pick and place elements by index."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from xport.convert.primitives.torch_shapes import TorchShapes

_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


class TorchIndexing(TorchShapes):
    """Gather and scatter; negative indices count from the end."""

    def gather(self, data: Any, indices: Any, axis: int) -> Any:
        """Slices of ``data`` along an axis, by indices of any rank, known or not."""
        if isinstance(indices, np.ndarray):
            if indices.ndim == 0:
                return data.select(axis, int(indices))
            negative = bool((indices < 0).any())
            indices = self.constant(indices)
        else:
            negative = True
        if axis == 0 and indices.dim() > 0 and indices.dtype in (torch.int32, torch.int64):
            return data[indices]  # counts from the end itself
        indices = self.wrap(indices, data.shape[axis]) if negative else indices
        flat = torch.index_select(data, axis, indices.reshape(-1))
        return flat.reshape([*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]])

    def wrap(self, indices: Any, size: Any) -> Any:
        """Negative indices counted from the end."""
        return torch.where(indices < 0, indices + size, indices)

    def take_slices(self, data: Any, indices: Any, axis: int) -> Any:
        """Slices of ``data`` along an axis by a vector of indices that are not negative."""
        indices = self.constant(indices) if isinstance(indices, np.ndarray) else indices
        return torch.index_select(data, axis, indices)

    def take_rows(self, data: Any, indices: Any) -> Any:
        """For each row of axis 0, slices along axis 1 by that row's own indices, none negative."""
        row = torch.arange(data.shape[0], device=data.device).reshape([-1] + [1] * (indices.dim() - 1))
        return data[row, indices]

    def gather_elements(self, data: Any, indices: Any, axis: int) -> Any:
        """One element a place: along ``axis`` at the index, along other axes at the place itself."""
        return torch.gather(data, axis, self.wrap(indices, data.shape[axis]).to(torch.int64))

    def gather_nd(self, data: Any, indices: Any, batch_dims: int) -> Any:
        """Slices of ``data`` at index tuples, which the last axis of ``indices`` holds."""
        indices = self.constant(indices) if isinstance(indices, np.ndarray) else indices
        places = self._tuples(data, indices, batch_dims)
        n = indices.dim() - 1
        batch = [
            torch.arange(data.shape[i], device=data.device).reshape([-1 if j == i else 1 for j in range(n)])
            for i in range(batch_dims)
        ]
        return data[(*batch, *places)]

    def _tuples(self, data: Any, indices: Any, batch_dims: int = 0) -> list[Any]:
        """The index tuples as one tensor an axis."""
        depth = indices.shape[-1]
        return [self.wrap(indices[..., i], data.shape[batch_dims + i]).to(torch.int64) for i in range(depth)]

    def scatter_elements(self, data: Any, indices: Any, updates: Any, axis: int, reduction: str) -> Any:
        """``data`` with updates placed as `gather_elements` would read them."""
        indices = self.wrap(indices, data.shape[axis]).to(torch.int64)
        if reduction == "none":
            return torch.scatter(data, axis, indices, updates)
        return self._widened(
            data, updates, lambda d, u: d.scatter_reduce(axis, indices, u, _REDUCE[reduction], include_self=True)
        )

    def scatter_nd(self, data: Any, indices: Any, updates: Any, reduction: str) -> Any:
        """``data`` with slices replaced or combined at index tuples."""
        indices = self.constant(indices) if isinstance(indices, np.ndarray) else indices
        places = self._tuples(data, indices)
        if reduction == "none":
            return data.index_put(tuple(places), updates)
        depth = len(places)
        position = places[0]
        for i in range(1, depth):
            position = position * data.shape[i] + places[i]
        inner = self.product(data.shape[depth:])
        rows, new = data.reshape([self.product(data.shape[:depth]), inner]), updates.reshape([-1, inner])
        position = position.reshape(-1, 1).expand(-1, inner)
        result = self._widened(
            rows, new, lambda d, u: d.scatter_reduce(0, position, u, _REDUCE[reduction], include_self=True)
        )
        return result.reshape(data.shape)

    def _widened(self, data: Any, updates: Any, compute: Any) -> Any:
        """Compute in a type that holds every value and result exactly, rounding once."""
        wide = None
        if data.dtype in (torch.float16, torch.bfloat16):
            wide = torch.float32
        elif data.dtype == torch.bool or data.dtype in _UNSIGNED:
            wide = torch.int64
        return compute(data, updates) if wide is None else compute(data.to(wide), updates.to(wide)).to(data.dtype)

    def overwrite_rows(self, cache: Any, update: Any, start: Any, circular: bool) -> Any:
        """Each row of axis 0 with ``update`` written along axis 1 from that row's own start."""
        place = torch.arange(cache.shape[1], device=cache.device)[None] - start[:, None]
        if circular:
            place = torch.remainder(place, cache.shape[1])
        written = (place >= 0) & (place < update.shape[1])
        new = self.take_rows(update, torch.where(written, place, 0))
        return torch.where(written.reshape([*written.shape, *[1] * (cache.dim() - 2)]), new, cache)

    def nonzero(self, x: Any) -> Any:
        """Index tuples of the elements that are not zero, one a row."""
        return torch.nonzero(x)

    def compress(self, x: Any, condition: Any, axis: int) -> Any:
        """Slices along an axis where a vector, which may be shorter, is true."""
        return torch.index_select(x, axis, torch.nonzero(condition)[:, 0])

    def reverse_sequences(self, x: Any, lengths: Any, batch_axis: int, time_axis: int) -> Any:
        """Reverse the first elements along time, a number of them for each batch element."""
        times = torch.arange(x.shape[time_axis], device=x.device)[None]
        lengths = lengths[:, None]
        places = torch.where(times < lengths, lengths - 1 - times, times)
        rows = torch.movedim(x, (batch_axis, time_axis), (0, 1))
        return torch.movedim(self.take_rows(rows, places), (0, 1), (batch_axis, time_axis))

    def diagonal(self, x: Any, first: int, second: int) -> Any:
        """The elements whose indices along two axes are equal, as one axis in the place of the first."""
        return torch.movedim(torch.diagonal(x, dim1=first, dim2=second), -1, first)
