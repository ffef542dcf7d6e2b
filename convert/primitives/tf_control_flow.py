"""TensorFlow's primitives for branches and loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.primitives import python_loops
from xport.convert.primitives.python_loops import LoopBody, ScanBody, Tensors
from xport.convert.primitives.tf_shapes import TfShapes

_INT64_MAX = (1 << 63) - 1


class TfControlFlow(TfShapes):
    """Branches and loops, as TensorFlow's functional `If` and `While`."""

    explicit_captures = False
    """Whether a body must be handed the outer tensors it uses; TensorFlow finds them itself."""

    def value_now(self, tensor: Any) -> np.ndarray | None:
        """A tensor's content where it is known at once."""
        return self.numpy(tensor) if hasattr(tensor, "numpy") else None

    def branch(
        self,
        condition: Any,
        then: Callable[[Tensors], Tensors],
        otherwise: Callable[[Tensors], Tensors],
        operands: Sequence[Any],
    ) -> Tensors:
        """One of two functions of the operands, chosen at run time."""
        if tf.executing_eagerly():
            return then(list(operands)) if bool(condition) else otherwise(list(operands))
        results = tf.cond(condition, lambda: then(list(operands)), lambda: otherwise(list(operands)))
        return list(results) if isinstance(results, (list, tuple)) else [results]

    def scan(
        self,
        body: ScanBody,
        states: Sequence[Any],
        inputs: Sequence[Any],
        operands: Sequence[Any],
        elements: Sequence[Sequence[Any]] | None = None,
    ) -> tuple[Tensors, Tensors]:
        """Step over the first axis of the inputs; see `python_loops.scan`.

        Args:
            body: One step.
            states: Initial states.
            inputs: Tensors of one leading size.
            operands: Passed to the body.
            elements: The sizes of each output of a step, where the caller knows them.
        """
        if tf.executing_eagerly():
            return python_loops.scan(body, states, inputs, operands, tf.stack, _zeros_like)

        def step(i: Any, current: Tensors) -> tuple[Tensors, Tensors]:
            return body(current, [row(i) for row in rows], list(operands))

        rows = [self._row_of(x) for x in inputs]
        shapes, outputs = self._fixpoint(lambda *current: step(tf.constant(0), list(current)), states)
        size = inputs[0].shape[0]
        length = tf.shape(inputs[0])[0] if size is None else tf.constant(size)
        sizes = elements or self._element_sizes(outputs, lambda: step(tf.constant(0), list(states))[1])
        stores = [self._reserve(spec, size_, length) for spec, size_ in zip(outputs, sizes, strict=True)]

        def advance(i: Any, current: Tensors, filled: Tensors) -> tuple[Any, Tensors, Tensors]:
            current, made = step(i, current)
            return i + 1, current, [self._store(f, i, y) for f, y in zip(filled, made, strict=True)]

        kept = [s.shape for s in stores]
        _, final, filled = tf.while_loop(
            lambda i, current, filled: i < length,
            advance,
            (tf.constant(0), list(states), stores),
            (tf.TensorShape([]), shapes, kept),
        )
        return list(final), [
            self._stored(f, spec, size_, size) for f, spec, size_ in zip(filled, outputs, sizes, strict=True)
        ]

    def loop(
        self,
        body: LoopBody,
        limit: Any,
        condition: Any,
        states: Sequence[Any],
        operands: Sequence[Any],
        n_outputs: int,
    ) -> tuple[Tensors, Tensors]:
        """Repeat while a condition holds; see `python_loops.loop`. States may change their sizes, not their rank.

        Args:
            body: One iteration.
            limit: The greatest number of iterations, as a tensor or a number; None for any.
            condition: A boolean scalar.
            states: Initial states.
            operands: Passed to the body.
            n_outputs: How many outputs an iteration has.

        Returns:
            The final states, and each output stacked.
        """
        if tf.executing_eagerly():
            return self._loop_at_once(body, limit, condition, states, operands)

        def step(i: Any, going: Any, current: Tensors) -> tuple[Any, Tensors, Tensors]:
            going, current, made = body(i, going, current, list(operands))
            return tf.reshape(going, []), current, made

        def probe(*current: Any) -> tuple[Tensors, Tensors]:
            return step(tf.constant(0, tf.int64), condition, list(current))[1:]

        shapes, outputs = self._fixpoint(probe, states)
        bound = tf.constant(_INT64_MAX, tf.int64) if limit is None else tf.cast(limit, tf.int64)
        grown = self._growing(outputs, lambda: probe(*states)[1])

        def advance(i: Any, going: Any, current: Tensors, filled: Tensors) -> tuple[Any, Any, Tensors, Tensors]:
            going, current, made = step(i, going, current)
            return i + 1, going, current, [self._append(f, y) for f, y in zip(filled, made, strict=True)]

        scalar = tf.TensorShape([])
        count, _, final, filled = tf.while_loop(
            lambda i, going, *_: tf.logical_and(i < bound, going),
            advance,
            (tf.constant(0, tf.int64), tf.reshape(condition, []), list(states), grown),
            (scalar, scalar, shapes, [_leading_unknown(g) for g in grown]),
        )
        return list(final), [self._grown(f, spec, count) for f, spec in zip(filled, outputs, strict=True)]

    def _loop_at_once(
        self, body: LoopBody, limit: Any, condition: Any, states: Sequence[Any], operands: Sequence[Any]
    ) -> tuple[Tensors, Tensors]:
        bound = None if limit is None else int(limit)
        final, collected = python_loops.loop(
            body, bound, condition, states, operands, lambda i: tf.constant(i, tf.int64)
        )
        if not collected:
            _, _, made = body(tf.constant(0, tf.int64), condition, list(states), list(operands))
            return final, [_zeros_like([0, *y.shape], y) for y in made]
        return final, [tf.stack(list(column)) for column in zip(*collected, strict=True)]

    def _fixpoint(self, probe: Callable[..., Any], states: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The most general static shapes of the states over all iterations, and the outputs' specs."""
        shapes = [s.shape for s in states]
        while True:
            after, outputs = _specs(probe, [tf.TensorSpec(s, x.dtype) for s, x in zip(shapes, states, strict=True)])
            merged = [_merge(a, b.shape) for a, b in zip(shapes, after, strict=True)]
            if all(a.as_list() == b.as_list() for a, b in zip(merged, shapes, strict=True)):
                return shapes, outputs
            shapes = merged

    def _element_sizes(self, specs: Sequence[Any], first: Callable[[], Tensors]) -> list[list[Any]]:
        """The sizes of each output of a step; -1 where unknown, or in TFLite, which must allocate, the first step's."""
        if any(spec.shape.rank is None for spec in specs):
            raise refuse("a scan output of unknown rank", "TensorFlow must know the rank")
        sizes: list[list[Any]] = [[-1 if size is None else size for size in spec.shape] for spec in specs]
        if self.flavor == "tflite" and any(-1 in row for row in sizes):
            return [self.shape(made) for made in first()]
        return sizes

    def _row_of(self, x: Any) -> Callable[[Any], Any]:
        """Reads the rows of a tensor, in TFLite those of float16 as bits (see `move`), made once, outside the loop."""
        if self.flavor != "tflite" or x.dtype not in (tf.float16, tf.float64):
            return lambda i: tf.gather(x, i)
        bits = tf.bitcast(x, tf.int16 if x.dtype == tf.float16 else tf.int64)
        return lambda i: tf.bitcast(tf.gather(bits, i), x.dtype)

    def _reserve(self, spec: Any, sizes: Sequence[Any], length: Any) -> Any:
        if self.flavor == "tflite":
            return tf.zeros(self.stack_vector_of([length, *sizes]), _carrier(spec.dtype))
        return tf.raw_ops.TensorListReserve(
            element_shape=self.stack_vector(list(sizes)), num_elements=length, element_dtype=spec.dtype
        )

    def stack_vector_of(self, items: Sequence[Any]) -> Any:
        """Sizes, some of them scalar tensors, as an int32 vector."""
        from xport.convert.lowering.values import scalar_of

        return tf.stack([tf.cast(scalar_of(i), tf.int32) for i in items])

    def _store(self, store: Any, i: Any, value: Any) -> Any:
        if self.flavor == "tflite":
            return tf.tensor_scatter_nd_update(store, tf.reshape(i, [1, 1]), _carried(value, store.dtype)[None])
        return tf.raw_ops.TensorListSetItem(input_handle=store, index=i, item=value)

    def _stored(self, store: Any, spec: Any, sizes: Sequence[Any], length: int | None) -> Any:
        if self.flavor == "tflite":
            result = _carried(store, spec.dtype)
        else:
            result = tf.raw_ops.TensorListStack(
                input_handle=store, element_shape=self.stack_vector(list(sizes)), element_dtype=spec.dtype
            )
        self.name_dims(result, [length, *(None if isinstance(s, int) and s < 0 else s for s in sizes)])
        return result

    def _growing(self, specs: Sequence[Any], first: Callable[[], Tensors]) -> Tensors:
        """A collection for each output of an iteration; in TFLite with one row too many, since it trips over none."""
        if self.flavor != "tflite":
            return [
                tf.raw_ops.EmptyTensorList(element_shape=-1, max_num_elements=-1, element_dtype=spec.dtype)
                for spec in specs
            ]
        known = all(spec.shape.is_fully_defined() for spec in specs)
        made = list(specs) if known else first()  # one iteration ahead of time tells the sizes
        return [
            tf.zeros([1, *y.shape] if known else tf.concat([[1], tf.shape(y)], 0), _carrier(spec.dtype))
            for y, spec in zip(made, specs, strict=True)
        ]

    def _append(self, grown: Any, value: Any) -> Any:
        if self.flavor != "tflite":
            return tf.raw_ops.TensorListPushBack(input_handle=grown, tensor=value)
        return tf.concat([grown, _carried(value, grown.dtype)[None]], 0)

    def _grown(self, grown: Any, spec: Any, count: Any) -> Any:
        if self.flavor == "tflite":
            return _carried(grown[1:], spec.dtype)
        if spec.shape.rank is None:
            raise refuse("a scan output of unknown rank", "TensorFlow must know the rank")
        sizes = [-1 if s is None else s for s in spec.shape]
        # What no iteration made has size zero where nothing else is known, as in ONNX Runtime.
        empty = tf.constant([max(s, 0) for s in sizes], tf.int32)
        shape = tf.where(count > 0, tf.constant(sizes, tf.int32), empty) if -1 in sizes else sizes
        result = tf.raw_ops.TensorListStack(
            input_handle=grown, element_shape=tf.convert_to_tensor(shape, tf.int32), element_dtype=spec.dtype
        )
        result.set_shape([None, *spec.shape])
        return result


def _zeros_like(sizes: Sequence[int], like: Any) -> Any:
    return tf.zeros([int(s) for s in sizes], like.dtype)


_BITS = {tf.float64: tf.int64, tf.uint64: tf.int64, tf.uint32: tf.int32}


def _carrier(dtype: Any) -> Any:
    """A type that TFLite can update in place, and that holds the content."""
    if dtype == tf.float16:
        return tf.float32
    return _BITS.get(dtype, tf.int32 if dtype in (tf.bool, tf.uint8, tf.int8, tf.int16) else dtype)


def _carried(tensor: Any, dtype: Any) -> Any:
    """A tensor as its carrier, or back."""
    bits = _BITS.get(tensor.dtype) == dtype or _BITS.get(dtype) == tensor.dtype
    return tf.bitcast(tensor, dtype) if bits else tf.cast(tensor, dtype)


def _leading_unknown(tensor: Any) -> Any:
    """A shape whose first size may change."""
    return tensor.shape if not tensor.shape.rank else tf.TensorShape([None, *tensor.shape[1:]])


def _merge(a: Any, b: Any) -> Any:
    if a.rank is None or b.rank is None or a.rank != b.rank:
        raise refuse(f"a loop state of shape {a} that becomes {b}", "its rank must stay the same")
    return tf.TensorShape([x if x == y else None for x, y in zip(a, b, strict=True)])


def _specs(probe: Callable[..., Any], states: Sequence[Any]) -> Any:
    """The specs of what a function makes, found in a graph that is thrown away."""
    with tf.__internal__.FuncGraph("probe").as_default():
        made = probe(*[tf.compat.v1.placeholder(s.dtype, s.shape) for s in states])
        return tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), made)
