"""TensorFlow's convolutions and pools; images are channels-last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.primitives.tf_shapes import TfShapes


class TfSpatial(TfShapes):
    """Convolutions and pools of one to three spatial axes."""

    def spatial_axes(self, rank: int) -> list[int]:
        """Where an image of this rank stores its spatial axes."""
        return list(range(1, rank - 1))

    def shape_of_weight(self, w: Any) -> list[Any]:
        """Sizes of an array or tensor."""
        return list(w.shape) if isinstance(w, np.ndarray) else self.shape(w)

    def conv(
        self,
        x: Any,
        w: Any,
        b: Any,
        *,
        strides: Sequence[int],
        padding: Sequence[tuple[Any, Any]],
        dilations: Sequence[int],
        groups: int,
    ) -> Any:
        """Convolution; ``w`` is in ONNX order (out, in / groups, spatial…)."""
        order = [*range(2, len(strides) + 2), 1, 0]
        kernel = np.ascontiguousarray(w.transpose(order)) if isinstance(w, np.ndarray) else tf.transpose(w, order)
        x, mode = self._padded(x, padding, [k for k in self.shape_of_weight(w)[2:]], strides, dilations)
        name = "kernel"
        result = tf.nn.convolution(x, self.as_tensor(kernel, name), strides, mode, dilations=dilations)
        return result if b is None else tf.nn.bias_add(result, b)

    def _padded(self, x: Any, padding: Any, kernel: Any, strides: Any, dilations: Any) -> tuple[Any, str]:
        """Pad explicitly unless SAME means exactly this padding."""
        if all(p == (0, 0) for p in padding):
            return x, "VALID"
        sizes = self.shape(x)[1:-1]
        if all(
            (s == 1 or isinstance(size, int)) and tuple(p) == _same(size, (k - 1) * d + 1, s)
            for size, p, k, s, d in zip(sizes, padding, kernel, strides, dilations, strict=True)
        ):
            return x, "SAME"
        return tf.pad(x, [(0, 0), *padding, (0, 0)]), "VALID"

    def max_pool(self, x: Any, kernel: Any, *, strides: Any, padding: Any, dilations: Any) -> Any:
        """Maximum over windows."""
        x, mode = self._padded_with(x, padding, kernel, strides, dilations, x.dtype.min)
        return tf.nn.pool(x, list(kernel), "MAX", strides=list(strides), padding=mode, dilations=list(dilations))

    def _padded_with(self, x: Any, padding: Any, kernel: Any, strides: Any, dilations: Any, value: Any) -> Any:
        same, mode = self._padded(x, padding, kernel, strides, dilations)
        if same is x:
            return x, mode
        return tf.pad(x, [(0, 0), *padding, (0, 0)], constant_values=value), "VALID"


def _same(size: Any, kernel: int, stride: int) -> tuple[int, int]:
    total = kernel - 1 if stride == 1 else max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
