"""Seeded weights and normalisation statistics that are not the defaults.

A fresh BatchNorm has mean 0, variance 1, weight 1 and bias 0, which hides a converter that folds it wrongly,
swaps two of its tensors or drops one. Here every tensor has its own random values near those. They come from
numpy, whose generator does not depend on the vector instructions of the machine as that of torch does.

Statistics of BatchNorm are random around the measured ones: with statistics that have nothing to do with the
activations, a deep network gives nearly the same output for every input and would hide an early error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from xport.models.base import ReferenceModule

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm)
MEASURED_BATCH = 4
MEASURED_SIDE = 96
VARIANCE_FLOOR = 0.1  # a channel with next to none would amplify rounding errors
GRID = 1024.0  # measured in float64 and rounded to this grid, statistics are the same on every machine


def seeded(factory: Callable[[], ReferenceModule], seed: int) -> ReferenceModule:
    """Construct a module and fill it from a seed.

    Args:
        factory: Constructs the module.
        seed: What all values depend on.

    Returns:
        The module in eval mode.
    """
    with torch.random.fork_rng(devices=[]):
        module = factory()
    fill(module, seed, module.gains)
    measure(module.eval(), seed)
    return module


def fill(module: nn.Module, seed: int, gains: Mapping[str, float] | None = None) -> None:
    """Fill every parameter of a module with seeded values, in place.

    Args:
        module: What to fill.
        seed: What all values depend on.
        gains: Factors on the spread of a parameter, by the end of its name.
    """
    rng = np.random.default_rng(seed)
    done: set[int] = set()
    for path, owner in module.named_modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) not in done:  # a tied parameter is filled once
                done.add(id(parameter))
                gain = _gain(gains or {}, f"{path}.{name}")
                _assign(parameter, _values(rng, owner, name, tuple(parameter.shape)) * gain)


def measure(module: ReferenceModule, seed: int) -> None:
    """Set the statistics of every BatchNorm to random values around those measured on seeded noise, in place.

    Args:
        module: A module in eval mode whose parameters are filled.
        seed: What the noise and the deviations depend on.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, BATCH_NORMS)]
    if not layers:
        return
    rng = np.random.default_rng(seed + 1)
    shapes = [spec.resolve({"batch": MEASURED_BATCH}) for spec in module.inputs]
    noise = [rng.standard_normal([min(extent, MEASURED_SIDE) for extent in shape]) for shape in shapes]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train().momentum = 1.0
    with torch.no_grad():
        module.double()(*map(torch.from_numpy, noise))
    module.float().eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        _deviate(rng, layer)


def _deviate(rng: np.random.Generator, layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    """Move measured statistics by a tenth of a standard deviation and by up to 40 percent of the variance."""
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        return
    shape = tuple(mean.shape)
    spread = np.sqrt(variance.double().numpy() + VARIANCE_FLOOR)
    _assign(mean, _on_grid(mean.double().numpy() + _normal(rng, shape, 0.1) * spread))
    _assign(variance, _on_grid(spread**2 * _uniform(rng, shape, 0.7, 1.4)))


def _on_grid(values: np.ndarray) -> np.ndarray:
    return np.round(values * GRID) / GRID


def _gain(gains: Mapping[str, float], path: str) -> np.float32:
    return np.float32(next((gain for end, gain in gains.items() if path.endswith(end)), 1.0))


def _values(rng: np.random.Generator, owner: nn.Module, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if isinstance(owner, NORMS):
        return _uniform(rng, shape, 0.8, 1.2) if name == "weight" else _normal(rng, shape, 0.1)
    if isinstance(owner, nn.RNNBase):
        bound = 1.5 / math.sqrt(owner.hidden_size)
        return _uniform(rng, shape, -bound, bound)
    if isinstance(owner, nn.Embedding):
        return _normal(rng, shape, 1.0)
    if name == "bias":
        return _normal(rng, shape, 0.05)
    if isinstance(owner, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        return _normal(rng, shape, _spread(owner, shape))
    return _normal(rng, shape, 0.5)


def _spread(owner: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, shape: tuple[int, ...]) -> float:
    """Spread that keeps the second moment: He's for a convolution after a ReLU, LeCun's for a linear."""
    if isinstance(owner, nn.Linear):
        return 1.0 / math.sqrt(shape[1])
    if isinstance(owner, nn.ConvTranspose2d):
        taps = math.prod(shape[2:]) / math.prod(owner.stride)
        return math.sqrt(2.0 / (owner.in_channels / owner.groups * taps))
    return math.sqrt(2.0 / math.prod(shape[1:]))


def _normal(rng: np.random.Generator, shape: tuple[int, ...], spread: float) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(spread)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    return np.float32(low) + rng.random(shape, dtype=np.float32) * np.float32(high - low)


def _assign(target: torch.Tensor, values: np.ndarray) -> None:
    with torch.no_grad():
        target.copy_(torch.from_numpy(values))
