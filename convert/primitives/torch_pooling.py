"""PyTorch's pools; images are channels-first."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from xport.convert.primitives.torch_spatial import TorchSpatial


class TorchPooling(TorchSpatial):
    """Maximum and mean over windows of one to three spatial axes."""

    def max_pool(self, x: Any, kernel: Any, *, strides: Any, padding: Any, dilations: Any) -> Any:
        """Maximum over windows; what lies outside the image never wins."""
        function = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(strides)]
        dtype = x.dtype
        x = x if dtype.is_floating_point else x.to(torch.float32)  # holds every 8-bit integer
        own = _own_padding(kernel, padding)
        if own is None:
            x = self.pad_image(x, padding, float("-inf"))
        return function(x, kernel, strides, own or 0, dilations).to(dtype)

    def mean_pool(
        self, x: Any, kernel: Any, *, strides: Any, padding: Any, dilations: Any, exclude_pads: bool
    ) -> Any | None:
        """Mean over windows; None where no kernel leaves such padding out of the count."""
        function = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(strides)]
        own = _own_padding(kernel, padding)
        if len(kernel) == 3 and any(isinstance(s, int) and s < k for s, k in zip(x.shape[2:], kernel, strict=True)):
            own = None  # the kernel for three axes looks at the image without its padding, and finds it too small
        plain = all(isinstance(p, int) and p == 0 for pair in padding for p in pair)
        dilated = any(d > 1 for d in dilations)
        if exclude_pads and not plain and (own is None or dilated):
            return None
        if dilated:
            x = self.pad_image(x, padding)
            for axis, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True), start=2):
                x = sum(self.taps(x, axis, k, s, d)) / k
            return x
        if own is None:
            x, own = self.pad_image(x, padding), [0] * len(kernel)
        return function(x, kernel, strides, own, False, not exclude_pads)

    def taps(self, x: Any, axis: int, kernel: int, stride: int, dilation: int) -> list[Any]:
        """For each tap of a window along an axis, the elements it meets."""
        count = (x.shape[axis] - (kernel - 1) * dilation - 1) // stride + 1
        return [
            self.slice(x, [(axis, k * dilation, k * dilation + (count - 1) * stride + 1, stride)])
            for k in range(kernel)
        ]


def _own_padding(kernel: Any, padding: Any) -> list[int] | None:
    """The padding as PyTorch's pools take it: alike on both sides and at most half the kernel."""
    fits = all(
        isinstance(b, int) and isinstance(e, int) and b == e and 2 * b <= k
        for (b, e), k in zip(padding, kernel, strict=True)
    )
    return [b for b, _ in padding] if fits else None
