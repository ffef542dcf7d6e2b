"""TensorFlow's conversions between element types, and what it computes in which type."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.lowering.registry import refuse
from xport.convert.primitives.narrow_types import FLOAT_CARRIERS, INTEGER_BITS, INTEGER_CARRIERS, FloatFormat
from xport.convert.primitives.rounding import round_to_e8m0, round_to_format, wrap_to_bits
from xport.convert.primitives.tf_string_casts import TfStringCasts
from xport.convert.primitives.widening import Widening

_SMALL = {"uint8": "int32", "int8": "int32", "uint16": "int32", "int16": "int32"}
_FLOATS = ("float16", "bfloat16", "float32", "float64")

_TENSORFLOW_WIDER = {
    "fmod": {**_SMALL, "uint32": "int64", "uint64": "int64", "float16": "float32", "bfloat16": "float32"},
    "neg": {"uint8": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64"},
    "abs": {"uint8": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64"},
    "sign": {"uint8": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64"},
    "pow": {**_SMALL, "uint32": "int64"},
}
"""Where TensorFlow's CPU kernels lack a type."""

_BUILTIN_WIDER = {**_SMALL, "uint32": "int64", "uint64": "int64", "float16": "float32", "bfloat16": "float32"}
"""TFLite computes in int32, int64 and float32."""

_BUILTIN_EXTRA = {"where": {"bool", "int8", "int16"}, "equal": {"bool"}, "not_equal": {"bool"}}
_BUILTIN_FLOAT_ONLY = {"pow_float", "floor", "ceil", "round", "is_nan", "is_inf", "sqrt", "exp", "log", "atan2"}

CARRIED = {**INTEGER_CARRIERS, **{k: v for k, v in FLOAT_CARRIERS.items() if k not in ("float8_e4m3fn", "float8_e5m2")}}
"""Types that TensorFlow's kernels do not take; it converts and moves the other two float8 types itself."""

_CASTABLE = {"int4", "uint4"}
"""Carried types that TensorFlow still converts, so that they may stand at a SavedModel's interface."""


