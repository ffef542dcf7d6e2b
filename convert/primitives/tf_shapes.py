"""TensorFlow's primitives that rearrange tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.lowering.values import Dim, name_of, scalar_of
from xport.convert.primitives.tf_reduction import TfReduction

INT32 = np.iinfo(np.int32)
_CONCATENATED = ("int8", "uint8", "int16", "uint32", "bool")
"""What TFLite's Concatenation, BroadcastTo, Fill and StridedSlice take besides the usual types."""

STRIDED_SLICE_RANK = 5
"""TFLite's StridedSlice takes tensors up to this rank."""

MIRROR_RANK = 5
"""TensorFlow's and TFLite's MirrorPad take tensors up to this rank."""


class TfShapes(TfReduction):
    """Concatenate, expand, fill, pad, slice, split, tile; sizes and sequences."""

    def concat(self, tensors: Sequence[Any], axis: int) -> Any:
        """Join tensors along an axis."""
        if len(tensors) == 1:
            return tensors[0]
        result = self.move(lambda *x: tf.concat(x, axis), *tensors, direct=_CONCATENATED)
        if any(t.shape.rank is None for t in tensors):
            return result
        shapes = [self.shape(t) for t in tensors]
        dims = [next((s for s in column if is_number(s)), column[0]) for column in zip(*shapes, strict=True)]
        dims[axis] = sum(s[axis] for s in shapes)
        self.name_dims(result, dims)
        return result

    def expand(self, x: Any, sizes: Sequence[Any]) -> Any:
        """Broadcast both ways."""
        own = self.shape(x)
        rank = max(len(own), len(sizes))
        own = [1] * (rank - len(own)) + own
        wanted = [1] * (rank - len(sizes)) + list(sizes)
        dims = [_broadcast(o, w) for o, w in zip(own, wanted, strict=True)]
        if all(_same_size(o, d) for o, d in zip(own, dims, strict=True)):
            return self.reshape(x, own) if rank != x.shape.rank else x
        if any(d is None for d in dims):
            target = tf.broadcast_dynamic_shape(self.stack_vector(own), self.stack_vector(wanted))
        else:
            target = self.sizes_tensor(dims)
        result = self.move(lambda x: tf.broadcast_to(x, target), x, direct=_CONCATENATED)
        self.name_dims(result, dims)
        return result

    def expand_to(self, x: Any, sizes: Any) -> Any:
        """Broadcast both ways, to sizes in a tensor of any length."""
        target = tf.broadcast_dynamic_shape(tf.shape(x), tf.cast(sizes, tf.int32))
        return self.move(lambda x: tf.broadcast_to(x, target), x, direct=_CONCATENATED)

    def stack_vector(self, sizes: Sequence[Any]) -> Any:
        """Sizes as an int32 vector tensor."""
        return tf.convert_to_tensor(self.sizes_tensor(sizes), tf.int32)

    def fill(self, sizes: Sequence[Any], value: np.ndarray) -> Any:
        """A tensor of one value."""
        result = self.move(lambda x: tf.fill(self.sizes_tensor(sizes), x), tf.constant(value), direct=_CONCATENATED)
        self.name_dims(result, list(sizes))
        return result

    def fill_to(self, sizes: Any, value: np.ndarray) -> Any:
        """A tensor of one value, of sizes in a tensor of any length."""
        return self.move(lambda x: tf.fill(tf.cast(sizes, tf.int32), x), tf.constant(value), direct=_CONCATENATED)

    def tile(self, x: Any, repeats: Sequence[Any]) -> Any:
        """Repeat along every axis."""
        if all(is_number(r) and r == 1 for r in repeats):
            return x
        result = self.move(lambda x: tf.tile(x, self.sizes_tensor(repeats)), x, direct=("uint8", "bool"))
        self.name_dims(result, [s * r for s, r in zip(self.shape(x), repeats, strict=True)])
        return result

    def tile_to(self, x: Any, repeats: Any) -> Any:
        """Repeat along every axis, by counts in a tensor."""
        repeats = self.with_length(tf.cast(repeats, tf.int32), x.shape.rank)
        return self.move(lambda x: tf.tile(x, repeats), x, direct=("uint8", "bool"))

    def reshape_to(self, x: Any, shape: Any, allowzero: bool) -> Any:
        """Reshape to sizes in a tensor, where 0 copies a size unless ``allowzero`` and -1 is inferred."""
        shape = tf.cast(shape, tf.int32)
        if not allowzero:
            # Past the input's rank no size can be copied, so what is there does not matter.
            n = tf.shape(shape)[0]
            own = tf.concat([tf.shape(x), tf.ones(tf.expand_dims(tf.maximum(n - x.shape.rank, 0), 0), tf.int32)], 0)[:n]
            shape = tf.where(tf.equal(shape, 0), own, shape)
        return tf.reshape(x, shape)

    def squeeze_all(self, x: Any) -> Any:
        """Remove every axis that has size one when the model runs."""
        return tf.squeeze(x)

    def squeeze_at(self, x: Any, axes: Any) -> Any:
        """Remove axes that a tensor names."""
        kept = tf.logical_not(self._mask(axes, x.shape.rank))
        result = tf.reshape(x, tf.boolean_mask(tf.shape(x), kept))
        if axes.shape.num_elements() is not None:
            result.set_shape([None] * (x.shape.rank - axes.shape.num_elements()))
        return result

    def unsqueeze_at(self, x: Any, axes: Any) -> Any:
        """Insert axes of size one at places that a tensor names."""
        axes = tf.reshape(axes, [-1])
        count = axes.shape[0] if axes.shape[0] is not None else tf.shape(axes)[0]
        new = tf.cast(self._mask(axes, x.shape.rank + count), tf.int32)
        sizes = tf.concat([tf.shape(x), [1]], 0)  # the last stands for places behind the last axis
        return tf.reshape(x, tf.where(new > 0, 1, tf.gather(sizes, tf.cumsum(1 - new, exclusive=True))))

    def _mask(self, axes: Any, rank: Any) -> Any:
        """Which of ``rank`` axes a tensor of axes names."""
        axes = tf.reshape(tf.cast(axes, tf.int32), [-1, 1])
        named = tf.equal(tf.where(axes < 0, axes + rank, axes), tf.expand_dims(tf.range(rank), 0))
        return tf.reduce_any(named, 0)

    def pad_constant(self, x: Any, begins: Sequence[Any], ends: Sequence[Any], value: Any) -> Any:
        """Pad with a value; negative amounts remove elements. Amounts may be run-time sizes of either sign."""
        grow = [[_above(b), _above(e)] for b, e in zip(begins, ends, strict=True)]
        sizes = self.shape(x)
        padded = x
        if any(not is_number(p) or p for pair in grow for p in pair):
            dynamic = any(tf.is_tensor(p) for pair in grow for p in pair)
            filler = value if tf.is_tensor(value) else self.scalar(value, x)
            amounts = tf.stack([tf.stack(pair) for pair in grow]) if dynamic else grow
            padded = self.move(lambda x, v: tf.pad(x, amounts, constant_values=v), x, filler, direct=("bool",))
        if any(not is_number(p) or p < 0 for p in (*begins, *ends)):
            start = [scalar_of(_above(-b)) for b in begins]
            length = [scalar_of(s + b + e) for s, b, e in zip(sizes, begins, ends, strict=True)]
            static = all(is_number(i) for i in (*start, *length))
            window = (start, length) if static else (tf.stack(start), tf.stack(length))
            padded = self.move(lambda x: tf.slice(x, *window), padded, direct=_CONCATENATED)
        self.name_dims(padded, [_padded_size(s, b, e) for s, b, e in zip(sizes, begins, ends, strict=True)])
        return padded

    def pad_reflect(self, x: Any, begins: Sequence[int], ends: Sequence[int]) -> Any | None:
        """Mirror about the first and last elements; amounts are numbers, not negative; None where no kernel does."""
        if x.shape.rank > MIRROR_RANK:
            return None
        amounts = list(zip(begins, ends, strict=True))
        mode = "CONSTANT" if 0 in x.shape else "REFLECT"  # the mirroring kernel refuses tensors without elements
        result = self.move(lambda x: tf.pad(x, amounts, mode=mode), x, direct=("int8", "uint8"))
        self.name_dims(result, [_padded_size(s, b, e) for s, b, e in zip(self.shape(x), begins, ends, strict=True)])
        return result

    def slice(self, x: Any, ranges: Sequence[tuple[int, Any, Any, int]]) -> Any:
        """Numpy's slicing, but that backward steps begin at the first element at least, as ONNX has it.

        Args:
            x: The tensor.
            ranges: Axis, start, end and step for each axis that is cut.

        Returns:
            The part.
        """
        if self.flavor == "tflite" and x.shape.rank > STRIDED_SLICE_RANK:
            return self._slice_one_by_one(x, ranges)
        keys: list[Any] = [slice(None)] * x.shape.rank
        sizes: list[Any] = self.shape(x)
        for axis, start, end, step in ranges:
            if step < 0 and is_number(start) and start < -1:  # numpy begins before the first element, ONNX at it
                start = self._not_before(start, sizes[axis])
            keys[axis] = _key(start, end, step, sizes[axis])
            static = all(is_number(s) for s in (start, end, sizes[axis]))
            sizes[axis] = len(range(sizes[axis])[keys[axis]]) if static else None
        result = self.move(lambda x: self._cut(x, keys), x, direct=_CONCATENATED)
        self.name_dims(result, sizes)
        return result

    def _cut(self, x: Any, keys: Sequence[Any]) -> Any:
        """A strided slice.

        XNNPACK takes a constant end of 0 for the end of the axis: the least number is as empty. TFLite's converter
        makes a strided slice whose bounds are all numbers a Slice, whose ends must lie inside of the tensor: where only
        run time knows whether they do, what is behind the ends is cut off first.
        """
        if self.flavor != "tflite":
            return x[tuple(keys)]
        keys = [slice(key.start, INT32.min, key.step) if _ends_at_zero(key) else key for key in keys]
        inside = all(is_number(size) or key.stop is None for key, size in zip(keys, x.shape, strict=True))
        if inside or not all(_plain(key) for key in keys):
            return x[tuple(keys)]
        return x[tuple(slice(None, key.stop) for key in keys)][tuple(slice(key.start, None) for key in keys)]

    def _not_before(self, start: int, size: Any) -> Any:
        """A negative start, raised to where the first element is."""
        if is_number(size):
            return max(start, -size)
        return Dim(1, (f"max({start},-{name_of(size)})",), lambda: tf.maximum(_bound(start), -scalar_of(size)))

    def _slice_one_by_one(self, x: Any, ranges: Sequence[tuple[int, Any, Any, int]]) -> Any:
        """Slice each axis as the middle one of three."""
        for axis, start, end, step in ranges:
            sizes = self.shape(x)
            flat = self.reshape(x, [self.product(sizes[:axis]), sizes[axis], self.product(sizes[axis + 1 :])])
            part = self.slice(flat, [(1, start, end, step)])
            x = self.reshape(part, [*sizes[:axis], self.shape(part)[1], *sizes[axis + 1 :]])
        return x

    def slice_at(self, x: Any, starts: Any, ends: Any, axes: Any, steps: Any) -> Any:
        """Slice by vectors of starts, ends, axes and steps that are tensors; the latter two may be None."""
        rank = x.shape.rank
        count = tf.shape(starts)[0]
        axes = tf.range(count) if axes is None else tf.cast(axes, tf.int32)
        axes = tf.where(axes < 0, axes + rank, axes)
        backward = steps is not None
        steps = _clipped(steps) if backward else tf.fill([count], 1)
        place = tf.equal(tf.expand_dims(axes, 1), tf.expand_dims(tf.range(rank), 0))
        named = tf.reduce_any(place, 0)

        def spread(values: Any, otherwise: int) -> Any:
            rows = tf.reduce_sum(tf.where(place, tf.expand_dims(values, 1), 0), 0)
            return tf.where(named, rows, otherwise)

        begins = spread(_clipped(starts), 0)
        if backward:  # numpy begins before the first element, ONNX at it
            begins = tf.maximum(begins, -tf.shape(x))
        bounds = begins, spread(_clipped(ends), INT32.max), spread(steps, 1)
        result = self.move(lambda x: tf.strided_slice(x, *bounds), x, direct=_CONCATENATED)
        result.set_shape([None] * rank)
        return result

    def split(self, x: Any, sizes: Sequence[Any], axis: int) -> list[Any]:
        """Parts of given sizes along an axis."""
        if len(sizes) == 1:
            return [x]
        if not all(is_number(s) for s in sizes):
            return self._split_by_slices(x, sizes, axis)
        parts: list[Any] = self.move(
            lambda x: list(tf.split(x, list(sizes), axis)), x, direct=("int8", "uint8", "int16")
        )
        whole = self.shape(x)
        for part, size in zip(parts, sizes, strict=True):
            self.name_dims(part, [*whole[:axis], size, *whole[axis + 1 :]])
        return parts

    def split_at(self, x: Any, sizes: Any, axis: int, count: int) -> list[Any]:
        """Parts of sizes in a tensor along an axis."""
        return self._split_by_slices(x, self.unstack(self.with_length(sizes, count), "split"), axis)

    def _split_by_slices(self, x: Any, sizes: Sequence[Any], axis: int) -> list[Any]:
        """Slices that follow each other; TFLite cannot split by sizes that only run time knows."""
        parts, start = [], 0
        for size in sizes:
            parts.append(self.slice(x, [(axis, start, start + size, 1)]))
            start = start + size
        return parts

    def shape_tensor(self, x: Any) -> Any:
        """The sizes as an int64 vector."""
        return tf.cast(tf.shape(x), tf.int64)

    def index_range(self, size: Any, dtype: str = "int64") -> Any:
        """The numbers from 0 up to a size."""
        if is_number(size):
            return tf.constant(np.arange(int(size)), tf.dtypes.as_dtype(dtype))
        result = tf.range(tf.cast(scalar_of(size), tf.dtypes.as_dtype(dtype)))
        self.name_dims(result, [size])
        return result

    def size64(self, size: Any) -> Any:
        """A size as an int64 scalar."""
        return tf.constant(int(size), tf.int64) if is_number(size) else tf.cast(scalar_of(size), tf.int64)

    def zeros_like(self, x: Any) -> Any:
        """One zero of a tensor's type, which broadcasts."""
        return tf.zeros((), x.dtype)

    def floor_modulo(self, a: Any, b: Any) -> Any:
        """The remainder of division, with the sign of the divisor."""
        return tf.math.floormod(a, b)

    def with_length(self, vector: Any, length: int) -> Any:
        """A vector whose length is now known."""
        return vector if vector.shape[0] == length else tf.reshape(vector, [length])

    def spread_pads(self, pads: Any, axes: Any, rank: int) -> Any:
        """Pads of axes that a tensor names, as pads of all axes."""
        axes = tf.cast(axes, tf.int32)
        place = tf.equal(tf.expand_dims(tf.where(axes < 0, axes + rank, axes), 1), tf.expand_dims(tf.range(rank), 0))
        halves = tf.reshape(pads, [2, -1, 1])
        return tf.reshape(
            tf.reduce_sum(tf.where(tf.expand_dims(place, 0), halves, tf.zeros((), pads.dtype)), 1), [2 * rank]
        )

    def arange(self, start: Any, limit: Any, delta: Any) -> Any:
        """``start + i * delta`` for each i that stays before the limit; rank-0 tensors of one type."""
        span, dtype = limit - start, start.dtype
        if dtype.is_floating:
            # The remainder is exact where a quotient would round.
            size, pace = tf.abs(span), tf.abs(delta)
            rest = tf.math.floormod(size, pace)
            count = tf.round((size - rest) / pace) + tf.cast(rest > 0, dtype)
            count = tf.where(tf.equal(span > 0, delta > 0), count, tf.zeros((), dtype))
            count = tf.cast(count, tf.int32)
            return start + tf.cast(tf.range(count), dtype) * delta
        # TFLite stops where the limit lies on the wrong side of the start, rather than giving nothing.
        limit = tf.where(tf.equal(span > 0, delta > 0), limit, start)
        return tf.range(start, limit, delta)

    def size_max(self, a: Any, b: Any) -> Any:
        """The larger of two sizes."""
        return _choose(a, b, max, tf.maximum, "max")

    def size_min(self, a: Any, b: Any) -> Any:
        """The smaller of two sizes."""
        return _choose(a, b, min, tf.minimum, "min")


