"""TensorFlow's pools; images are channels-last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from xport.convert.primitives.tf_spatial import TfSpatial


class TfPooling(TfSpatial):
    """Maximum and mean over windows of one to three spatial axes."""

    def max_pool(self, x: Any, kernel: Any, *, strides: Any, padding: Any, dilations: Any) -> Any:
        """Maximum over windows; what lies outside the image never wins."""
        dtype = x.dtype
        x = self._pool_type(x)
        if any(d > 1 for d in dilations):
            x = self.pad_image(x, [(0, 0), *padding, (0, 0)], _lowest(x))
            result = self._by_taps(x, kernel, strides, dilations, tf.maximum)
        else:
            result = self._pool(x, kernel, strides, padding, dilations, tf.nn.max_pool2d, _lowest(x))
        return tf.cast(result, dtype)

    def mean_pool(
        self, x: Any, kernel: Any, *, strides: Any, padding: Any, dilations: Any, exclude_pads: bool
    ) -> Any | None:
        """Mean over windows.

        Args:
            x: The image.
            kernel: Taps per axis.
            strides: Steps between windows.
            padding: Begin and end padding with zeros.
            dilations: Steps between taps.
            exclude_pads: Whether the padding does not count; the result is None where no kernel does that.
        """
        dilated = any(d > 1 for d in dilations)
        plain = all(isinstance(p, int) and p == 0 for pair in padding for p in pair)
        if (
            exclude_pads
            and not plain
            and (dilated or len(kernel) > 2 or not self.is_same(x, padding, kernel, strides, dilations))
        ):
            return None
        dtype = x.dtype
        x = self._pool_type(x)
        if dilated:
            x = self.pad_image(x, [(0, 0), *padding, (0, 0)])
            total = self._by_taps(x, kernel, strides, dilations, tf.add)
            return tf.cast(total / self.scalar(self.product(kernel), total), dtype)
        if not exclude_pads:  # SAME would leave the padding out
            x = self.pad_image(x, [(0, 0), *padding, (0, 0)])
            padding = [(0, 0)] * len(kernel)
        return tf.cast(self._pool(x, kernel, strides, padding, dilations, tf.nn.avg_pool2d, 0), dtype)

    def _pool_type(self, x: Any) -> Any:
        """Small integers pool in single precision, which holds them all; TFLite would take them for quantised."""
        return tf.cast(x, tf.float32) if x.dtype in (tf.int8, tf.uint8) else self.widened(x)

    def _pool(
        self,
        x: Any,
        kernel: Any,
        strides: Any,
        padding: Any,
        dilations: Any,
        function: Callable[..., Any],
        value: float,
    ) -> Any:
        """A pool that is the same done axis by axis: three axes are two first, then the third."""
        if len(kernel) == 1:
            image = tf.expand_dims(x, 1)
            rest = ([1, *strides], [(0, 0), *padding], [1, *dilations])
            return tf.squeeze(self._pool(image, [1, *kernel], *rest, function, value), 1)
        mode = "VALID"
        if not all(isinstance(p, int) and p == 0 for pair in padding for p in pair):
            if len(kernel) == 2 and self.is_same(x, padding, kernel, strides, dilations):
                mode = "SAME"
            else:
                x = self.pad_image(x, [(0, 0), *padding, (0, 0)], value)
        if len(kernel) == 2:
            return function(x, list(kernel), list(strides), mode)
        batch, depth, height, width, channels = self.shape(x)
        planes = self.reshape(x, [batch * depth, height, width, channels])
        planes = function(planes, kernel[1:], strides[1:], "VALID")
        _, height, width, _ = self.shape(planes)
        columns = function(
            self.reshape(planes, [batch, depth, height * width, channels]), [kernel[0], 1], [strides[0], 1], "VALID"
        )
        return self.reshape(columns, [batch, self.shape(columns)[1], height, width, channels])

    def _by_taps(self, x: Any, kernel: Any, strides: Any, dilations: Any, join: Callable[[Any, Any], Any]) -> Any:
        """Join the taps of windows, axis by axis."""
        for axis, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True), start=1):
            x = _joined(self.taps(x, axis, k, s, d), join)
        return x

    def taps(self, x: Any, axis: int, kernel: int, stride: int, dilation: int) -> list[Any]:
        """For each tap of a window along an axis, the elements it meets."""
        count = (self.shape(x)[axis] - (kernel - 1) * dilation - 1) // stride + 1
        return [
            self.slice(x, [(axis, k * dilation, k * dilation + (count - 1) * stride + 1, stride)])
            for k in range(kernel)
        ]


def _joined(tensors: Sequence[Any], join: Callable[[Any, Any], Any]) -> Any:
    result = tensors[0]
    for tensor in tensors[1:]:
        result = join(result, tensor)
    return result


def _lowest(x: Any) -> float:
    return float("-inf") if x.dtype.is_floating else float(x.dtype.min)
