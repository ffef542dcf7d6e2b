"""Fences: where TensorFlow's graph optimizers, left alone, change results.

A placeholder with a default hands its input through, and no optimizer looks behind it. TFLite's converter has
optimizers of its own and no such operator.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def fenced(tensor: Any) -> Any:
    """A tensor whose origin no graph optimizer sees."""
    if not tf.is_symbolic_tensor(tensor):
        return tensor
    return tf.raw_ops.PlaceholderWithDefault(input=tensor, shape=tensor.shape)


def fenced_constant(tensor: Any) -> Any:
    """A tensor whose content no graph optimizer sees; itself where that is not known anyway."""
    return fenced(tensor) if tf.is_symbolic_tensor(tensor) and _is_foldable(tensor) else tensor


def _is_foldable(tensor: Any, depth: int = 8) -> bool:
    """Whether a graph optimizer could compute a tensor beforehand."""
    op = tensor.op
    if op.type == "Const":
        return True
    return bool(depth and op.inputs) and all(_is_foldable(x, depth - 1) for x in op.inputs)
