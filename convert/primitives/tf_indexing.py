"""TensorFlow's primitives that pick and place elements by index."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.lowering.values import scalar_of
from xport.convert.primitives.tf_shapes import TfShapes, is_number

_UPDATES = {
    "none": tf.tensor_scatter_nd_update,
    "add": tf.tensor_scatter_nd_add,
    "max": tf.tensor_scatter_nd_max,
    "min": tf.tensor_scatter_nd_min,
}
_SEGMENTS = {
    "add": tf.math.unsorted_segment_sum,
    "mul": tf.math.unsorted_segment_prod,
    "max": tf.math.unsorted_segment_max,
    "min": tf.math.unsorted_segment_min,
}

_GATHERED = ("bool", "int8", "uint8", "int16")
"""What TFLite's Gather and GatherNd take besides the usual types."""


class TfIndexing(TfShapes):
    """Gather and scatter; negative indices count from the end."""

    def gather(self, data: Any, indices: Any, axis: int) -> Any:
        """Slices of ``data`` along an axis, by indices of any rank, known or not."""
        sizes = self.shape(data)
        if isinstance(indices, np.ndarray):
            if (indices < 0).any() and is_number(sizes[axis]):
                indices = np.where(indices < 0, indices + sizes[axis], indices)
            negative = bool((indices < 0).any())
            indices = tf.constant(indices)
        else:
            negative = indices.dtype.min < 0
        if negative:
            indices = self.wrap(indices, sizes[axis])
        result = self.pick(data, indices, axis)
        if indices.shape.rank is not None:
            self.name_dims(result, [*sizes[:axis], *self.shape(indices), *sizes[axis + 1 :]])
        return result

    def wrap(self, indices: Any, size: Any) -> Any:
        """Negative indices counted from the end."""
        return tf.where(indices < 0, indices + tf.cast(scalar_of(size), indices.dtype), indices)

    def take_slices(self, data: Any, indices: Any, axis: int) -> Any:
        """Slices of ``data`` along an axis by a vector of indices that are not negative."""
        return self.pick(data, indices, axis)

    def pick(self, data: Any, indices: Any, axis: int = 0, batch_dims: int = 0) -> Any:
        """TensorFlow's gather, in a type that the target gathers."""
        return self.move(lambda x: tf.gather(x, indices, axis=axis, batch_dims=batch_dims), data, direct=_GATHERED)

    def take_rows(self, data: Any, indices: Any) -> Any:
        """For each row of axis 0, slices along axis 1 by that row's own indices, none negative."""
        return self.pick(data, indices, 1, 1)

    def gather_elements(self, data: Any, indices: Any, axis: int) -> Any:
        """One element a place: along ``axis`` at the index, along other axes at the place itself."""
        flat = self.pick(tf.reshape(data, [-1]), self._flat_places(data, indices, axis))
        self.name_dims(flat, self.shape(indices))
        return flat

    def _flat_places(self, data: Any, indices: Any, axis: int) -> Any:
        """Positions in flattened ``data`` of the elements that `gather_elements` means."""
        sizes, places = self.shape(data), self.shape(indices)
        indices = tf.cast(self.wrap(indices, sizes[axis]), tf.int64)
        position, stride = None, 1
        for i in reversed(range(len(sizes))):
            if i == axis:
                along = indices
            else:
                along = tf.reshape(self.index_range(places[i]), [-1 if j == i else 1 for j in range(len(sizes))])
            along = along if is_number(stride) and stride == 1 else along * tf.cast(scalar_of(stride), tf.int64)
            position = along if position is None else position + along
            stride = stride * sizes[i]
        return position

    def gather_nd(self, data: Any, indices: Any, batch_dims: int) -> Any:
        """Slices of ``data`` at index tuples, which the last axis of ``indices`` holds."""
        tuples = self._wrapped_tuples(data, indices, batch_dims)
        result = self.move(lambda x: tf.gather_nd(x, tuples, batch_dims=batch_dims), data, direct=_GATHERED)
        depth = tuples.shape[-1]
        if depth is not None:
            indices = tuples
            self.name_dims(result, [*self.shape(indices)[:-1], *self.shape(data)[batch_dims + depth :]])
        return result

    def _wrapped_tuples(self, data: Any, indices: Any, batch_dims: int = 0) -> Any:
        if isinstance(indices, np.ndarray):
            if not (indices < 0).any():
                return tf.constant(indices)
            indices = tf.constant(indices)
        depth = indices.shape[-1] if indices.shape[-1] is not None else tf.shape(indices)[-1]
        bounds = tf.cast(tf.shape(data), indices.dtype)[batch_dims : batch_dims + depth]
        return tf.where(indices < 0, indices + bounds, indices)

    def scatter_elements(self, data: Any, indices: Any, updates: Any, axis: int, reduction: str) -> Any:
        """``data`` with updates placed as `gather_elements` would read them."""
        places = tf.reshape(self._flat_places(data, indices, axis), [-1])
        result = self._place(tf.reshape(data, [-1]), places, tf.reshape(updates, [-1]), reduction)
        return self.reshape(result, self.shape(data))

    def scatter_nd(self, data: Any, indices: Any, updates: Any, reduction: str) -> Any:
        """``data`` with slices replaced or combined at index tuples."""
        sizes = self.shape(data)
        depth = indices.shape[-1]
        if reduction != "mul" and not self.builtins_only:
            result = self._native(data, self._wrapped_tuples(data, indices), updates, reduction)
            self.name_dims(result, sizes)
            return result
        if depth is None:
            depth = len(sizes) - (updates.shape.rank - indices.shape.rank + 1)
        tuples = tf.cast(self._wrapped_tuples(data, indices), tf.int64)
        position, stride = None, 1
        for i in reversed(range(depth)):
            along = tuples[..., i]
            along = along if is_number(stride) and stride == 1 else along * tf.cast(scalar_of(stride), tf.int64)
            position = along if position is None else position + along
            stride = stride * sizes[i]
        if position is None:
            raise ValueError("index tuples of ScatterND are empty")
        inner = self.product(sizes[depth:])
        rows = self.reshape(data, [self.product(sizes[:depth]), inner])
        result = self._place(rows, tf.reshape(position, [-1]), self.reshape(updates, [-1, inner]), reduction)
        return self.reshape(result, sizes)

    def _native(self, data: Any, tuples: Any, updates: Any, reduction: str) -> Any:
        if data.dtype in (tf.float16, tf.bfloat16, tf.bool) and reduction != "none":
            wide = tf.int32 if data.dtype == tf.bool else tf.float32
            result = _UPDATES[reduction](tf.cast(data, wide), tuples, tf.cast(updates, wide))
            return tf.cast(result, data.dtype)
        return _UPDATES[reduction](data, tuples, updates)

    def _place(self, rows: Any, places: Any, updates: Any, reduction: str) -> Any:
        """Replace or combine rows; of several updates of one row the last one wins.

        Data and updates together are reduced by the row they belong to, in order, so that the result is what a loop
        over the updates gives.
        """
        if not self.builtins_only and reduction != "mul":
            return self._native(rows, tf.expand_dims(places, 1), updates, reduction)
        count, more = tf.shape(rows)[0], tf.shape(updates)[0]
        owner = tf.concat([tf.range(count), tf.cast(places, tf.int32)], 0)
        source = self.concat([rows, updates], 0)
        if reduction == "none":
            winner = tf.math.unsorted_segment_max(tf.range(count + more), owner, count)
            return self.pick(source, winner)
        if self.builtins_only and source.dtype in (tf.int64, tf.uint64, tf.uint32, tf.float64):
            raise refuse(
                f"reduction {reduction!r} of {source.dtype.name}", "TensorFlow Lite combines only 32-bit types"
            )
        wide = self.segment_dtype(source.dtype)
        if wide == source.dtype:
            return _SEGMENTS[reduction](source, owner, count)
        return tf.cast(_SEGMENTS[reduction](tf.cast(source, wide), owner, count), source.dtype)

    def segment_dtype(self, dtype: Any) -> Any:
        """The type in which segments of a type are reduced exactly."""
        if dtype in (tf.float16, tf.bfloat16):
            return tf.float32
        if dtype in (tf.bool, tf.int8, tf.uint8, tf.int16, tf.uint16):
            return tf.int32
        return dtype

    def overwrite_rows(self, cache: Any, update: Any, start: Any, circular: bool) -> Any:
        """Each row of axis 0 with ``update`` written along axis 1 from that row's own start."""
        length, count = self.shape(cache)[1], self.shape(update)[1]
        place = tf.expand_dims(self.index_range(length), 0) - tf.expand_dims(tf.cast(start, tf.int64), 1)
        if circular:
            place = tf.math.floormod(place, tf.cast(scalar_of(length), tf.int64))
        written = (place >= 0) & (place < tf.cast(scalar_of(count), tf.int64))
        new = self.pick(update, tf.where(written, place, 0), 1, 1)
        mask = tf.reshape(written, tf.concat([tf.shape(written), [1] * (cache.shape.rank - 2)], 0))
        return self.where(mask, new, cache)

    def nonzero(self, x: Any) -> Any:
        """Index tuples of the elements that are not zero, one a row."""
        return tf.where(x if x.dtype == tf.bool else self.not_equal(x, tf.zeros((), x.dtype)))

    def compress(self, x: Any, condition: Any, axis: int) -> Any:
        """Slices along an axis where a vector, which may be shorter, is true."""
        return self.pick(x, tf.where(condition)[:, 0], axis)

    def reverse_sequences(self, x: Any, lengths: Any, batch_axis: int, time_axis: int) -> Any:
        """Reverse the first elements along time, a number of them for each batch element."""
        return self.move(
            lambda x: tf.reverse_sequence(x, lengths, seq_axis=time_axis, batch_axis=batch_axis), x, direct=()
        )

    def diagonal(self, x: Any, first: int, second: int) -> Any:
        """The elements whose indices along two axes are equal, as one axis in the place of the first."""
        sizes = self.shape(x)
        size = sizes[first]
        order = [first, second, *[i for i in range(len(sizes)) if i not in (first, second)]]
        rows = self.transpose(x, order)
        flat = self.reshape(rows, [-1, *[sizes[i] for i in order[2:]]])
        picked = self.pick(flat, self.index_range(size, "int32") * tf.cast(scalar_of(size + 1), tf.int32))
        self.name_dims(picked, [size, *[sizes[i] for i in order[2:]]])
        return self.transpose(picked, [*range(1, first + 1), 0, *range(first + 1, len(sizes) - 1)])