def is_number(size: Any) -> bool:
    """Whether a size is known while converting."""
    return isinstance(size, (int, np.integer))


def _choose(a: Any, b: Any, known: Any, computed: Any, name: str) -> Any:
    if is_number(a) and is_number(b):
        return known(int(a), int(b))
    if isinstance(a, Dim) and isinstance(b, Dim) and a == b:
        return a
    label = f"{name}({getattr(a, 'name', a)},{getattr(b, 'name', b)})"
    return Dim(1, (label,), lambda: computed(scalar_of(a), scalar_of(b)))


def _same_size(a: Any, b: Any) -> bool:
    return bool(a == b) if is_number(a) == is_number(b) else False


def _broadcast(own: Any, wanted: Any) -> Any:
    """The broadcast of two sizes; None if only run time can tell."""
    if is_number(wanted):
        return own if wanted == 1 else wanted
    if is_number(own):
        return wanted if own == 1 else own
    return wanted if own == wanted else None


def _above(amount: Any) -> Any:
    """The amount, or zero if it is negative."""
    return max(int(amount), 0) if is_number(amount) else tf.maximum(scalar_of(amount), 0)


def _padded_size(size: Any, begin: Any, end: Any) -> Any:
    return size + begin + end if is_number(begin) and is_number(end) else None


