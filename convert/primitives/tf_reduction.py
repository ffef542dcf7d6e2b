"""TensorFlow's reductions and running sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.primitives.tf_linear import TfLinear

_LONGEST_ROW = 64
"""How many floats TFLite may add in a row where that can be helped: the 7 x 7 of image classifiers stay one mean."""

_LONGEST_AXIS = 2048
"""How long an axis may be that is added up whole: a token's features are, the pixels of a group of channels are not."""

_MOST_AXES = 5

_EMPTY = {tf.reduce_max: -float("inf"), tf.reduce_min: float("inf")}
"""The extreme of no elements."""


class TfReduction(TfLinear):
    """Reductions over axes, which are numbers or a run-time vector; no axes mean that nothing is reduced."""

    def reduce_sum(self, x: Any, axes: Any, keepdims: bool) -> Any:
        """Sum over axes."""
        return self._added_up(tf.reduce_sum, x, axes, keepdims)

    def reduce_mean(self, x: Any, axes: Any, keepdims: bool) -> Any:
        """Mean over axes; of integers truncated towards zero."""
        if not x.dtype.is_floating:
            count = tf.cast(tf.size(x) // tf.maximum(tf.size(tf.reduce_sum(x, axes)), 1), x.dtype)
            total = self.reduce_sum(x, axes, keepdims)
            return self.divide(total, count)
        return self._added_up(tf.reduce_mean, x, axes, keepdims)

    def _added_up(self, reduce: Callable[..., Any], x: Any, axes: Any, keepdims: bool) -> Any:
        """A sum or mean, one axis after the other where that makes TFLite more exact.

        TFLite adds in a row: of the 12,544 pixels of a 112 x 112 image its rounding is ten times what other runtimes
        commit. Axis by axis, and a long axis in two parts, no row is longer than the root of that. (Sums of integers
        are exact.)
        """
        if not self.builtins_only or self.integers or not isinstance(axes, list) or not x.dtype.is_floating:
            return self._reduced(reduce, x, axes, keepdims)
        sizes = [x.shape[axis] for axis in axes]
        if len(axes) > 1 and (None in sizes or math.prod(sizes) > _LONGEST_ROW):
            for axis in axes:
                x = self._added_up(reduce, x, [axis], True)
            return x if keepdims else tf.squeeze(x, axes)
        if len(axes) == 1 and (width := _width(sizes[0])) > 1 and x.shape.rank < _MOST_AXES:
            axis, rows = axes[0] % x.shape.rank, self.shape(x)
            split = self.reshape(x, [*rows[:axis], sizes[0] // width, width, *rows[axis + 1 :]])
            for part in (axis + 1, axis):
                split = self._reduced(reduce, split, [part], True)
            return self.reshape(split, [*rows[:axis], *([1] if keepdims else []), *rows[axis + 1 :]])
        return self._reduced(reduce, x, axes, keepdims)

    def reduce_max(self, x: Any, axes: Any, keepdims: bool) -> Any:
        """Maximum over axes; of booleans whether any is true."""
        return self._reduced(tf.reduce_any if x.dtype == tf.bool else tf.reduce_max, x, axes, keepdims)

    def reduce_min(self, x: Any, axes: Any, keepdims: bool) -> Any:
        """Minimum over axes; of booleans whether all are true."""
        return self._reduced(tf.reduce_all if x.dtype == tf.bool else tf.reduce_min, x, axes, keepdims)

    def reduce_prod(self, x: Any, axes: Any, keepdims: bool) -> Any:
        """Product over axes."""
        return self._reduced(tf.reduce_prod, x, axes, keepdims)

    def reduce_log_sum_exp(self, x: Any, axes: Any, keepdims: bool) -> Any:
        """The logarithm of the sum of exponentials, safe from overflow."""
        if isinstance(axes, list) and not axes:
            return x
        peak = self.reduce_max(x, axes, True)
        # An infinite peak would make infinity minus infinity of its own place.
        finite = tf.where(tf.abs(peak) < float("inf"), peak, tf.zeros_like(peak))
        total = self.reduce_sum(tf.exp(x - finite), axes, keepdims)
        return tf.math.log(total) + (finite if keepdims else tf.reshape(finite, tf.shape(total)))

    def _reduced(self, reduce: Callable[..., Any], x: Any, axes: Any, keepdims: bool) -> Any:
        """Reduce in a type that the target reduces exactly."""
        if isinstance(axes, list) and not axes:
            return x
        if x.dtype == tf.bool:
            return reduce(x, axes, keepdims)
        wide = self.reduction_dtype(x.dtype)
        if wide != x.dtype:
            return self.recast(self._reduced(reduce, self.recast(x, wide.name), axes, keepdims), x.dtype.name)
        result = reduce(x, axes, keepdims)
        if self.builtins_only and x.dtype.is_floating and reduce in _EMPTY:
            return self._or_empty(result, x, axes, _EMPTY[reduce])
        return result

    def _or_empty(self, result: Any, x: Any, axes: Any, value: float) -> Any:
        """The result, or the extreme of nothing where nothing was reduced; TFLite gives the largest finite number."""
        if isinstance(axes, list):
            counts = [x.shape[a] for a in axes]
            if all(counts):
                return result
        return tf.where(tf.equal(tf.size(x), 0), tf.constant(value, x.dtype), result)

    def reduction_dtype(self, dtype: Any) -> Any:
        """The type to reduce in: float32 for 16-bit floats; in TFLite the types that its kernels reduce."""
        if dtype in (tf.float16, tf.bfloat16):
            return tf.float32
        if not self.builtins_only:
            return dtype
        if dtype in (tf.float64, tf.uint64, tf.complex64, tf.complex128):
            raise refuse(f"a reduction of {dtype.name}", "TensorFlow Lite reduces no such type")
        if dtype == tf.uint32:
            return tf.int64
        return tf.int32 if dtype in (tf.int8, tf.uint8, tf.int16, tf.uint16) else dtype

    def reduce_at(self, reduce: Callable[..., Any], x: Any, axes: Any, keepdims: bool, noop: bool) -> Any:
        """Reduce over axes that a tensor names; all of them, unless ``noop``, if it is empty.

        Args:
            reduce: Takes the tensor, the axes and whether to keep them.
            x: The tensor.
            axes: A vector.
            keepdims: Whether reduced axes stay, as ones.
            noop: Whether no axes mean that nothing is reduced.
        """
        rank, count = x.shape.rank, axes.shape.num_elements()
        axes = tf.cast(tf.reshape(axes, [-1]), tf.int32)
        if count != 0:
            if not noop and count is None:
                every = tf.range(rank * tf.cast(tf.equal(tf.size(axes), 0), tf.int32))
                axes = tf.concat([axes, every], 0)
            result = reduce(x, axes, keepdims)
        else:
            result = reduce(x, [] if noop else list(range(rank)), keepdims)
        if keepdims:
            result.set_shape([None] * rank)
        elif count:
            result.set_shape([None] * (rank - count))
        return result

    def cumsum(self, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
        """Running sums along an axis, a number or a scalar."""
        wide = self.reduction_dtype(x.dtype)
        return tf.cast(tf.cumsum(tf.cast(x, wide), axis, exclusive, reverse), x.dtype)

    def cumprod(self, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
        """Running products along an axis, a number or a scalar."""
        wide = self.reduction_dtype(x.dtype)
        x, dtype = tf.cast(x, wide), x.dtype
        if not self.builtins_only:
            return tf.cast(tf.math.cumprod(x, axis, exclusive, reverse), dtype)
        return tf.cast(self._cumprod_by_mask(x, axis, exclusive, reverse), dtype)

    def _cumprod_by_mask(self, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
        """Each product over a row of its own, where elements left out are ones; TFLite has no running product."""
        if not isinstance(axis, int):
            wanted = tf.where(axis < 0, tf.cast(axis, tf.int32) + x.shape.rank, tf.cast(axis, tf.int32))
            results = [self._cumprod_by_mask(x, i, exclusive, reverse) for i in range(x.shape.rank)]
            chosen = results[0]
            for i, result in enumerate(results[1:], 1):
                chosen = tf.where(tf.equal(wanted, i), result, chosen)
            return chosen
        rank = x.shape.rank
        order = [*[i for i in range(rank) if i != axis], axis]
        rows = tf.transpose(x, order)
        place = tf.range(tf.shape(x)[axis])
        into, out = tf.expand_dims(place, 1), tf.expand_dims(place, 0)
        if reverse:
            into, out = -into, -out
        kept = out < into if exclusive else out <= into
        products = tf.reduce_prod(tf.where(kept, tf.expand_dims(rows, -2), tf.ones((), x.dtype)), -1)
        return tf.transpose(products, [order.index(i) for i in range(rank)])


def _width(size: int | None) -> int:
    """In rows of how many to add up a long axis: its largest divisor up to its root; 1 for one that stays whole."""
    if size is None or size <= _LONGEST_AXIS:
        return 1
    return next(width for width in range(math.isqrt(size), 0, -1) if size % width == 0)
