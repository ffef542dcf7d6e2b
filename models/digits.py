"""The handwritten digits of scikit-learn, and seconds of training on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

Split = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


def load_digits_data(seed: int = 0) -> Split:
    """Load the digits that come with scikit-learn, a quarter held out with every class in proportion.

    Args:
        seed: Seed of the split.

    Returns:
        Training images, training labels, test images, test labels; images are float32 [n, 1, 8, 8] in 0..1.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images[:, None] / 16.0).astype(np.float32)
    labels = digits.target.astype(np.int64)
    parts: Any = train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=seed)
    train_x, test_x, train_y, test_y = parts
    return train_x, train_y, test_x, test_y


def train(
    module: nn.Module,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    epochs: int = 15,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Train a classifier in place and leave it in eval mode.

    Args:
        module: Takes the images and gives logits.
        x: Images.
        y: Labels.
        epochs: Passes over the images.
        seed: Seed of the shuffling and of dropout; the global random state is left alone.
        progress: Called after each epoch with its number, from 1, and its mean loss.
    """
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(1, epochs + 1):
            losses = []
            order = torch.randperm(len(images))
            for start in range(0, len(images), 64):
                rows = order[start : start + 64]
                optimiser.zero_grad()
                loss = F.cross_entropy(module(images[rows]), labels[rows])
                torch.autograd.backward(loss)
                optimiser.step()
                losses.append(float(loss.detach()))
            schedule.step()
            if progress is not None:
                progress(epoch, sum(losses) / len(losses))
    module.eval()


def accuracy(module: nn.Module, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    """Fraction of images a classifier labels correctly."""
    with torch.no_grad():
        predicted = module(torch.from_numpy(x)).argmax(dim=1).numpy()
    return float((predicted == y).mean())
