"""A single-shot detector that ends in non-maximum suppression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from xport.models.base import ReferenceModule, by_size, image_input
from xport.models.nms import nms, translation_table
from xport.models.spec import Size


@dataclass(frozen=True)
class DetectorConfig:
    """Extents and thresholds of the detector.

    Attributes:
        side: Height and width of the image.
        widths: Channels per backbone stage; each stage halves height and width.
        classes: Number of classes.
        anchors: Sides of the square anchors of a cell, as a fraction of the image.
        limit: Most boxes per image and class.
        iou_threshold: Overlap above which a box is suppressed.
        score_threshold: Score a box must exceed.
    """

    side: int
    widths: tuple[int, ...]
    classes: int
    anchors: tuple[float, ...] = (0.2, 0.35, 0.5)
    limit: int = 20
    iou_threshold: float = 0.5
    score_threshold: float = 0.6


class Detector(ReferenceModule):
    """Convolutional backbone, box and class heads on one feature map, decoding, and suppression.

    Boxes are corners (x1, y1, x2, y2), from 0 to 1. `detections` are rows (batch, class, box) that index the
    other two outputs, as ONNX NonMaxSuppression gives them.

    Args:
        config: Extents and thresholds.
    """

    outputs = ("detections", "boxes", "scores")
    gains: ClassVar[Mapping[str, float]] = {"box_head.weight": 0.5, "class_head.weight": 0.6}
    anchors: torch.Tensor

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.inputs = image_input(3, config.side)
        self.config = config
        layers: list[nn.Module] = []
        channels = 3
        for width in config.widths:
            layers += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.1),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.SiLU(),
            ]
            channels = width
        self.backbone = nn.Sequential(*layers)
        self.box_head = nn.Conv2d(channels, 4 * len(config.anchors), 1)
        self.class_head = nn.Conv2d(channels, config.classes * len(config.anchors), 1)
        self.register_buffer("anchors", torch.tensor(config.anchors), persistent=False)

    def decode(self, features: torch.Tensor) -> torch.Tensor:
        """Turn features into boxes [batch, cells * anchors, 4]."""
        batch, _, rows, columns = features.shape
        deltas = self.box_head(features).reshape(batch, len(self.config.anchors), 4, rows, columns)
        shift_x, shift_y, grow_x, grow_y = deltas.permute(0, 3, 4, 1, 2).unbind(-1)
        y = (torch.arange(rows, device=features.device) + 0.5).reshape(rows, 1, 1) / rows
        x = (torch.arange(columns, device=features.device) + 0.5).reshape(1, columns, 1) / columns
        centre_x, centre_y = x + torch.tanh(shift_x) / columns, y + torch.tanh(shift_y) / rows
        half_x = self.anchors * torch.exp(torch.tanh(grow_x)) / 2
        half_y = self.anchors * torch.exp(torch.tanh(grow_y)) / 2
        corners = [centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y]
        boxes = torch.stack(corners, dim=-1).reshape(batch, rows * columns * len(self.config.anchors), 4)
        return boxes.clamp(0, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Detect objects in images [batch, 3, side, side]: (detections, boxes, scores)."""
        features = self.backbone(image)
        batch, _, rows, columns = features.shape
        boxes = self.decode(features)
        logits = self.class_head(features).reshape(batch, len(self.config.anchors), -1, rows, columns)
        scores = torch.sigmoid(logits).permute(0, 2, 3, 4, 1).reshape(batch, self.config.classes, -1)
        config = self.config
        detections: torch.Tensor = nms(boxes, scores, config.limit, config.iou_threshold, config.score_threshold)
        return detections, boxes, scores

    def translation_table(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """Translate the suppression to ONNX NonMaxSuppression."""
        return translation_table()


def detector(*, size: Size = "real") -> Detector:
    """Build the detector (real size: 320x320 images, 80 classes)."""
    return Detector(
        by_size(
            size,
            small=DetectorConfig(side=64, widths=(8, 16, 32), classes=3),
            real=DetectorConfig(side=320, widths=(32, 64, 128, 256, 512), classes=80, limit=100, score_threshold=0.8),
        )
    )
