"""U-Net with any batch, height and width."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from xport.models.base import ReferenceModule, by_size
from xport.models.spec import InputSpec, Size


def double_convolution(channels: int, width: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class Up(nn.Module):
    """Transposed convolution, resize to an odd-sized skip connection, concatenate, convolve.

    Args:
        channels: Channels from below; the skip connection has half as many.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.conv = double_convolution(channels, channels // 2)

    def forward(self, below: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Merge what comes from below into the skip connection."""
        raised = F.interpolate(self.up(below), size=skip.shape[-2:], mode="nearest")
        out: torch.Tensor = self.conv(torch.cat([skip, raised], dim=1))
        return out


class UNet(ReferenceModule):
    """Four steps down, four steps up.

    Args:
        width: Channels of the first level; each level below has twice as many.
        classes: Channels of the output.
    """

    outputs = ("mask_logits",)

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.inputs = (InputSpec("image", "float32", ("batch", 3, "height", "width")),)
        widths = [width * 2**level for level in range(5)]
        self.stem = double_convolution(3, width)
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(double_convolution(above, above * 2) for above in widths[:-1])
        self.up = nn.ModuleList(Up(below) for below in reversed(widths[1:]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Segment images [batch, 3, height, width] into logits [batch, classes, height, width]."""
        x = self.stem(image)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(self.pool(x))
        for up in self.up:
            x = up(x, skips.pop())
        logits: torch.Tensor = self.head(x)
        return logits


def unet(*, size: Size = "real") -> UNet:
    """Build the U-Net; height and width must be at least 16."""
    return UNet(width=by_size(size, small=8, real=64), classes=2)
