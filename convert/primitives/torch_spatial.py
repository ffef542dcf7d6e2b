"""PyTorch's convolutions and pools; images are channels-first."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from xport.convert.primitives.torch_shapes import TorchShapes


class TorchSpatial(TorchShapes):
    """Convolutions and pools of one to three spatial axes; images are channels-first."""

    def spatial_axes(self, rank: int) -> list[int]:
        """Where an image of this rank stores its spatial axes."""
        return list(range(2, rank))

    def shape_of_weight(self, w: Any) -> list[Any]:
        """Sizes of a weight."""
        return list(w.shape)

    def conv(self, x: Any, w: Any, b: Any, *, strides: Any, padding: Any, dilations: Any, groups: int) -> Any:
        """Convolution."""
        function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(strides)]
        symmetric = all(p[0] == p[1] for p in padding)
        if not symmetric:
            x = F.pad(x, [side for pair in reversed(padding) for side in pair])
        return function(x, w, b, strides, [p[0] for p in padding] if symmetric else 0, dilations, groups)

    def max_pool(self, x: Any, kernel: Any, *, strides: Any, padding: Any, dilations: Any) -> Any:
        """Maximum over windows."""
        function = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(strides)]
        x = F.pad(x, [side for pair in reversed(padding) for side in pair], value=float("-inf"))
        return function(x, kernel, strides, 0, dilations)
