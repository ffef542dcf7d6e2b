"""Boxes that do not overlap."""

from __future__ import annotations

from typing import Any

from xport.convert.writing.code import Code, call, method
from xport.convert.writing.emit_activations import number
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit


@emit("NonMaxSuppression")
def non_max_suppression(node: NodeView) -> Code:
    """By a function that is written beside the model."""
    name = node.helper("non_max_suppression")
    if node.attr("center_point_box", 0):
        node.helper("corners_of")
    limit = node.sizes(2)[0] if node.has(2) else 0
    iou = _threshold(node, 3)
    named: dict[str, Any] = {}
    if node.has(4):
        named["score_threshold"] = _threshold(node, 4)
    boxes = call("corners_of", node.x(0)) if node.attr("center_point_box", 0) else node.x(0)
    return Code(call(name, boxes, node.x(1), limit, iou, **named).parts, name="detections")


def _threshold(node: NodeView, i: int) -> Any:
    if not node.has(i):
        return 0.0
    found = node.const(i)
    return method(node.x(i), "item") if found is None else number(float(found.reshape(-1)[0]))
