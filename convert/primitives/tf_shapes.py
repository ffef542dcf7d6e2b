"""TensorFlow's primitives that rearrange tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.primitives.tf_linear import TfLinear


class TfShapes(TfLinear):
    """Concatenate, expand, fill, gather, slice, split."""

    def concat(self, tensors: Sequence[Any], axis: int) -> Any:
        """Join tensors along an axis."""
        return tf.concat(tensors, axis)

    def expand(self, x: Any, sizes: Sequence[Any]) -> Any:
        """Broadcast both ways."""
        own = self.shape(x)
        rank = max(len(own), len(sizes))
        own = [1] * (rank - len(own)) + own
        wanted = [1] * (rank - len(sizes)) + list(sizes)
        if all(isinstance(w, (int, np.integer)) or isinstance(o, int) for w, o in zip(wanted, own, strict=True)):
            wanted = [o if self.is_one(w) else w for w, o in zip(wanted, own, strict=True)]
        if all(o == w for o, w in zip(own, wanted, strict=True)):
            return self.reshape(x, own)
        target = (
            tf.broadcast_dynamic_shape(self.stack_vector(own), self.stack_vector(wanted))
            if not all(isinstance(w, int) for w in wanted)
            else wanted
        )
        result = tf.broadcast_to(x, target)
        self.name_dims(result, [w if o == 1 or o == w else None for o, w in zip(own, wanted, strict=True)])
        return result

    def stack_vector(self, sizes: Sequence[Any]) -> Any:
        """Sizes as an int32 vector tensor."""
        return tf.convert_to_tensor(self.sizes_tensor(sizes), tf.int32)

    def fill(self, sizes: Sequence[Any], value: np.ndarray) -> Any:
        """A tensor of one value."""
        result = tf.fill(self.sizes_tensor(sizes), tf.constant(value))
        self.name_dims(result, list(sizes))
        return result

    def gather(self, data: Any, indices: Any, axis: int) -> Any:
        """Slices of ``data`` along an axis, by indices of any rank, negative ones from the end."""
        size = tf.cast(tf.shape(data)[axis], indices.dtype)
        wrapped = tf.where(indices < 0, indices + size, indices)
        return tf.gather(data, wrapped, axis=axis)

    def slice(self, x: Any, ranges: Sequence[tuple[int, Any, Any, int]]) -> Any:
        """Numpy's slicing; each range is (axis, start, end, step)."""
        keys: list[Any] = [slice(None)] * x.shape.rank
        for axis, start, end, step in ranges:
            keys[axis] = slice(*(self._bound(b, step) for b in (start, end)), step)
        return x[tuple(keys)]

    def _bound(self, bound: Any, step: int) -> Any:
        from xport.convert.lowering.values import scalar_of

        if not isinstance(bound, (int, np.integer)):
            return scalar_of(bound)
        limit = np.iinfo(np.int32)
        return int(min(max(int(bound), limit.min), limit.max))

    def split(self, x: Any, sizes: Sequence[int], axis: int) -> list[Any]:
        """Parts of given sizes along an axis."""
        return list(tf.split(x, list(sizes), axis))

    def shape_tensor(self, x: Any) -> Any:
        """The sizes as an int64 vector."""
        return tf.shape(x, out_type=tf.int64)

    def range(self, start: Any, limit: Any, delta: Any) -> Any:
        """An arithmetic sequence."""
        return tf.range(start, limit, delta)
