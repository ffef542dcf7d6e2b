"""TensorFlow's primitives for strings; TFLite's built-in operators and PyTorch have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.primitives.tf_shapes import TfShapes


class TfStrings(TfShapes):
    """Joining, splitting, matching, normalising."""

    def string_concat(self, a: Any, b: Any) -> Any:
        """Join elementwise, with broadcasting."""
        return tf.add(a, b)

    def string_split(self, x: Any, delimiter: str | None, maxsplit: int | None) -> tuple[Any, Any]:
        """Parts along a new last axis, filled up with empty strings, and how many each element has."""
        flat = tf.reshape(x if delimiter else tf.strings.strip(x), [-1])
        ragged = tf.strings.split(flat, sep=delimiter or None, maxsplit=-1 if maxsplit is None else maxsplit)
        rows = ragged.value_rowids()
        # An empty string has no parts, as in ONNX Runtime; and where TensorFlow splits at white space, it counts what
        # is left after the last part even if nothing is.
        empty = tf.equal(tf.gather(flat, rows) if delimiter else ragged.flat_values, "")
        ragged = tf.ragged.boolean_mask(ragged, ragged.with_flat_values(tf.logical_not(empty)))
        counts = ragged.row_lengths()
        parts = ragged.to_tensor(default_value="")
        shape = tf.shape(x)
        parts = tf.reshape(parts, tf.concat([shape, tf.shape(parts)[1:]], 0))
        return parts, tf.reshape(counts, shape)

    def regex_full_match(self, x: Any, pattern: str) -> Any:
        """Whether each whole element matches an RE2 pattern."""
        return tf.strings.regex_full_match(x, pattern)

    def string_case(self, x: Any, upper: bool) -> Any:
        """Change the case by Unicode's rules."""
        return (tf.strings.upper if upper else tf.strings.lower)(x, encoding="utf-8")

    def string_is_in(self, x: Any, words: list[str]) -> Any:
        """Whether each element is one of some words."""
        return tf.reduce_any(tf.equal(x[..., None], tf.constant(words, tf.string)), -1)

    def string_select(self, x: Any, keep: Any) -> Any:
        """The kept elements of a vector or of a matrix of one row; one empty string if none is kept."""
        kept = tf.boolean_mask(tf.reshape(x, [-1]), tf.reshape(keep, [-1]))
        kept = tf.cond(tf.size(kept) > 0, lambda: kept, lambda: tf.constant([""]))
        return kept if x.shape.rank == 1 else kept[None]

    def lookup(self, x: Any, keys: np.ndarray, values: np.ndarray, default: Any) -> Any:
        """The value of the first key equal to each element, or a default; NaN is found by NaN."""
        table = tf.constant(keys.tolist(), dtype=x.dtype)
        hits = tf.equal(x[..., None], table)
        if x.dtype.is_floating:
            hits = tf.logical_or(hits, tf.logical_and(tf.math.is_nan(x)[..., None], tf.math.is_nan(table)))
        numbers = tf.constant(values.tolist() if values.dtype == object else values)
        found = tf.gather(numbers, tf.argmax(tf.cast(hits, tf.int32), -1, output_type=tf.int32))
        missing = tf.constant(default, dtype=numbers.dtype)
        return tf.where(tf.reduce_any(hits, -1), found, missing)
