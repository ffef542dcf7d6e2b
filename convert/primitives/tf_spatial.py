"""TensorFlow's convolutions; images are channels-last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.lowering.values import Dim, name_of, scalar_of
from xport.convert.primitives.tf_shapes import TfShapes

Pair = tuple[Any, Any]


class TfSpatial(TfShapes):
    """Convolutions of one to three spatial axes, and what all image operators share."""

    def spatial_axes(self, rank: int) -> list[int]:
        """Where an image of this rank stores its spatial axes."""
        return list(range(1, rank - 1)) if rank > 2 else []

    def image_axis(self, axis: int, rank: int) -> int:
        """Where an image of this rank stores a logical axis."""
        if rank < 3 or axis == 0:
            return axis
        return rank - 1 if axis == 1 else axis - 1

    def from_image(self, x: Any) -> Any:
        """An image in the logical order of its axes."""
        rank = x.shape.rank
        return self.transpose(x, [0, rank - 1, *range(1, rank - 1)]) if rank > 2 else x

    def shape_of_weight(self, w: Any) -> list[Any]:
        """Sizes of an array or tensor."""
        return list(w.shape) if isinstance(w, np.ndarray) else self.shape(w)

    def largest(self, a: Any, b: Any) -> Any:
        """The larger of two sizes."""
        if isinstance(a, (int, np.integer)) and isinstance(b, (int, np.integer)):
            return max(int(a), int(b))
        return Dim(1, (f"max({name_of(a)},{name_of(b)})",), lambda: tf.maximum(scalar_of(a), scalar_of(b)))

    def smallest(self, a: Any, b: Any) -> Any:
        """The smaller of two sizes."""
        if isinstance(a, (int, np.integer)) and isinstance(b, (int, np.integer)):
            return min(int(a), int(b))
        return Dim(1, (f"min({name_of(a)},{name_of(b)})",), lambda: tf.minimum(scalar_of(a), scalar_of(b)))

    def same_size(self, a: Any, b: Any) -> bool:
        """Whether two sizes are provably equal."""
        return bool(a == b)

    def widened(self, x: Any) -> Any:
        """A half-precision tensor in single precision, so that sums are rounded once at the end; others unchanged.

        Raises:
            UnsupportedError: For float64 in TFLite, whose kernels lack it.
        """
        if isinstance(x, np.ndarray):
            return x.astype(np.float32) if x.dtype.itemsize == 2 else x
        if self.flavor == "tflite" and x.dtype == tf.float64:
            raise refuse("dtype float64", "TFLite has no kernel for it")
        return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x

    def pad_image(self, x: Any, pads: Sequence[Pair], value: float = 0) -> Any:
        """Pad stored axes by (begin, end) pairs with a value; negative numbers crop."""
        cut = [(i, -min(b, 0), -e, 1) for i, (b, e) in enumerate(pads) if _negative(b) or _negative(e)]
        if cut:
            sizes = self.shape(x)
            x = self.slice(x, [(i, b, sizes[i] - e if e > 0 else sizes[i], 1) for i, b, e, _ in cut])
            pads = [tuple(0 if _negative(p) else p for p in pair) for pair in pads]  # type: ignore[misc]
        if all(isinstance(p, int) and p == 0 for pair in pads for p in pair):
            return x
        amounts = [[scalar_of(b), scalar_of(e)] for b, e in pads]
        known = [None if b or e else size for size, (b, e) in zip(x.shape, pads, strict=True)] if x.shape.rank else None
        padded = tf.pad(x, amounts, constant_values=tf.constant(value, x.dtype))
        if known is not None:
            padded.set_shape(known)  # run-time pads hide the channels, which convolutions need
        return padded

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
        """Convolution; ``w`` is in ONNX order (out, in / groups, spatial…)."""
        dtype = x.dtype
        x, w = self.widened(x), self.widened(w)
        kernel = self.shape_of_weight(w)[2:]
        if self.flavor == "tflite":
            x = self._with_channels(x, self.shape_of_weight(w), groups)
        if len(strides) == 3:
            result = self._conv3d(x, w, strides, padding, dilations, groups)
        else:
            x, mode = self._padded(x, padding, kernel, strides, dilations)
            result = self._conv2d(x, w, strides, mode, dilations, groups)
        if b is not None:
            fusible = self.flavor == "tflite" or groups == 1 or self._depthwise(w, strides, dilations, groups)
            result = self._biased(result, self.widened(b), fusible=fusible)
        if 0 in result.shape and result.shape.is_fully_defined():
            return tf.zeros(result.shape, dtype)  # TensorFlow's oneDNN kernels give an empty batch the input's shape
        return tf.cast(result, dtype)

    def _biased(self, x: Any, b: Any, *, fusible: bool) -> Any:
        """Add a bias by channel.

        TensorFlow's graph optimizer fuses Conv2D and BiasAdd into a kernel that, without oneDNN, has no groups and
        fails at run time; a plain addition of full rank stays apart.
        """
        return tf.nn.bias_add(x, b) if fusible else x + tf.reshape(b, [1] * (x.shape.rank - 1) + [-1])

    def _with_channels(self, x: Any, weight: Sequence[Any], groups: int) -> Any:
        """An image whose number of channels is known, as TFLite wants it: the weight tells."""
        if any(isinstance(k, Dim) for k in weight):
            raise refuse("weights of unknown size", "TFLite wants the kernel's sizes while converting")
        sizes = self.shape(x)
        return x if isinstance(sizes[-1], int) else self.reshape(x, [*sizes[:-1], groups * weight[1]])

    def _conv2d(self, x: Any, w: Any, strides: Any, mode: str, dilations: Any, groups: int) -> Any:
        """One or two spatial axes; one is lifted to two, which is what the kernels do anyway."""
        if len(strides) == 1:
            lifted = w[:, :, None] if isinstance(w, np.ndarray) else tf.expand_dims(w, 2)
            image = tf.expand_dims(x, 1)
            # Equal steps on both axes, since the depthwise kernel takes no others; on an axis of one they do nothing.
            return tf.squeeze(self._conv2d(image, lifted, [*strides] * 2, mode, [*dilations] * 2, groups), 1)
        out, _, *kernel = self.shape_of_weight(w)
        steps, gaps = [1, *strides, 1], [1, *dilations, 1]
        if self._depthwise(w, strides, dilations, groups):
            order: list[int] = [2, 3, 0, 1]
            taps = w.transpose(order) if isinstance(w, np.ndarray) else tf.transpose(w, order)
            shape = [*kernel, groups, out // groups]
            taps = taps.reshape(shape) if isinstance(w, np.ndarray) else self.reshape(taps, shape)
            taps = self.as_tensor(np.ascontiguousarray(taps) if isinstance(w, np.ndarray) else taps, "kernel")
            return tf.raw_ops.DepthwiseConv2dNative(
                input=x, filter=taps, strides=steps, padding=mode, dilations=gaps, data_format="NHWC"
            )
        return tf.nn.conv2d(x, self._kernel(w), steps, mode, dilations=gaps)

    def _depthwise(self, w: Any, strides: Any, dilations: Any, groups: int) -> bool:
        """Whether the depthwise kernel takes this: without oneDNN TensorFlow's wants equal strides and no dilation."""
        out, per_group, *_ = self.shape_of_weight(w)
        plain = self.flavor == "tflite" or (len(set(strides)) == 1 and set(dilations) == {1})
        return groups > 1 and per_group == 1 and isinstance(out, int) and plain

    def _kernel(self, w: Any) -> Any:
        """An ONNX weight in TensorFlow's order (spatial…, in, out)."""
        order = [*range(2, len(w.shape)), 1, 0]
        if isinstance(w, np.ndarray):
            return self.as_tensor(np.ascontiguousarray(w.transpose(order)), "kernel")
        return tf.transpose(w, order)

    def _conv3d(self, x: Any, w: Any, strides: Any, padding: Any, dilations: Any, groups: int) -> Any:
        if groups == 1 and set(dilations) == {1}:
            x, mode = self._padded(x, padding, self.shape_of_weight(w)[2:], strides, dilations)
            return tf.nn.conv3d(x, self._kernel(w), [1, *strides, 1], mode)
        # TensorFlow's own 3-D kernel has no groups, and dilates only with oneDNN: one 2-D convolution for each tap in
        # depth, depth joined to the batch.
        x = self.pad_image(x, [(0, 0), *padding, (0, 0)])
        batch, depth, height, width, channels = self.shape(x)
        taps = self.shape_of_weight(w)[2]
        if isinstance(taps, Dim):
            raise refuse("grouped 3-D convolution", "the kernel's size must be known while converting")
        out = (depth - (taps - 1) * dilations[0] - 1) // strides[0] + 1
        total = None
        for tap in range(taps):
            start = tap * dilations[0]
            plane = self.slice(x, [(1, start, start + (out - 1) * strides[0] + 1, strides[0])])
            plane = self.reshape(plane, [batch * out, height, width, channels])
            part = self._conv2d(plane, w[:, :, tap], strides[1:], "VALID", dilations[1:], groups)
            total = part if total is None else total + part
        sizes = self.shape(total)
        return self.reshape(total, [batch, out, *sizes[1:]])

    def _padded(self, x: Any, padding: Any, kernel: Any, strides: Any, dilations: Any) -> tuple[Any, str]:
        """Pad explicitly unless SAME means exactly this padding."""
        if all(isinstance(p, int) and p == 0 for pair in padding for p in pair):
            return x, "VALID"
        if self.is_same(x, padding, kernel, strides, dilations):
            return x, "SAME"
        return self.pad_image(x, [(0, 0), *padding, (0, 0)]), "VALID"

    def is_same(self, x: Any, padding: Any, kernel: Any, strides: Any, dilations: Any) -> bool:
        """Whether TensorFlow's SAME pads exactly like this."""
        if not all(isinstance(k, int) for k in kernel):
            return False
        return all(
            tuple(p) == self._same(size, (k - 1) * d + 1, s)
            for size, p, k, s, d in zip(self.shape(x)[1:-1], padding, kernel, strides, dilations, strict=True)
        )

    def _same(self, size: Any, kernel: int, stride: int) -> Pair:
        """TensorFlow's SAME padding of one axis."""
        rest = ((size + stride - 1) // stride - 1) * stride + kernel - size if stride > 1 else kernel - 1
        total = self.largest(rest, 0)
        return total // 2, total - total // 2

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
        """Transposed convolution; ``w`` is in ONNX order (in, out / groups, spatial…).

        Args:
            x: The image.
            w: The weight.
            b: The bias, or None.
            strides: Strides.
            crops: What to cut from the begin and end of each axis of the full result; negative sizes extend it.
            dilations: Dilations of the kernel.
            groups: Number of groups.
        """
        dtype = x.dtype
        x, w = self.widened(x), self.widened(w)
        kernel = self.shape_of_weight(w)[2:]
        if any(isinstance(k, Dim) for k in kernel) and (groups > 1 or self.flavor == "tflite"):
            raise refuse("weights of unknown size", "the kernel's sizes must be known while converting")
        if groups == 1 and all(d == 1 for d in dilations) and not any(isinstance(k, Dim) for k in kernel):
            result = self._native_transpose(x, w, strides, crops)
            result = result if b is None else tf.nn.bias_add(result, self.widened(b))
        else:
            result = self._spread_and_convolve(x, w, b, strides, crops, dilations, groups)
        return tf.cast(result, dtype)

    def _native_transpose(self, x: Any, w: Any, strides: Any, crops: Any) -> Any:
        n = len(strides)
        kernel = self.shape_of_weight(w)[2:]
        if n == 1:
            lifted = w[:, :, None] if isinstance(w, np.ndarray) else tf.expand_dims(w, 2)
            image = tf.expand_dims(x, 1)
            return tf.squeeze(self._native_transpose(image, lifted, [1, *strides], [(0, 0), *crops]), 1)
        batch, *spatial, _ = self.shape(x)
        channels = self.shape_of_weight(w)[1]
        function = tf.nn.conv2d_transpose if n == 2 else tf.nn.conv3d_transpose
        taps = self._kernel(w)
        same = all(
            k >= s and tuple(c) == ((k - s) // 2, k - s - (k - s) // 2)
            for k, s, c in zip(kernel, strides, crops, strict=True)
        )
        if same and any(k > s for k, s in zip(kernel, strides, strict=True)):
            sizes = [batch, *(size * s for size, s in zip(spatial, strides, strict=True)), channels]
            return function(x, taps, self.sizes_tensor(sizes), [1, *strides, 1], "SAME")
        full = [(size - 1) * s + k for size, s, k in zip(spatial, strides, kernel, strict=True)]
        result = function(x, taps, self.sizes_tensor([batch, *full, channels]), [1, *strides, 1], "VALID")
        return self._cropped(result, crops)

    def _spread_and_convolve(
        self, x: Any, w: Any, b: Any, strides: Any, crops: Any, dilations: Any, groups: int
    ) -> Any:
        """Put zeros between the pixels, then convolve with the kernel turned round."""
        first, per_group, *kernel = self.shape_of_weight(w)
        n = len(kernel)
        x = self.spread(x, [1, *strides, 1])
        shape = [groups, first // groups, per_group, *kernel]
        grouped = w.reshape(shape) if isinstance(w, np.ndarray) else self.reshape(w, shape)
        order = [0, 2, 1, *range(3, n + 3)]
        turned = grouped.transpose(order) if isinstance(w, np.ndarray) else tf.transpose(grouped, order)
        flat = [groups * per_group, first // groups, *kernel]
        turned = turned.reshape(flat) if isinstance(w, np.ndarray) else self.reshape(turned, flat)
        turned = (
            np.ascontiguousarray(np.flip(turned, tuple(range(2, n + 2))))
            if isinstance(w, np.ndarray)
            else tf.reverse(turned, list(range(2, n + 2)))
        )
        reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        known = all(isinstance(size, int) for size in (*reach, *(side for crop in crops for side in crop)))
        # A size known only at run time may be one to pad or one to crop by: it is cut from the full result instead.
        now = crops if known else [(0, 0)] * n
        padding = [(r - begin, r - end) for r, (begin, end) in zip(reach, now, strict=True)]
        grown = self.pad_image(x, [(0, 0), *padding, (0, 0)])
        step = [1] * n
        y = self.conv(grown, turned, None, strides=step, padding=[(0, 0)] * n, dilations=dilations, groups=groups)
        if not known:
            y = self._cropped(y, crops)
        return y if b is None else self._biased(y, self.widened(b), fusible=groups == 1)

    def _cropped(self, x: Any, crops: Sequence[Pair]) -> Any:
        """Cut begins and ends off the spatial axes; what turns out negative adds zeros."""
        if all(isinstance(side, int) for crop in crops for side in crop):
            return self.pad_image(x, [(0, 0), *((-begin, -end) for begin, end in crops), (0, 0)])
        more = [(self.largest(-begin, 0), self.largest(-end, 0)) for begin, end in crops]
        x = self.pad_image(x, [(0, 0), *more, (0, 0)])
        sizes = self.shape(x)
        cuts = [(self.largest(begin, 0), self.largest(end, 0)) for begin, end in crops]
        return self.slice(x, [(i, begin, sizes[i] - end, 1) for i, (begin, end) in enumerate(cuts, start=1)])

    def spread(self, x: Any, steps: Sequence[int]) -> Any:
        """Put ``step - 1`` zeros between neighbours along each stored axis."""
        for axis, step in enumerate(steps):
            if step == 1:
                continue
            sizes = self.shape(x)
            rows = [self.product(sizes[: axis + 1]), 1, self.product(sizes[axis + 1 :])]
            padded = tf.pad(self.reshape(x, rows), [[0, 0], [0, step - 1], [0, 0]])
            x = self.reshape(padded, [*sizes[:axis], sizes[axis] * step, *sizes[axis + 1 :]])
            x = self.slice(x, [(axis, 0, (sizes[axis] - 1) * step + 1, 1)])
        return x


def _negative(size: Any) -> bool:
    return isinstance(size, (int, np.integer)) and bool(size < 0)
