"""PyTorch's primitives for resize, grid sampling and region pooling; images are channels-first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from xport.convert.primitives.torch_normalization import TorchNormalization


class TorchResampling(TorchNormalization):
    """Positions, picks by position, and PyTorch's own resizes."""

    def positions(self, count: Any, step: Any = 1, start: Any = 0, scale: Any = 1) -> Any:
        """The vector ``(i * step + start) * scale`` for ``i`` below ``count``, in the type of indices."""
        line = torch.arange(count, dtype=torch.int64, device=self.device)
        return (line * step + start) * scale

    def size_scalar(self, size: Any) -> Any:
        """A size as a rank-0 tensor in the type of indices."""
        return torch.scalar_tensor(size, dtype=torch.int64, device=self.device)

    def size_like(self, size: Any, like: Any) -> Any:
        """A size as a rank-0 tensor of another tensor's dtype."""
        return torch.scalar_tensor(size, dtype=like.dtype, device=like.device)

    def size_of(self, scalar: Any) -> Any:
        """A rank-0 tensor as a size."""
        size = scalar.to(torch.int64).item()
        torch._check(size >= 0)  # type: ignore[no-untyped-call]
        return size

    def indices(self, x: Any) -> Any:
        """Numbers in the type of indices."""
        return (x if torch.is_tensor(x) else torch.as_tensor(x, device=self.device)).to(torch.int64)

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """Slices along a stored axis; indices are not negative."""
        return torch.index_select(x, axis, self.indices(indices))

    def place_last(self, values: Any, indices: Any, total: Any) -> Any:
        """A vector of ``total`` zeros, in which the last value for each index is put."""
        order = torch.arange(values.shape[0], dtype=torch.int64, device=values.device)
        none = torch.full([total], -1, dtype=torch.int64, device=values.device)
        winner = none.scatter_reduce(0, indices, order, "amax")
        taken = values[winner.clamp(min=0)]
        return torch.where(winner >= 0, taken, torch.zeros_like(taken))

    def add_rows(self, rows: Any, indices: Any, total: Any) -> Any:
        """A matrix of ``total`` zero rows, to which rows are added by index."""
        return rows.new_zeros([total, rows.shape[1]]).index_add(0, self.indices(indices), rows)

    def pixels(self, x: Any, batch: Any, places: Sequence[Any]) -> Any:
        """An image of the pixels at places.

        Args:
            x: The image.
            batch: Which image of the batch, shaped to broadcast with the places.
            places: The index along each spatial axis, all of one shape that begins with the new batch.
        """
        found = x.movedim(1, -1)[(batch, *places)]
        return found.movedim(-1, 1)

    def per_pixel(self, m: Any) -> Any:
        """A map over pixels that broadcasts over the channels of an image."""
        return m.unsqueeze(1)

    def mix_channels(self, x: Any, w: Any) -> Any:
        """Multiply the channels of an image by a matrix (out, in)."""
        return torch.tensordot(x, w, dims=([1], [1])).movedim(-1, 1)

    def mix_axis(self, x: Any, matrix: Any, axis: int) -> Any:
        """Multiply an axis by a matrix (out, in)."""
        return torch.matmul(x.movedim(axis, -1), matrix.t()).movedim(-1, axis)

    def channel_slice(self, x: Any, start: Any, stop: Any) -> Any:
        """Some channels of an image."""
        return x[:, start:stop]

    def depth_to_space(self, x: Any, block: int, channels_first: bool) -> Any:
        """Move blocks of channels into space."""
        batch, channels, height, width = x.shape
        left = channels // (block * block)
        if channels_first:
            split = x.reshape(batch, left, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
        else:
            split = x.reshape(batch, block, block, left, height, width).permute(0, 3, 4, 1, 5, 2)
        return split.reshape(batch, left, height * block, width * block)

    def space_to_depth(self, x: Any, block: int, channels_first: bool) -> Any:
        """Move blocks of pixels into channels."""
        batch, channels, height, width = x.shape
        split = x.reshape(batch, channels, height // block, block, width // block, block)
        split = split.permute(0, 1, 3, 5, 2, 4) if channels_first else split.permute(0, 3, 5, 1, 2, 4)
        return split.reshape(batch, channels * block * block, height // block, width // block)

    def resize_linear(self, x: Any, sizes: Sequence[Any], coordinates: str) -> Any | None:
        """PyTorch's own linear resize; None where it has none."""
        if coordinates == "asymmetric" or not x.is_floating_point() or not 1 <= len(sizes) <= 3:
            return None
        mode = ("linear", "bilinear", "trilinear")[len(sizes) - 1]
        return F.interpolate(x, list(sizes), mode=mode, align_corners=coordinates == "align_corners")

    def resize_cubic(self, x: Any, sizes: Sequence[Any], coordinates: str) -> Any | None:
        """PyTorch's own bicubic resize with coefficient -0.75; None where it has none."""
        if coordinates == "asymmetric" or not x.is_floating_point() or len(sizes) != 2:
            return None
        return F.interpolate(x, list(sizes), mode="bicubic", align_corners=coordinates == "align_corners")

    def resize_nearest(self, x: Any, sizes: Sequence[Any]) -> Any | None:
        """PyTorch's own resize to the pixel ``floor((i + 0.5) * in / out)``; None where it has none."""
        if x.dtype not in (torch.float32, torch.float64, torch.float16, torch.uint8) or not 1 <= len(sizes) <= 3:
            return None
        return F.interpolate(x, list(sizes), mode="nearest-exact")
