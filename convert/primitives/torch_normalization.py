"""PyTorch's normalisations of images, and class scores; images are channels-first."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from xport.convert.primitives.torch_pooling import TorchPooling


class TorchNormalization(TorchPooling):
    """Normalisation by group, local response, log-softmax and what losses need."""

    def channelwise(self, v: Any, rank: int) -> Any:
        """A per-channel vector that broadcasts over an image of a rank."""
        return v.reshape([-1, *[1] * (rank - 2)])

    def group_norm(self, x: Any, groups: Any, scale: Any, bias: Any, epsilon: float) -> Any:
        """Normalise each group of channels of each image, then scale and shift each channel."""
        return torch.group_norm(x, groups, scale, bias, epsilon)

    def instance_norm(self, x: Any, scale: Any, bias: Any, epsilon: float) -> Any:
        """Normalise each channel of each image, then scale and shift it."""
        # Unlike F.instance_norm, this takes images of one pixel.
        return torch.group_norm(x, x.shape[1], scale, bias, epsilon)

    def rms_norm(self, x: Any, scale: Any, axes: list[int], epsilon: float) -> Any:
        """Divide by the root of the mean square over trailing axes, then scale."""
        sizes = [x.shape[axis] for axis in axes]
        if list(scale.shape) == sizes and scale.dtype == x.dtype:
            return F.rms_norm(x, sizes, scale, epsilon)
        return F.rms_norm(x, sizes, None, epsilon) * scale

    def local_response(self, x: Any, size: int, alpha: float, beta: float, bias: float) -> Any | None:
        """Divide by a power of the neighbouring channels' squares; None where there is no function for it."""
        if size % 2 == 0 or x.dim() < 3:
            return None  # PyTorch puts the odd neighbour of an even size before, ONNX behind
        return F.local_response_norm(x, size, alpha, beta, bias)

    def log_softmax(self, x: Any, axis: int) -> Any:
        """The logarithm of softmax along an axis."""
        return torch.log_softmax(x, axis)

    def hardmax(self, x: Any, axis: int) -> Any:
        """One where the first maximum along an axis is, zero elsewhere."""
        best = torch.argmax(x, axis, keepdim=True)
        return torch.zeros_like(x).scatter(axis, best, torch.ones_like(best, dtype=x.dtype))

    def pick_class(self, x: Any, target: Any) -> Any:
        """From (N, C, P) the channel that ``target`` (N, P) names; zero where there is no such channel."""
        known = (target >= 0) & (target < x.shape[1])
        safe = torch.where(known, target, torch.zeros_like(target)).to(torch.int64)
        picked = torch.gather(x, 1, safe.unsqueeze(1)).squeeze(1)
        return torch.where(known, picked, torch.zeros_like(picked))
