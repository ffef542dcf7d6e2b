"""PyTorch's primitives for sorting, extremes and selection."""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.primitives.torch_indexing import TorchIndexing

_torch: Any = torch


class TorchSelection(TorchIndexing):
    """Top-k, argmax, unique, non-maximum suppression."""

    def top_k(self, x: Any, k: Any, largest: bool) -> tuple[Any, Any]:
        """The extremes along the last axis in order; of equal ones the lower index comes first."""
        key = x.to(torch.int64) if x.dtype in (torch.uint16, torch.uint32, torch.bool) else x
        if x.dtype == torch.uint64:
            key = x.view(torch.int64) ^ torch.iinfo(torch.int64).min  # unsigned order becomes signed order
        # torch.topk leaves ties in any order; a stable sort keeps the lower index first.
        order = torch.sort(key, dim=-1, descending=largest, stable=True)[1]
        order = order.narrow(-1, 0, k)
        if x.dtype in (torch.uint16, torch.uint32, torch.uint64):
            signed = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
            return torch.gather(x.view(signed), -1, order).view(x.dtype), order
        return torch.gather(x, -1, order), order

    def arg_extreme(self, x: Any, axis: int, largest: bool) -> Any:
        """The index of the first maximum or minimum along an axis."""
        x = x.to(torch.int64) if x.dtype in (torch.bool, torch.uint16, torch.uint32) else x
        return (torch.argmax if largest else torch.argmin)(x, axis)

    def unique(self, x: Any, ordered: bool) -> tuple[Any, Any, Any, Any]:
        """Distinct elements of a vector with the first index, the inverse and the count of each."""
        return self._unique(x, ordered, torch.unique(x, return_inverse=True, return_counts=True))

    def unique_rows(self, rows: Any, ordered: bool) -> tuple[Any, Any, Any, Any]:
        """Distinct rows of a matrix, ordered by their first column, then their second, and so on."""
        return self._unique(rows, ordered, torch.unique(rows, return_inverse=True, return_counts=True, dim=0))

    def _unique(self, x: Any, ordered: bool, found: Any) -> tuple[Any, Any, Any, Any]:
        values, inverse, counts = found
        total = torch.arange(x.shape[0], device=x.device)
        first = torch.full_like(counts, torch.iinfo(torch.int64).max).scatter_reduce(0, inverse, total, "amin")
        if ordered:
            return values, first, inverse, counts
        order = torch.argsort(first)
        rank = torch.argsort(order)
        return values[order], first[order], rank[inverse], counts[order]

    def limit_scalar(self, limit: Any) -> Any:
        """A limit as an integer scalar."""
        return limit if torch.is_tensor(limit) else self.size64(limit)

    def non_max_suppression(self, corners: Any, scores: Any, limit: Any, iou: Any, threshold: Any | None) -> Any:
        """Greedy selection for each batch element and class; rows of (batch, class, box).

        Args:
            corners: Ordered corners of the boxes, [batch, boxes, 4].
            scores: [batch, classes, boxes].
            limit: The most boxes for a batch element and class, a number or an integer scalar.
            iou: Overlap above which a box is dropped, a scalar.
            threshold: Score that a box must exceed, a scalar; None for no limit.
        """
        scores = scores.contiguous()  # a loop's state keeps its strides
        boxes = scores.shape[2]
        alive = torch.ones_like(scores, dtype=torch.bool) if threshold is None else scores > threshold
        # The place of each box by falling score; of equal scores the lower index comes first.
        rank = torch.argsort(torch.argsort(scores, dim=2, descending=True, stable=True), dim=2)
        area = (corners[..., 2:] - corners[..., :2]).prod(-1)
        # The step in which each box was selected; later ones are -1.
        turn = torch.full_like(rank, -1)
        step = torch.zeros((), dtype=torch.int64, device=scores.device)
        state: Any = (step, alive, turn)
        constants: Any = (corners, rank, area, limit, iou)
        if self.tracing:
            turn = _torch.jit.script(_suppress)(*state, *constants)
        elif self.staged:
            turn = _torch._higher_order_ops.while_loop(
                lambda *carried: _unfinished(*carried, *constants),
                lambda *carried: _select(*carried, *constants),
                state,
            )[2]
        else:
            turn = _suppress(*state, *constants)
        # Selected boxes ordered by batch, class and turn.
        later = torch.where(turn < 0, boxes + 1, turn)
        order = torch.argsort(later, dim=2, stable=True)
        kept = torch.gather(turn, 2, order) >= 0
        places = torch.nonzero(kept)
        return torch.cat([places[:, :2], order[kept][:, None]], 1)


def _unfinished(
    step: torch.Tensor,
    alive: torch.Tensor,
    turn: torch.Tensor,
    corners: torch.Tensor,
    rank: torch.Tensor,
    area: torch.Tensor,
    limit: torch.Tensor,
    iou: torch.Tensor,
) -> torch.Tensor:
    """Whether another box may be selected."""
    return torch.logical_and(step < limit, alive.any())


def _select(
    step: torch.Tensor,
    alive: torch.Tensor,
    turn: torch.Tensor,
    corners: torch.Tensor,
    rank: torch.Tensor,
    area: torch.Tensor,
    limit: torch.Tensor,
    iou: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Select the best box of every batch element and class, and drop what overlaps it."""
    best = torch.where(alive, rank, rank.shape[2]).argmin(2, keepdim=True)
    index = torch.arange(rank.shape[2], device=rank.device)
    picked = torch.logical_and(index == best, alive)
    turn = torch.where(picked, step, turn)
    rows = best.expand(-1, -1, 4)
    chosen = torch.gather(corners, 1, rows)
    size = torch.gather(area, 1, best[:, :, 0])[:, :, None]
    lower = torch.maximum(corners[:, None, :, :2], chosen[:, :, None, :2])
    upper = torch.minimum(corners[:, None, :, 2:], chosen[:, :, None, 2:])
    extent = upper - lower
    shared = extent[..., 1] * extent[..., 0]
    union = area[:, None] + size - shared
    valid = (extent > 0).all(-1) & (shared > 0) & (area[:, None] > 0) & (size > 0) & (union > 0)
    overlaps = valid & (shared / union > iou)
    return step + 1, alive & ~picked & ~overlaps, turn


def _suppress(
    step: torch.Tensor,
    alive: torch.Tensor,
    turn: torch.Tensor,
    corners: torch.Tensor,
    rank: torch.Tensor,
    area: torch.Tensor,
    limit: torch.Tensor,
    iou: torch.Tensor,
) -> torch.Tensor:
    """Run the selection to its end."""
    while bool(_unfinished(step, alive, turn, corners, rank, area, limit, iou)):
        step, alive, turn = _select(step, alive, turn, corners, rank, area, limit, iou)
    return turn
