"""The two smallest networks: a digits CNN and an MNIST multi-layer perceptron."""

from __future__ import annotations

import torch
from torch import nn

from xport.models.base import ReferenceModule, by_size, image_input
from xport.models.spec import InputSpec, Size


class DigitsCNN(ReferenceModule):
    """Two convolutions and two linear layers for the 8x8 digits of scikit-learn.

    Args:
        width: Channels of the first convolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inputs = image_input(1, 8)
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(2 * width * 16, 4 * width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(4 * width, 10),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify digits [batch, 1, 8, 8] into logits [batch, 10]."""
        logits: torch.Tensor = self.classifier(self.features(image))
        return logits


class MnistMLP(ReferenceModule):
    """One hidden layer over 784 pixels.

    Args:
        hidden: Width of the hidden layer.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inputs = (InputSpec("pixels", "float32", ("batch", 784)),)
        self.hidden = nn.Linear(784, hidden)
        self.output = nn.Linear(hidden, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Classify flattened digits [batch, 784] into logits [batch, 10]."""
        logits: torch.Tensor = self.output(torch.relu(self.hidden(pixels)))
        return logits


def digits_cnn(*, size: Size = "real") -> DigitsCNN:
    """Build the digits CNN."""
    return DigitsCNN(width=by_size(size, small=16, real=32))


def mnist_mlp(*, size: Size = "real") -> MnistMLP:
    """Build the 784-512-10 perceptron (64 hidden units in the small size)."""
    return MnistMLP(hidden=by_size(size, small=64, real=512))