def _clipped(values: Any) -> Any:
    """Bounds as int32; those beyond, which mean the very end, are clipped and not wrapped."""
    if values.dtype == tf.int32:
        return values
    return tf.cast(tf.minimum(tf.maximum(values, INT32.min), INT32.max), tf.int32)


def _key(start: Any, end: Any, step: int, size: Any) -> slice:
    """The range of one axis, without the bounds that cut nothing off and within those that are known to be its own."""
    if step == 1 and is_number(size) and is_number(start) and is_number(end):
        start, end, _ = slice(int(start), int(end)).indices(int(size))
    first = step > 0 and is_number(start) and start == 0
    last = step > 0 and is_number(end) and end >= (size if is_number(size) else INT32.max)
    return slice(None if first else _bound(start), None if last else _bound(end), step)


def _ends_at_zero(key: slice) -> bool:
    """Whether a range goes forward to the first element, and so has none."""
    return is_number(key.stop) and key.stop == 0 and (key.step is None or key.step > 0)


def _plain(key: slice) -> bool:
    """Whether a range is a start and an end in numbers that count from the front."""
    return key.step in (None, 1) and all(is_number(bound) and bound >= 0 for bound in (key.start, key.stop))


def _bound(bound: Any) -> Any:
    """A slice's bound within int32."""
    return min(max(int(bound), INT32.min), INT32.max) if is_number(bound) else scalar_of(bound)
