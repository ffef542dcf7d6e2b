"""ResNet-50 (version 1.5: the stride is on the 3x3 convolution)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from xport.models.base import ReferenceModule, by_size, image_input
from xport.models.spec import Size

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut.

    Args:
        channels: Input channels.
        width: Channels of the 3x3 convolution; the output has four times as many.
        stride: Stride of the 3x3 convolution.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * EXPANSION)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != width * EXPANSION:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width * EXPANSION, 1, stride=stride, bias=False),
                nn.BatchNorm2d(width * EXPANSION),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: torch.Tensor = self.relu(self.bn3(self.conv3(x)) + shortcut)
        return out


class ResNet(ReferenceModule):
    """A stem, four stages of bottlenecks, global average pooling and a linear layer.

    Args:
        side: Height and width of the image.
        width: Channels of the stem.
        blocks: Bottlenecks per stage.
        classes: Number of classes.
    """

    gains: ClassVar[Mapping[str, float]] = {"bn3.weight": 0.4}

    def __init__(self, side: int, width: int, blocks: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.inputs = image_input(3, side)
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(blocks):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                stages.append(Bottleneck(channels, width * 2**stage, stride))
                channels = width * 2**stage * EXPANSION
        self.stages = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify images [batch, 3, side, side] into logits [batch, classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(self.stages(x)), 1))
        return logits


def resnet50(*, size: Size = "real") -> ResNet:
    """Build ResNet-50 (25,557,032 parameters in the real size)."""
    side, width, classes = by_size(size, small=(64, 8, 10), real=(224, 64, 1000))
    return ResNet(side=side, width=width, blocks=(3, 4, 6, 3), classes=classes)
