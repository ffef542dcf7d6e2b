"""TensorFlow's primitives for sorting, extremes and selection."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.lowering.values import scalar_of
from xport.convert.primitives.tf_fences import fenced
from xport.convert.primitives.tf_indexing import TfIndexing
from xport.convert.primitives.tf_shapes import is_number

_ARG_TYPES = (tf.float32, tf.int8, tf.uint8, tf.int32, tf.bool)
"""What TFLite's ArgMax takes."""

_UNIQUE_AS = {"bool": "int32", "float16": "float32", "uint16": "int32", "uint32": "int64"}
"""In what TFLite finds distinct elements of types that its Unique does not take."""


class TfSelection(TfIndexing):
    """Top-k, argmax, unique, non-maximum suppression."""

    def top_k(self, x: Any, k: Any, largest: bool) -> tuple[Any, Any]:
        """The extremes along the last axis in order; of equal ones the lower index comes first."""
        count = int(k) if is_number(k) else tf.cast(scalar_of(k), tf.int32)
        _, order = tf.math.top_k(self.sort_key(x, largest), count)
        values = self.pick(x, order, -1, x.shape.rank - 1)
        sizes = [*self.shape(x)[:-1], int(k) if is_number(k) else None]
        self.name_dims(values, sizes)
        self.name_dims(order, sizes)
        return values, tf.cast(order, tf.int64)

    def sort_key(self, x: Any, largest: bool) -> Any:
        """A tensor whose descending order is the order wanted, of a type that can be sorted."""
        lite = self.builtins_only
        if x.dtype == tf.bool:
            x = tf.cast(x, tf.int32)
        elif x.dtype in (tf.float16, tf.bfloat16):
            x = tf.cast(x, tf.float32)
        elif x.dtype == tf.uint64 or (lite and x.dtype == tf.uint32):
            # Flip the sign bit: unsigned order becomes signed order.
            x = tf.bitcast(x, tf.int64 if x.dtype == tf.uint64 else tf.int32)
            x = x + x.dtype.min
        elif x.dtype in (tf.int8, tf.uint8, tf.int16, tf.uint16):
            x = tf.cast(x, tf.int32)
        elif x.dtype == tf.uint32:
            x = tf.cast(x, tf.int64)
        if largest:
            return x
        return -x if x.dtype.is_floating else -1 - x

    def arg_extreme(self, x: Any, axis: int, largest: bool) -> Any:
        """The index of the first maximum or minimum along an axis."""
        if x.dtype in (tf.float16, tf.bfloat16):
            x = tf.cast(x, tf.float32)
        elif x.dtype in (tf.int8, tf.uint8, tf.int16, tf.uint16, tf.bool):
            x = tf.cast(x, tf.int32)
        if self.builtins_only and x.dtype not in _ARG_TYPES:
            extreme = (tf.reduce_max if largest else tf.reduce_min)(x, axis, keepdims=True)
            x, largest = tf.cast(tf.equal(x, extreme), tf.int32), True
        # ArgMax of Relu would become that of Relu's input: OptimizeMaxOrMinOfMonotonicStage in
        # tensorflow/core/grappler/optimizers/arithmetic_optimizer.cc, which forgets that equals lose their order.
        x = x if self.flavor == "tflite" else fenced(x)
        return (tf.argmax if largest else tf.argmin)(x, axis, output_type=tf.int64)

    def unique(self, x: Any, ordered: bool) -> tuple[Any, Any, Any, Any]:
        """Distinct elements of a vector with the first index, the inverse and the count of each."""
        if self.builtins_only and x.dtype.name in _UNIQUE_AS:
            x, dtype = tf.cast(x, _UNIQUE_AS[x.dtype.name]), x.dtype
            values, *others = self.unique(x, ordered)
            return tf.cast(values, dtype), *others
        values, inverse = tf.unique(x, out_idx=tf.int32)
        return self._ranked(values, inverse, ordered, None)

    def unique_rows(self, rows: Any, ordered: bool) -> tuple[Any, Any, Any, Any]:
        """Distinct rows of a matrix, ordered by their first column, then their second, and so on."""
        if self.builtins_only:
            equal = tf.reduce_all(self.equal(tf.expand_dims(rows, 1), tf.expand_dims(rows, 0)), 2)
            first = tf.argmax(tf.cast(equal, tf.int32), 1, output_type=tf.int32)
            _, inverse = tf.unique(first, out_idx=tf.int32)
            distinct, _ = tf.unique(first, out_idx=tf.int32)
            values = self.pick(rows, distinct)
        else:
            values, inverse = tf.raw_ops.UniqueV2(x=rows, axis=[0], out_idx=tf.int32)
        return self._ranked(values, inverse, ordered, rows)

    def _ranked(self, values: Any, inverse: Any, ordered: bool, rows: Any) -> tuple[Any, Any, Any, Any]:
        """Complete and, if wanted, sort what is distinct; it comes in order of first occurrence."""
        count, total = tf.shape(values)[0], tf.shape(inverse)[0]
        first = tf.math.unsorted_segment_min(tf.range(total), inverse, count)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(inverse), inverse, count)
        if ordered:
            if values.dtype == tf.string:
                raise refuse("sorted=1 on strings", "TensorFlow cannot sort strings")
            order = self._ascending(values) if rows is None else self._lexicographic(values)
            rank = tf.math.unsorted_segment_max(tf.range(count), order, count)
            values, first, counts = (self.pick(v, order) for v in (values, first, counts))
            inverse = tf.gather(rank, inverse)
        return values, *(tf.cast(v, tf.int64) for v in (first, inverse, counts))

    def _ascending(self, x: Any) -> Any:
        """The stable order that sorts a vector."""
        return tf.math.top_k(self.sort_key(x, False), tf.shape(x)[0])[1]

    def _lexicographic(self, rows: Any) -> Any:
        """The order that sorts distinct rows by their first column, then the second, and so on."""
        if self.builtins_only:
            differs = self.not_equal(tf.expand_dims(rows, 1), tf.expand_dims(rows, 0))
            column = tf.argmax(tf.cast(differs, tf.int32), 2, output_type=tf.int32)
            key = self.sort_key(rows, True)
            row = tf.gather(key, column, axis=1, batch_dims=1)  # [i, j]: row i at the column where i and j differ
            smaller = tf.reduce_sum(tf.cast(tf.less(tf.transpose(row), row), tf.int32), 1)
            return tf.math.top_k(-smaller, tf.shape(rows)[0])[1]

        def step(left: Any, order: Any) -> Any:
            by_column = self._ascending(tf.gather(rows, order)[:, left - 1])
            return left - 1, tf.gather(order, by_column)

        shapes = [tf.TensorShape([]), tf.TensorShape([None])]
        start = tf.shape(rows)[1], tf.range(tf.shape(rows)[0])
        return tf.while_loop(lambda left, _: left > 0, step, start, tuple(shapes))[1]

    def limit_scalar(self, limit: Any) -> Any:
        """A limit, which may exceed int32, as an int32 scalar that is not negative."""
        return tf.cast(tf.minimum(tf.maximum(limit, 0), tf.int32.max), tf.int32)

    def non_max_suppression(self, corners: Any, scores: Any, limit: Any, iou: Any, threshold: Any | None) -> Any:
        """Greedy selection for each batch element and class; rows of (batch, class, box).

        Args:
            corners: Ordered corners of the boxes, [batch, boxes, 4].
            scores: [batch, classes, boxes].
            limit: The most boxes for a batch element and class, an int32 scalar.
            iou: Overlap above which a box is dropped, a scalar.
            threshold: Score that a box must exceed, a scalar; None for no limit.
        """
        boxes = tf.shape(scores)[2]
        limit = tf.minimum(limit, boxes)
        alive = tf.ones_like(scores, tf.bool) if threshold is None else scores > threshold
        # The place of each box by falling score; of equal scores the lower index comes first.
        order = tf.math.top_k(scores, boxes)[1]
        rank = tf.math.top_k(-order, boxes)[1]
        if not self.builtins_only:
            return self._suppress_one_by_one(corners, tf.where(alive, boxes - rank, -1), limit, iou)
        return self._suppress_at_once(corners, alive, rank, limit, iou)

    def _suppress_one_by_one(self, corners: Any, merits: Any, limit: Any, iou: Any) -> Any:
        """TensorFlow's own operator for each batch element and class; distinct merits leave it no ties."""
        shape = tf.shape(merits)

        def select(index: Any, rows: Any) -> Any:
            batch, label = index // shape[1], index % shape[1]
            merit = tf.cast(merits[batch, label], corners.dtype)
            picked = tf.raw_ops.NonMaxSuppressionV3(
                boxes=corners[batch], scores=merit, max_output_size=limit, iou_threshold=iou, score_threshold=0.0
            )
            row = tf.stack([tf.fill(tf.shape(picked), batch), tf.fill(tf.shape(picked), label), picked], 1)
            return index + 1, rows.write(index, tf.cast(row, tf.int64))

        count = shape[0] * shape[1]
        rows = tf.TensorArray(tf.int64, count + 1, infer_shape=False, element_shape=[None, 3])
        rows = tf.while_loop(lambda index, _: index < count, select, (tf.constant(0), rows))[1]
        # One empty element more: an array of none cannot be joined.
        return rows.write(count, tf.zeros([0, 3], tf.int64)).concat()

    def _suppress_at_once(self, corners: Any, alive: Any, rank: Any, limit: Any, iou: Any) -> Any:
        """A loop whose every turn selects one box for each batch element and class, in tensors of fixed size."""
        shape, boxes = tf.shape(rank), tf.shape(rank)[2]
        lower, upper = corners[..., :2], corners[..., 2:]
        area = (upper[..., 0] - lower[..., 0]) * (upper[..., 1] - lower[..., 1])
        turns = tf.reshape(tf.range(limit), [1, 1, -1])

        def go_on(step: Any, alive: Any, _: Any) -> Any:
            return tf.logical_and(step < limit, tf.reduce_any(alive))

        def select(step: Any, alive: Any, chosen: Any) -> Any:
            best = tf.argmin(tf.where(alive, rank, boxes), 2, output_type=tf.int32)
            found = tf.reduce_any(alive, 2)
            place = tf.logical_and(tf.equal(turns, step), tf.expand_dims(found, 2))
            chosen = tf.where(place, tf.expand_dims(best, 2), chosen)
            left = tf.logical_and(alive, tf.not_equal(tf.reshape(tf.range(boxes), [1, 1, -1]), tf.expand_dims(best, 2)))
            overlap = self._overlap(lower, upper, area, best)
            return step + 1, tf.logical_and(left, tf.logical_not(overlap > iou)), chosen

        empty = tf.fill(tf.stack([shape[0], shape[1], limit]), -1)
        chosen = tf.while_loop(
            go_on,
            select,
            (tf.constant(0), alive, empty),
            (tf.TensorShape([]), tf.TensorShape([None, None, None]), tf.TensorShape([None, None, None])),
        )[2]
        places = tf.where(chosen >= 0)
        picked = tf.cast(tf.gather_nd(chosen, places), tf.int64)
        return tf.concat([places[:, :2], tf.expand_dims(picked, 1)], 1)

    def _overlap(self, lower: Any, upper: Any, area: Any, best: Any) -> Any:
        """Intersection over union of every box with the best of its batch element and class; 0 if either is empty."""
        low, high, size = (tf.gather(v, best, axis=1, batch_dims=1) for v in (lower, upper, area))
        extent = tf.minimum(tf.expand_dims(upper, 1), tf.expand_dims(high, 2)) - tf.maximum(
            tf.expand_dims(lower, 1), tf.expand_dims(low, 2)
        )
        meets = tf.reduce_all(extent > 0, -1)
        shared = extent[..., 1] * extent[..., 0]
        area, size = tf.expand_dims(area, 1), tf.expand_dims(size, 2)
        union = area + size - shared
        valid = meets & (shared > 0) & (area > 0) & (size > 0) & (union > 0)
        return tf.where(valid, shared / tf.where(valid, union, 1.0), 0.0)
