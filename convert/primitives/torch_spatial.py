"""PyTorch's convolutions; images are channels-first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.fx.experimental.symbolic_shapes import statically_known_true

from xport.convert.primitives.torch_shapes import TorchShapes

Pair = tuple[Any, Any]


class TorchSpatial(TorchShapes):
    """Convolutions of one to three spatial axes, and what all image operators share."""

    def spatial_axes(self, rank: int) -> list[int]:
        """Where an image of this rank stores its spatial axes."""
        return list(range(2, rank))

    def image_axis(self, axis: int, rank: int) -> int:
        """Where an image of this rank stores a logical axis."""
        return axis

    def from_image(self, x: Any) -> Any:
        """An image in the logical order of its axes."""
        return x

    def shape_of_weight(self, w: Any) -> list[Any]:
        """Sizes of a weight."""
        return list(w.shape)

    def largest(self, a: Any, b: Any) -> Any:
        """The larger of two sizes."""
        return torch.sym_max(a, b)  # type: ignore[no-untyped-call]

    def smallest(self, a: Any, b: Any) -> Any:
        """The smaller of two sizes."""
        return torch.sym_min(a, b)  # type: ignore[no-untyped-call]

    def same_size(self, a: Any, b: Any) -> bool:
        """Whether two sizes are provably equal; asking does not bind an exported program to the answer."""
        if torch.is_tensor(a) or torch.is_tensor(b):  # torch.jit.trace gives sizes as tensors, and records the question
            return a is b
        return bool(statically_known_true(a == b))

    def widened(self, x: Any) -> Any:
        """The tensor itself: PyTorch's kernels accumulate half precision in single precision."""
        return x

    def pad_image(self, x: Any, pads: Sequence[Pair], value: float = 0) -> Any:
        """Pad stored axes by (begin, end) pairs with a value; negative numbers crop."""
        if all(isinstance(p, int) and p == 0 for pair in pads for p in pair):
            return x
        return F.pad(x, [side for pair in reversed(list(pads)) for side in pair], value=value)

    def conv(
        self,
        x: Any,
        w: Any,
        b: Any,
        *,
        strides: Sequence[int],
        padding: Sequence[Pair],
        dilations: Sequence[int],
        groups: int,
    ) -> Any:
        """Convolution."""
        function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(strides)]
        symmetric = all(isinstance(p[0], int) and p[0] == p[1] and p[0] >= 0 for p in padding)
        if not symmetric:
            x = self.pad_image(x, padding)
        return function(x, w, b, strides, [p[0] for p in padding] if symmetric else 0, dilations, groups)

    def conv_transpose(
        self,
        x: Any,
        w: Any,
        b: Any,
        *,
        strides: Sequence[int],
        crops: Sequence[Pair],
        dilations: Sequence[int],
        groups: int,
    ) -> Any:
        """Transposed convolution; ``crops`` is cut from the full result, negative sizes extend it."""
        function = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[len(strides)]
        extra = [c[0] - c[1] for c in crops]
        native = all(
            isinstance(e, int) and isinstance(c[0], int) and c[0] >= 0 for e, c in zip(extra, crops, strict=True)
        )
        limits = [max(s, d) for s, d in zip(strides, dilations, strict=True)]
        if native and all(0 <= e < limit for e, limit in zip(extra, limits, strict=True)):
            return function(x, w, b, strides, [c[0] for c in crops], extra, groups, dilations)
        result = function(x, w, None, strides, 0, 0, groups, dilations)
        result = self.pad_image(result, [(-begin, -end) for begin, end in crops])
        return result if b is None else result + b.reshape([-1, *[1] * len(strides)])

    def spread(self, x: Any, steps: Sequence[int]) -> Any:
        """Put ``step - 1`` zeros between neighbours along each stored axis."""
        if all(step == 1 for step in steps):
            return x
        result = x.new_zeros([(size - 1) * step + 1 for size, step in zip(x.shape, steps, strict=True)])
        result[tuple(slice(None, None, step) for step in steps)] = x
        return result