class TfCasts(Widening, TfStringCasts):
    """Conversions, carriers and widening; see `Widening`."""

    @property
    def builtins_only(self) -> bool:
        """Whether the operation now being added will run in TFLite."""
        return self.flavor == "tflite" and not tf.executing_eagerly()

    @property
    def carriers(self) -> dict[str, str]:
        """Which types are carried by which; see `narrow_types`."""
        return {**INTEGER_CARRIERS, **FLOAT_CARRIERS} if self.flavor == "tflite" else CARRIED

    def wider(self, name: str, dtype: str) -> str | None:
        if not self.builtins_only:
            return _TENSORFLOW_WIDER.get(name, {}).get(dtype, dtype)
        if dtype in ("int32", "int64", "float32", "string") or dtype in _BUILTIN_EXTRA.get(name, ()):
            return dtype
        return _BUILTIN_WIDER.get(dtype)

    def recast(self, x: Any, dtype: str) -> Any:
        if not self.builtins_only or x.dtype.name == dtype:
            return tf.cast(x, dtype)
        if x.dtype.name == "uint64":
            return self.recast(tf.bitcast(x, tf.int64), dtype)
        if dtype == "uint64":
            return tf.bitcast(tf.cast(x, tf.int64), tf.uint64)
        return tf.cast(x, dtype)

    def bits64(self, x: Any) -> Any:
        return tf.bitcast(x, tf.int64)

    def from_bits64(self, x: Any) -> Any:
        return tf.bitcast(x, tf.uint64)

    def scalar(self, value: float | bool, like: Any) -> Any:
        """A rank-0 constant of another tensor's dtype."""
        return tf.constant(np.asarray(value).astype(like.dtype.as_numpy_dtype))

    def cast(self, x: Any, dtype: str, saturate: bool = True, round_mode: str = "up") -> Any:
        """Convert to a dtype by the signature's name; a carried type becomes its carrier.

        Args:
            x: The tensor.
            dtype: The signature's name of the type.
            saturate: For floats of eight bits: whether what overflows becomes the largest number.
            round_mode: For float8_e8m0fnu: ``up``, ``down`` or ``nearest``.
        """
        source = str(x.dtype.name)
        if source == dtype:
            return x
        if "string" in (source, dtype):
            return self.cast_string(x, dtype)
        if dtype in INTEGER_BITS:
            return self.recast(wrap_to_bits(self, x, dtype), INTEGER_CARRIERS[dtype])
        if dtype in FLOAT_CARRIERS:
            rounded = self._narrow_float(x, dtype, saturate, round_mode)
            return tf.cast(rounded, self.carriers.get(dtype, dtype))
        if source.startswith("float8"):
            return self.cast(tf.cast(x, tf.float32), dtype)
        if source == "uint64" and dtype in _FLOATS and self.builtins_only:
            raise refuse(f"a cast from uint64 to {dtype}", "TensorFlow Lite converts no uint64")
        if source in _FLOATS and dtype.startswith("uint"):
            return self.recast(tf.cast(x, tf.int64), dtype) if dtype != "uint64" else self._to_uint64(x)
        return self.recast(x, dtype)

    def _to_uint64(self, x: Any) -> Any:
        if self.builtins_only:
            raise refuse(f"a cast from {x.dtype.name} to uint64", "TensorFlow Lite converts to no uint64")
        return tf.cast(x, tf.uint64)

    def _narrow_float(self, x: Any, dtype: str, saturate: bool, round_mode: str) -> Any:
        if x.dtype.name.startswith("float8"):
            x = tf.cast(x, tf.float32)
        x = x if x.dtype in (tf.float32, tf.float64) and not self.builtins_only else self.recast(x, "float32")
        if dtype == "float8_e8m0fnu":
            return round_to_e8m0(self, self.recast(x, "float32"), saturate, round_mode)
        return round_to_format(self, x, dtype, saturate)

    def quantum(self, x: Any, form: FloatFormat) -> Any:
        """The spacing of a format's numbers around each element, from the bits of its exponent.

        TFLite has no bitwise AND; there the exponent is found by comparing with each power of two.
        """
        if self.builtins_only:
            result = self.scalar(2.0 ** (form.min_exponent - form.mantissa), x)
            size = tf.abs(x)
            for exponent in range(form.min_exponent + 1, form.max_exponent + 1):
                step = self.scalar(2.0 ** (exponent - form.mantissa), x)
                result = tf.where(size >= self.scalar(2.0**exponent, x), step, result)
            return result
        integer, explicit, bias = (tf.int32, 23, 127) if x.dtype == tf.float32 else (tf.int64, 52, 1023)
        mask = (255 if integer == tf.int32 else 2047) << explicit
        exponent = tf.bitwise.bitwise_and(tf.bitcast(x, integer), tf.constant(mask, integer))
        exponent = tf.maximum(exponent, tf.constant((bias + form.min_exponent) << explicit, integer))
        return tf.bitcast(exponent - tf.constant(form.mantissa << explicit, integer), x.dtype)

    def exponent_and_fraction(self, x: Any) -> tuple[Any, Any]:
        """The biased exponent and the fraction bits of float32 numbers, without the sign."""
        if self.builtins_only:
            raise refuse("a cast to float8_e8m0fnu", "TensorFlow Lite has no operation on a float's bits")
        bits = tf.bitcast(x, tf.int32)
        exponent = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, tf.constant(23, tf.int32)), 255)
        return exponent, tf.bitwise.bitwise_and(bits, (1 << 23) - 1)

    def power_of_two(self, exponent: Any) -> Any:
        """Two to the power of integers, in the carrier of float8_e8m0fnu."""
        table = np.ldexp(1.0, np.arange(-127, 129))
        return tf.gather(tf.constant(table), exponent)

    def bit_cast(self, x: Any, dtype: str) -> Any:
        """Reinterpret the bits as another type of the same width."""
        if dtype == "bool" or dtype in self.carriers or dtype.startswith("float8"):
            raise refuse(f"a bit cast to {dtype}", "TensorFlow reinterprets no bits as this type")
        if x.dtype == tf.bool:
            x = tf.cast(x, tf.uint8)
        if x.dtype.name.startswith("float8"):
            raise refuse(f"a bit cast from {x.dtype.name}", "TensorFlow reinterprets no bits of this type")
        return tf.bitcast(x, dtype)

    def receive(self, tensor: Any, dtype: str | None) -> Any:
        """A graph input in the form in which the lowering carries it."""
        if dtype is None or dtype not in self.carriers:
            if self.flavor == "tflite" and dtype == "bfloat16":
                raise refuse("an input of bfloat16", "TensorFlow Lite takes no input of this type")
            return tensor
        self._check_interface("an input", dtype)
        return tf.cast(tensor, self.carriers[dtype])

    def deliver(self, tensor: Any, dtype: str | None) -> Any:
        """A graph output in the type that the model declares."""
        if dtype is None or dtype not in self.carriers:
            return tensor
        self._check_interface("an output", dtype)
        return tf.cast(tensor, dtype)

    def _check_interface(self, what: str, dtype: str) -> None:
        if self.flavor == "tflite" or dtype not in _CASTABLE:
            runtime = "TensorFlow Lite" if self.flavor == "tflite" else "TensorFlow"
            raise refuse(f"{what} of {dtype}", f"{runtime} has no kernels for this type; inside the graph it is fine")
