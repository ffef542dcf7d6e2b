"""DenseNet-121: every layer of a block sees the concatenation of all before it."""

from __future__ import annotations

import torch
from torch import nn

from xport.models.base import ReferenceModule, by_size, image_input
from xport.models.spec import Size

BOTTLENECK = 4


class DenseLayer(nn.Module):
    """Batch normalisation, ReLU and convolution, twice; the result is appended to the input.

    Args:
        channels: Input channels.
        growth: Channels added.
    """

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth)
        self.conv2 = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the layer."""
        new = self.conv1(self.relu(self.norm1(x)))
        new = self.conv2(self.relu(self.norm2(new)))
        return torch.cat([x, new], dim=1)


class DenseNet(ReferenceModule):
    """A stem, dense blocks with halving transitions between, and a linear layer.

    Args:
        side: Height and width of the image.
        stem: Channels of the first convolution.
        growth: Channels each dense layer adds.
        blocks: Layers per block.
        classes: Number of classes.
    """

    def __init__(self, side: int, stem: int, growth: int, blocks: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.inputs = image_input(3, side)
        layers: list[nn.Module] = [
            nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        channels = stem
        for index, count in enumerate(blocks):
            for _ in range(count):
                layers.append(DenseLayer(channels, growth))
                channels += growth
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            if index < len(blocks) - 1:
                layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
                channels //= 2
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify images [batch, 3, side, side] into logits [batch, classes]."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(self.features(image)), 1))
        return logits


def densenet121(*, size: Size = "real") -> DenseNet:
    """Build DenseNet-121 (7,978,856 parameters in the real size)."""
    side, stem, growth, classes = by_size(size, small=(64, 16, 8, 10), real=(224, 64, 32, 1000))
    return DenseNet(side, stem, growth, (6, 12, 24, 16), classes)
