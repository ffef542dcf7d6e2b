"""PyTorch's primitives that rearrange tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from xport.convert.primitives.torch_reduction import TorchReduction

_torch: Any = torch


class TorchShapes(TorchReduction):
    """Concatenate, expand, fill, pad, slice, split, tile; sizes and sequences."""

    def concat(self, tensors: Sequence[Any], axis: int) -> Any:
        """Join tensors along an axis."""
        return torch.cat(list(tensors), axis) if len(tensors) > 1 else tensors[0]

    def expand(self, x: Any, sizes: Sequence[Any]) -> Any:
        """Broadcast both ways."""
        if self.tracing:
            return _torch.broadcast_tensors(x, x.new_empty(()).expand(list(sizes)))[0]
        rank = max(x.dim(), len(sizes))
        own = [1] * (rank - x.dim()) + list(x.shape)
        wanted = [1] * (rank - len(sizes)) + list(sizes)
        return x.expand(
            [w if isinstance(o, int) and o == 1 else _broadcast(o, w) for o, w in zip(own, wanted, strict=True)]
        )

    def expand_to(self, x: Any, sizes: Any) -> Any:
        """Broadcast both ways, to sizes in a tensor."""
        return self.expand(x, self.as_known_sizes(sizes))

    def fill(self, sizes: Sequence[Any], value: np.ndarray) -> Any:
        """A tensor of one value."""
        return self.constant(value).expand(list(sizes))

    def fill_to(self, sizes: Any, value: np.ndarray) -> Any:
        """A tensor of one value, of sizes in a tensor."""
        return self.fill(self.as_known_sizes(sizes), value)

    def tile(self, x: Any, repeats: Sequence[Any]) -> Any:
        """Repeat along every axis."""
        return x.repeat(list(repeats))

    def tile_to(self, x: Any, repeats: Any) -> Any:
        """Repeat along every axis, by counts in a tensor."""
        return x.repeat(self.as_known_sizes(repeats))

    def reshape_to(self, x: Any, shape: Any, allowzero: bool) -> Any:
        """Reshape to sizes in a tensor, where 0 copies a size unless ``allowzero`` and -1 is inferred."""
        n = shape.shape[0]
        own = self.shape_tensor(x)
        if not allowzero:
            copied = torch.cat([own, own.new_ones(max(n - x.dim(), 0))])[:n]
            shape = torch.where(shape == 0, copied, shape)
        known = torch.where(shape < 0, 1, shape).prod()
        inferred = own.prod() // known.clamp(min=1)
        return x.reshape(self.as_known_sizes(torch.where(shape < 0, inferred, shape)))

    def squeeze_all(self, x: Any) -> Any:
        """Remove every axis that has size one."""
        return x.squeeze()

    def squeeze_at(self, x: Any, axes: Any) -> Any:
        """Remove axes that a tensor names."""
        kept = ~self.mask_of(axes, x.dim())
        count = x.dim() - axes.reshape(-1).shape[0]
        places = torch.argsort(kept.to(torch.int64), descending=True, stable=True)[:count]
        return x.reshape(self.as_known_sizes(self.shape_tensor(x)[places]))

    def unsqueeze_at(self, x: Any, axes: Any) -> Any:
        """Insert axes of size one at places that a tensor names."""
        axes = axes.reshape(-1)
        new = self.mask_of(axes, x.dim() + axes.shape[0])
        sizes = torch.cat([self.shape_tensor(x), axes.new_ones(1, dtype=torch.int64)])
        old = (~new).to(torch.int64)
        return x.reshape(self.as_known_sizes(torch.where(new, 1, sizes[torch.cumsum(old, 0) - old])))

    def pad_constant(self, x: Any, begins: Sequence[Any], ends: Sequence[Any], value: Any) -> Any:
        """Pad with a value; negative amounts remove elements. Amounts may be run-time sizes of either sign."""
        amounts = [side for pair in reversed(list(zip(begins, ends, strict=True))) for side in pair]
        if all(isinstance(a, int) for a in amounts) and not torch.is_tensor(value):
            return torch.constant_pad_nd(x, amounts, value)
        for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            x = self._pad_axis(x, axis, begin, end, value)
        return x

    def _pad_axis(self, x: Any, axis: int, begin: Any, end: Any, value: Any) -> Any:
        if isinstance(begin, int) and isinstance(end, int) and begin == end == 0:
            return x
        size = x.shape[axis]
        places = torch.arange(size + begin + end, device=x.device) - begin
        inside = (places >= 0) & (places < size)
        # One more row, so that there is something to pick even where the axis is empty.
        filler = torch.as_tensor(value, dtype=x.dtype, device=x.device)
        row = filler.expand([1 if i == axis else s for i, s in enumerate(x.shape)])
        rows = torch.where(inside, places, size)
        return torch.index_select(torch.cat([x, row], axis), axis, rows)

    def pad_reflect(self, x: Any, begins: Sequence[int], ends: Sequence[int]) -> Any:
        """Mirror about the first and last elements; amounts are numbers, not negative."""
        for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            if begin or end:
                size = x.shape[axis]
                places = torch.arange(size + begin + end, device=x.device) - begin
                places = places.abs()
                places = torch.where(places >= size, 2 * (size - 1) - places, places)
                x = torch.index_select(x, axis, places)
        return x

    def slice(self, x: Any, ranges: Sequence[tuple[int, Any, Any, int]]) -> Any:
        """Numpy's slicing; each range is (axis, start, end, step)."""
        keys: list[Any] = [slice(None)] * x.dim()
        for axis, start, end, step in ranges:
            if step > 0:
                keys[axis] = slice(start, end, step)
            elif step == -1 and _is_last(start, x.shape[axis]) and _is_before_first(end, x.shape[axis]):
                x = x.flip(axis)
            else:
                bounds = [self.size64(b) for b in (start, end, step)]
                x = self._slice_axis(x, axis, *bounds)
        return x[tuple(keys)]

    def slice_at(self, x: Any, starts: Any, ends: Any, axes: Any, steps: Any) -> Any:
        """Slice by vectors of starts, ends, axes and steps that are tensors; the latter two may be None."""
        count = starts.shape[0]
        axes = torch.arange(count, device=x.device) if axes is None else axes
        steps = torch.ones_like(starts) if steps is None else steps
        axes = torch.where(axes < 0, axes + x.dim(), axes)
        for axis in range(x.dim()):
            named = axes == axis
            present = named.any()
            start, end, step = (torch.where(named, v, 0).sum() for v in (starts, ends, steps))
            end = torch.where(present, end, torch.iinfo(torch.int64).max)
            x = self._slice_axis(x, axis, start, end, torch.where(present, step, 1))
        return x

    def _slice_axis(self, x: Any, axis: int, start: Any, end: Any, step: Any) -> Any:
        """Slice one axis by scalars that are tensors, with the clamping that the specification prescribes."""
        size = x.shape[axis]
        backward = step < 0
        low = -backward.to(torch.int64)
        high = low + size
        start, end = (torch.where(b < 0, b + size, b) for b in (start, end))
        start, end = (torch.minimum(torch.maximum(b, least), high) for b, least in ((start, 0 * low), (end, low)))
        span = torch.where(backward, start - end, end - start)
        count = self.as_size(((span + step.abs() - 1) // step.abs()).clamp(min=0))
        return torch.index_select(x, axis, start + step * torch.arange(count, device=x.device))

    def split(self, x: Any, sizes: Sequence[Any], axis: int) -> list[Any]:
        """Parts of given sizes along an axis."""
        return list(torch.split(x, list(sizes), axis))

    def split_at(self, x: Any, sizes: Any, axis: int, count: int) -> list[Any]:
        """Parts of sizes in a tensor along an axis."""
        ends = torch.cumsum(sizes, 0)
        parts = []
        for i in range(count):
            places = torch.arange(self.as_size(sizes[i]), device=x.device) + (ends[i] - sizes[i])
            parts.append(torch.index_select(x, axis, places))
        return parts

    def index_range(self, size: Any, dtype: str = "int64") -> Any:
        """The numbers from 0 up to a size."""
        return torch.arange(size, device=self.device, dtype=getattr(torch, dtype))

    def size64(self, size: Any) -> Any:
        """A size as an int64 scalar."""
        if torch.is_tensor(size):
            return size
        return torch.scalar_tensor(size, dtype=torch.int64, device=self.device)

    def zeros_like(self, x: Any) -> Any:
        """One zero of a tensor's type, which broadcasts."""
        return x.new_zeros(())

    def floor_modulo(self, a: Any, b: Any) -> Any:
        """The remainder of division, with the sign of the divisor."""
        return torch.remainder(a, b)

    def with_length(self, vector: Any, length: int) -> Any:
        """A vector whose length is now known."""
        return vector

    def spread_pads(self, pads: Any, axes: Any, rank: int) -> Any:
        """Pads of axes that a tensor names, as pads of all axes."""
        wrapped = torch.where(axes < 0, axes + rank, axes)
        place = wrapped[:, None] == torch.arange(rank, device=axes.device)[None]
        return torch.where(place[None], pads.reshape(2, -1, 1), 0).sum(1).reshape(-1)

    def arange(self, start: Any, limit: Any, delta: Any) -> Any:
        """``start + i * delta`` for each i that stays before the limit; rank-0 tensors of one type."""
        span = limit - start
        if start.is_floating_point():
            # The remainder is exact where a quotient would round.
            size, pace = span.abs(), delta.abs()
            rest = torch.fmod(size, pace)
            count = torch.round((size - rest) / pace) + (rest > 0).to(start.dtype)
            count = torch.where((span > 0) == (delta > 0), count, 0).to(torch.int64)
        else:
            count = torch.div(span + delta - torch.sign(delta), delta, rounding_mode="floor").clamp(min=0)
        steps = torch.arange(self.as_size(count), device=start.device)
        return start + steps.to(start.dtype) * delta

    def size_max(self, a: Any, b: Any) -> Any:
        """The larger of two sizes."""
        if torch.is_tensor(a) or torch.is_tensor(b):
            return torch.maximum(torch.as_tensor(a), torch.as_tensor(b))
        return _torch.sym_max(a, b)

    def size_min(self, a: Any, b: Any) -> Any:
        """The smaller of two sizes."""
        if torch.is_tensor(a) or torch.is_tensor(b):
            return torch.minimum(torch.as_tensor(a), torch.as_tensor(b))
        return _torch.sym_min(a, b)


def _broadcast(own: Any, wanted: Any) -> Any:
    """The broadcast of two sizes; a size that is not known to be one is taken not to be."""
    if isinstance(wanted, int):
        return own if wanted == 1 else wanted
    return own if isinstance(own, int) else wanted


def _is_last(start: Any, size: Any) -> bool:
    """Whether a start surely means the last element."""
    return isinstance(start, int) and (
        start == -1 or start >= 2**31 - 1 or (isinstance(size, int) and start >= size - 1)
    )


def _is_before_first(end: Any, size: Any) -> bool:
    """Whether an end, of a backward slice, surely lies before the first element."""
    return isinstance(end, int) and (end < -(2**31) + 1 or (isinstance(size, int) and end < -size))
