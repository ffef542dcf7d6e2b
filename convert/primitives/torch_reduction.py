"""PyTorch's reductions and running sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import has_free_unbacked_symbols

from xport.convert.primitives.torch_sizes import TorchSizes

_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


class TorchReduction(TorchSizes):
    """Reductions over axes; no axes mean that nothing is reduced."""

    def reduce_sum(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Sum over axes."""
        if not axes:
            return x
        if x.dtype in (torch.float16, torch.bfloat16):
            return torch.sum(x, axes, keepdim=keepdims, dtype=torch.float32).to(x.dtype)
        if x.dtype in _UNSIGNED:
            return torch.sum(x.to(torch.int64), axes, keepdim=keepdims).to(x.dtype)
        return torch.sum(x, axes, keepdim=keepdims, dtype=x.dtype)

    def reduce_mean(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Mean over axes; of integers truncated towards zero."""
        if not axes:
            return x
        if x.is_floating_point():
            return torch.mean(x, axes, keepdim=keepdims)
        count = self.product([x.shape[a] for a in axes])
        return torch.div(self.reduce_sum(x, axes, keepdims), count, rounding_mode="trunc").to(x.dtype)

    def reduce_max(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Maximum over axes; of booleans whether any is true."""
        return self._extreme(torch.amax, x, axes, keepdims, lowest=True)

    def reduce_min(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Minimum over axes; of booleans whether all are true."""
        return self._extreme(torch.amin, x, axes, keepdims, lowest=False)

    def _extreme(self, reduce: Callable[..., Any], x: Any, axes: list[int], keepdims: bool, *, lowest: bool) -> Any:
        if not axes:
            return x
        gone = _places(x, axes)
        if any(isinstance(x.shape[a], int) and x.shape[a] == 0 for a in gone):
            sizes = [1 if i in gone else s for i, s in enumerate(x.shape) if keepdims or i not in gone]
            return torch.full(sizes, _bound(x.dtype, lowest), dtype=x.dtype, device=x.device)
        if hidden := [a for a in sorted(gone) if has_free_unbacked_symbols(x.shape[a])]:
            # Perhaps there is nothing to reduce: one neutral element more changes no other result.
            sizes = [1 if i == hidden[0] else s for i, s in enumerate(x.shape)]
            more = torch.full(sizes, _bound(x.dtype, lowest), dtype=x.dtype, device=x.device)
            x = torch.cat([x, more], hidden[0])
        if x.dtype in (torch.uint16, torch.uint32):
            return reduce(x.to(torch.int64), axes, keepdims).to(x.dtype)
        return reduce(x, axes, keepdims)

    def reduce_prod(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """Product over axes."""
        dtype = x.dtype
        x = x.to(torch.float32) if dtype in (torch.float16, torch.bfloat16) else x
        for axis in sorted((a % x.dim() for a in axes), reverse=True):
            x = torch.prod(x, axis, keepdim=keepdims, dtype=x.dtype)
        return x.to(dtype)

    def reduce_log_sum_exp(self, x: Any, axes: list[int], keepdims: bool) -> Any:
        """The logarithm of the sum of exponentials, safe from overflow."""
        if not axes:
            return x
        if not self.staged:
            return torch.logsumexp(x, axes, keepdims)
        # PyTorch's own looks whether there is anything to reduce, which may not be known while a graph is recorded.
        peak = self.reduce_max(x, axes, True)
        peak = torch.where(peak.abs() < float("inf"), peak, 0)
        total = torch.log(torch.sum(torch.exp(x - peak), axes, keepdim=True)) + peak
        return (
            total if keepdims else self.reshape(total, [s for i, s in enumerate(x.shape) if i not in _places(x, axes)])
        )

    def reduce_at(self, reduce: Callable[..., Any], x: Any, axes: Any, keepdims: bool, noop: bool) -> Any:
        """Reduce over axes that a tensor names; all of them, unless ``noop``, if it is empty.

        Args:
            reduce: Takes the tensor, the axes and whether to keep them.
            x: The tensor.
            axes: A vector.
            keepdims: Whether reduced axes stay, as ones.
            noop: Whether no axes mean that nothing is reduced.
        """
        axes = axes.reshape(-1)
        if axes.shape[0] == 0:
            return reduce(x, [] if noop else list(range(x.dim())), keepdims)
        if not self.staged:
            return reduce(x, axes.tolist(), keepdims)
        return self._reduce_staged(reduce, x, axes, keepdims)

    def _reduce_staged(self, reduce: Callable[..., Any], x: Any, axes: Any, keepdims: bool) -> Any:
        """Reduce while a graph is recorded: which axes are meant is found by arithmetic on positions, not by reading.

        The elements are brought into an order in which the reduced axes come last, then reduced as rows.
        """
        rank = x.dim()
        gone = self.mask_of(axes, rank)
        sizes = self.shape_tensor(x)
        order = torch.argsort(gone.to(torch.int64), stable=True)
        strides = sizes.flip(0).cumprod(0).flip(0) // sizes.clamp(min=1)
        moved = sizes[order]
        inner = moved.flip(0).cumprod(0).flip(0) // moved.clamp(min=1)
        place = torch.arange(x.numel(), device=x.device)
        digits = (place[:, None] // inner.clamp(min=1)) % moved.clamp(min=1)
        flat = x.reshape(-1)[(digits * strides[order]).sum(1)]
        kept = self.as_size(torch.where(gone, 1, sizes).prod())
        rest = self.as_size(torch.where(gone, sizes, 1).prod())
        reduced = reduce(flat.reshape([kept, rest]), [1], False)
        if keepdims:
            return reduced.reshape(self.as_known_sizes(torch.where(gone, 1, sizes)))
        return reduced.reshape(self.as_known_sizes(moved[: rank - axes.shape[0]]))

    def cumsum(self, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
        """Running sums along an axis, a number or a scalar."""
        return self._running(torch.cumsum, 0, x, axis, exclusive, reverse)

    def cumprod(self, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
        """Running products along an axis, a number or a scalar."""
        return self._running(torch.cumprod, 1, x, axis, exclusive, reverse)

    def _running(self, run: Callable[..., Any], neutral: int, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
        if not isinstance(axis, int):
            wanted = torch.where(axis < 0, axis + x.dim(), axis)
            chosen = x
            for i in range(x.dim()):
                chosen = torch.where(wanted == i, self._running(run, neutral, x, i, exclusive, reverse), chosen)
            return chosen
        x = x.flip(axis) if reverse else x
        wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
        result = run(x, axis, dtype=wide).to(x.dtype)
        if exclusive:
            first = x.new_full([1 if i == axis % x.dim() else s for i, s in enumerate(x.shape)], neutral)
            result = torch.cat([first, result], axis).narrow(axis, 0, x.shape[axis])  # of nothing, nothing is left
        return result.flip(axis) if reverse else result


def _places(x: Any, axes: list[int]) -> set[int]:
    return {a % x.dim() for a in axes}


def _bound(dtype: Any, lowest: bool) -> Any:
    """What the extreme of no elements is."""
    if dtype == torch.bool:
        return not lowest
    if dtype.is_floating_point:
        return -float("inf") if lowest else float("inf")
    return torch.iinfo(dtype).min if lowest else torch.iinfo(dtype).max
