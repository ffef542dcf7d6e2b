"""Non-maximum suppression as a torch operator, `xport::nms`, with the semantics of ONNX NonMaxSuppression.

Torch itself has no such operator. This one runs eagerly, has a shape function so that `torch.export` can
trace it, and `translation_table()` tells `torch.onnx.export` which ONNX operator it is.
"""

# Annotations must stay real types here: `custom_op` reads the operator's schema from them.

from collections.abc import Callable
from typing import Any

import torch


@torch.library.custom_op("xport::nms", mutates_args=())
def nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    max_output_boxes_per_class: int,
    iou_threshold: float,
    score_threshold: float,
) -> torch.Tensor:
    """Select boxes greedily by score, dropping those that overlap one already selected.

    Args:
        boxes: Two opposite corners per box, in either order, [batch, boxes, 4].
        scores: One score per class and box, [batch, classes, boxes].
        max_output_boxes_per_class: At most this many are selected per batch element and class.
        iou_threshold: A box is dropped when its intersection over union with a selected one is greater.
        score_threshold: Only boxes with a greater score are considered.

    Returns:
        Rows of (batch, class, box), int64 [selected, 3], ordered by batch, then class, then descending score;
        of equal scores the box with the lower index is first.
    """
    first, second = boxes[..., :2], boxes[..., 2:]
    lower, upper = torch.minimum(first, second), torch.maximum(first, second)
    rows = []
    for batch in range(scores.shape[0]):
        for label in range(scores.shape[1]):
            candidates = torch.nonzero(scores[batch, label] > score_threshold).flatten()
            order = torch.argsort(scores[batch, label, candidates], descending=True, stable=True)
            candidates = candidates[order][: None if max_output_boxes_per_class > 0 else 0]
            kept = _greedy(lower[batch], upper[batch], candidates, max_output_boxes_per_class, iou_threshold)
            rows += [[batch, label, index] for index in kept]
    return torch.tensor(rows, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _greedy(lower: torch.Tensor, upper: torch.Tensor, order: torch.Tensor, limit: int, threshold: float) -> list[int]:
    """Indices selected from candidates that are in descending order of score."""
    kept: list[int] = []
    while len(order) > 0 and len(kept) < limit:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        order = rest[~_overlaps(lower[best], upper[best], lower[rest], upper[rest], threshold)]
    return kept


def _overlaps(
    lower: torch.Tensor, upper: torch.Tensor, lowers: torch.Tensor, uppers: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Whether each of many boxes overlaps one by more than the threshold; an empty box overlaps nothing."""
    extent = (torch.minimum(upper, uppers) - torch.maximum(lower, lowers)).clamp(min=0)
    intersection = extent[:, 0] * extent[:, 1]
    area, areas = (upper - lower).prod(), (uppers - lowers).prod(dim=1)
    return (intersection > 0) & (intersection / (area + areas - intersection) > threshold)


@nms.register_fake
def _nms_shape(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    max_output_boxes_per_class: int,
    iou_threshold: float,
    score_threshold: float,
) -> torch.Tensor:
    selected = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((selected, 3), dtype=torch.int64)


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Give `custom_translation_table` of `torch.onnx.export` for `xport::nms`; imports onnxscript."""
    from onnxscript import opset18

    op: Any = opset18

    def to_onnx(
        boxes: Any,
        scores: Any,
        max_output_boxes_per_class: int,
        iou_threshold: float,
        score_threshold: float,
    ) -> Any:
        return op.NonMaxSuppression(
            boxes,
            scores,
            op.Constant(value_ints=[max_output_boxes_per_class]),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[score_threshold]),
        )

    return {torch.ops.xport.nms.default: to_onnx}
