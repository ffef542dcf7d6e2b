"""MobileNetV2: inverted residuals with depthwise convolutions, ReLU6 and linear bottlenecks."""

from __future__ import annotations

import torch
from torch import nn

from xport.models.base import ReferenceModule, by_size, image_input
from xport.models.spec import Size

STAGES = (
    # expansion, channels, repeats, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def scaled(channels: int, multiplier: float) -> int:
    """Scale a channel count to a multiple of eight that is not more than a tenth below."""
    wanted = channels * multiplier
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def convolution(channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias, batch normalisation and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project; with a shortcut where shapes agree.

    Args:
        channels: Input channels.
        width: Output channels.
        stride: Stride of the depthwise convolution.
        expansion: Factor on the input channels; 1 leaves the expansion out.
    """

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.shortcut = stride == 1 and channels == width
        self.expand = nn.Identity() if expansion == 1 else convolution(channels, hidden, 1)
        self.depthwise = convolution(hidden, hidden, 3, stride, groups=hidden)
        self.project = nn.Sequential(nn.Conv2d(hidden, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        out: torch.Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.shortcut else out


class MobileNetV2(ReferenceModule):
    """The network of Sandler et al., 2018.

    Args:
        side: Height and width of the image.
        multiplier: Factor on the channels of every stage.
        last: Channels of the last convolution.
        classes: Number of classes.
    """

    def __init__(self, side: int, multiplier: float, last: int, classes: int) -> None:
        super().__init__()
        self.inputs = image_input(3, side)
        channels = scaled(32, multiplier)
        layers: list[nn.Module] = [convolution(3, channels, 3, stride=2)]
        for expansion, base, repeats, stride in STAGES:
            width = scaled(base, multiplier)
            for index in range(repeats):
                layers.append(InvertedResidual(channels, width, stride if index == 0 else 1, expansion))
                channels = width
        layers.append(convolution(channels, last, 1))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify images [batch, 3, side, side] into logits [batch, classes]."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(self.features(image)), 1))
        return logits


def mobilenet_v2(*, size: Size = "real") -> MobileNetV2:
    """Build MobileNetV2 (3,504,872 parameters in the real size)."""
    side, multiplier, last, classes = by_size(size, small=(64, 0.25, 160, 10), real=(224, 1.0, 1280, 1000))
    return MobileNetV2(side, multiplier, last, classes)
