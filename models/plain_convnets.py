"""Plain stacks of convolutions: AlexNet and VGG-19."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from xport.models.base import ReferenceModule, by_size, image_input
from xport.models.spec import Size


@dataclass(frozen=True)
class StackConfig:
    """Extents of a plain stack.

    Attributes:
        side: Height and width of the image.
        grid: Height and width of the last feature map.
        widths: Channels, one per convolution (AlexNet) or per stage (VGG).
        hidden: Width of the two hidden linear layers.
        classes: Number of classes.
    """

    side: int
    grid: int
    widths: tuple[int, ...]
    hidden: int
    classes: int


class PlainConvNet(ReferenceModule):
    """Features, an average pool to a fixed grid, and a classifier of three linear layers.

    Args:
        features: The convolutions.
        classifier: The linear layers.
        config: The extents both were built with.
    """

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential, config: StackConfig) -> None:
        super().__init__()
        self.inputs = image_input(3, config.side)
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(config.grid)
        self.classifier = classifier

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify images [batch, 3, side, side] into logits [batch, classes]."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(self.features(image)), 1))
        return logits


def alexnet(*, size: Size = "real") -> PlainConvNet:
    """Build AlexNet ("One weird trick", 61,100,840 parameters in the real size)."""
    config = by_size(
        size,
        small=StackConfig(side=96, grid=2, widths=(16, 32, 48, 32, 32), hidden=128, classes=10),
        real=StackConfig(side=224, grid=6, widths=(64, 192, 384, 256, 256), hidden=4096, classes=1000),
    )
    a, b, c, d, e = config.widths
    features = nn.Sequential(
        nn.Conv2d(3, a, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(a, b, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(b, c, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(c, d, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(d, e, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
    )
    classifier = nn.Sequential(
        nn.Dropout(),
        nn.Linear(e * config.grid**2, config.hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(config.hidden, config.hidden),
        nn.ReLU(inplace=True),
        nn.Linear(config.hidden, config.classes),
    )
    return PlainConvNet(features, classifier, config)


def vgg19(*, size: Size = "real") -> PlainConvNet:
    """Build VGG-19 without batch normalisation (configuration E, 143,667,240 parameters in the real size)."""
    config = by_size(
        size,
        small=StackConfig(side=64, grid=2, widths=(8, 16, 32, 64, 64), hidden=128, classes=10),
        real=StackConfig(side=224, grid=7, widths=(64, 128, 256, 512, 512), hidden=4096, classes=1000),
    )
    layers: list[nn.Module] = []
    channels = 3
    for width, repeats in zip(config.widths, (2, 2, 4, 4, 4), strict=True):
        for _ in range(repeats):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(
        nn.Linear(channels * config.grid**2, config.hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(config.hidden, config.hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(config.hidden, config.classes),
    )
    return PlainConvNet(nn.Sequential(*layers), classifier, config)
