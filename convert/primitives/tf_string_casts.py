"""TensorFlow's conversions between numbers and strings."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.primitives.tf_core import TfCore

DIGITS = 8
"""ONNX Runtime prints every float with eight significant digits."""


class TfStringCasts(TfCore):
    """Numbers to strings and back."""

    def require_strings(self, what: str) -> None:
        """Refuse work on strings where the graph will run in TFLite."""
        if self.flavor == "tflite" and not tf.executing_eagerly():
            raise refuse(what, "TensorFlow Lite has no built-in operators for strings")

    def cast_string(self, x: Any, dtype: str) -> Any:
        """Numbers to strings as ONNX Runtime prints them, or strings to numbers as C reads them."""
        self.require_strings(f"a cast from {x.dtype.name} to {dtype}")
        return self._print(x) if dtype == "string" else self._parse(x, dtype)

    def _print(self, x: Any) -> Any:
        if x.dtype == tf.bool:
            return tf.where(x, tf.constant("1"), tf.constant("0"))
        if not x.dtype.is_floating:
            return tf.strings.as_string(x)
        wide = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
        text = tf.strings.as_string(wide, precision=DIGITS, shortest=True)
        text = tf.where(tf.math.is_nan(wide), tf.constant("NaN"), text)
        infinite = tf.where(wide > 0, tf.constant("INF"), tf.constant("-INF"))
        return tf.where(tf.math.is_inf(wide), infinite, text)

    def _parse(self, x: Any, dtype: str) -> Any:
        text = tf.strings.regex_replace(tf.strings.strip(x), r"^\+", "")
        if dtype in ("float16", "bfloat16", "float32", "float64"):
            number = tf.strings.to_number(text, tf.float64 if dtype == "float64" else tf.float32)
            return tf.cast(number, dtype)
        if dtype == "uint64":
            raise refuse("a cast from string to uint64", "TensorFlow parses no number above 2**63")
        # C stops at the first character that is no digit.
        whole = tf.strings.regex_replace(text, r"^(-?[0-9]+).*$", r"\1")
        number = tf.strings.to_number(whole, tf.int64)
        return tf.cast(number != 0 if dtype == "bool" else number, dtype)
