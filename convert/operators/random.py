"""Operators that draw random numbers, and Dropout, which does so only while training."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering.host import sizes_of
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, op, refuse
from xport.convert.lowering.values import Value
from xport.errors import UnsupportedError

WHY = "no two runtimes draw the same numbers, so a converted model could not be proven equal"


def _random(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name} draws random numbers: {WHY}",
        "Make the random tensor an input of the model, or replace it by a constant.",
    )


@op("RandomNormal", "RandomUniform")
def random_tensor(
    xp: Any,
    *,
    dtype: int = 1,
    high: float = 1.0,
    low: float = 0.0,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
    shape: list[int],
    context: Context,
) -> Any:
    """Random numbers of a given shape; refused."""
    raise _random(context.node.op_type)


@op("RandomNormalLike", "RandomUniformLike")
def random_like(
    xp: Any,
    x: RawValue,
    *,
    dtype: int | None = None,
    high: float = 1.0,
    low: float = 0.0,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
    context: Context,
) -> Any:
    """Random numbers of another tensor's shape; refused."""
    raise _random(context.node.op_type)


@op("Bernoulli")
def bernoulli(xp: Any, x: RawValue, *, dtype: int | None = None, seed: float | None = None) -> Any:
    """Draws of zero or one; refused."""
    raise _random("Bernoulli")


@op("Multinomial")
def multinomial(xp: Any, x: RawValue, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Any:
    """Draws of classes; refused."""
    raise _random("Multinomial")


@op("Dropout", since=12)
def dropout(
    xp: Any,
    x: RawValue,
    ratio: RawValue | None = None,
    training_mode: RawValue | None = None,
    *,
    seed: int | None = None,
    context: Context,
) -> Any:
    """The input itself and a mask of ones; with ``training_mode`` refused, unless the ratio is zero."""
    training = None if training_mode is None else training_mode.static()
    share = np.float32(0.5) if ratio is None else ratio.static()
    kept = share is not None and not np.any(share)
    if training_mode is not None and not kept and (training is None or bool(np.any(training))):
        raise refuse("training_mode", "it must be known to be false, since " + WHY)
    return (x, _mask(xp, context, x))[: context.n_outputs]


@op("Dropout", since=7, until=11)
def dropout_7(xp: Any, x: RawValue, *, ratio: float = 0.5, context: Context) -> Any:
    """The older form, for inference only: the input itself and a mask, which the specification leaves open.

    ONNX Runtime fills it with False, and is what a converted model is compared with.
    """
    if context.wants(1) and context.version < 10:
        raise refuse("the mask output before opset 10", "its type is that of the input, which no runtime fills")
    return (x, _mask(xp, context, x, kept=False))[: context.n_outputs]


def _mask(xp: Any, context: Context, x: Value, *, kept: bool = True) -> Any:
    return xp.fill(sizes_of(x, xp), np.asarray(kept)) if context.wants(1) else None
