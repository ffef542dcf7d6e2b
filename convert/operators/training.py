"""Optimizer steps of the preview training domain: plain arithmetic on tensors."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering.registry import Tensor, op, refuse

TRAINING = "ai.onnx.preview.training"


def _groups(tensors: tuple[Any, ...], kinds: int) -> list[list[Any]]:
    """Inputs come kind by kind: every parameter, then every gradient, and so on; regroup them by parameter."""
    if len(tensors) % kinds:
        raise refuse(f"{len(tensors)} tensors", f"they must be a multiple of {kinds}")
    n = len(tensors) // kinds
    return [[tensors[kind * n + i] for kind in range(kinds)] for i in range(n)]


def _columns(rows: list[list[Any]]) -> tuple[Any, ...]:
    return tuple(value for column in zip(*rows, strict=True) for value in column)


def _regularized(xp: Any, gradient: Any, x: Any, norm: float) -> Any:
    return xp.add(xp.mul(x, xp.scalar(norm, x)), gradient)


@op("Adagrad", domain=TRAINING)
def adagrad(
    xp: Any,
    rate: Tensor,
    step: Tensor,
    *tensors: Tensor,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> Any:
    """Step against the gradient over the root of the sum of all squared gradients so far."""
    decay = xp.mul(xp.cast(step, xp.dtype(rate)), xp.scalar(decay_factor, rate))
    rate = xp.divide(rate, xp.add(decay, xp.scalar(1, rate)))
    rows = []
    for x, gradient, squares in _groups(tensors, 3):
        g = _regularized(xp, gradient, x, norm_coefficient)
        total = xp.add(squares, xp.mul(g, g))
        scale = xp.add(xp.sqrt(total), xp.scalar(epsilon, total))
        rows.append([xp.sub(x, xp.divide(xp.mul(xp.cast(rate, xp.dtype(x)), g), scale)), total])
    return _columns(rows)


@op("Adam", domain=TRAINING)
def adam(
    xp: Any,
    rate: Tensor,
    step: Tensor,
    *tensors: Tensor,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> Any:
    """Step along the running mean of gradients over the root of that of their squares, corrected after step 0."""
    rows = []
    for x, gradient, mean, squares in _groups(tensors, 4):
        g = _regularized(xp, gradient, x, norm_coefficient)
        v = xp.add(xp.mul(mean, xp.scalar(alpha, x)), xp.mul(g, xp.scalar(1 - alpha, x)))
        h = xp.add(xp.mul(squares, xp.scalar(beta, x)), xp.mul(xp.mul(g, g), xp.scalar(1 - beta, x)))
        t = xp.cast(step, xp.dtype(x))
        ones = xp.scalar(1, x)
        correction = xp.divide(
            xp.sqrt(xp.sub(ones, xp.pow(xp.scalar(beta, x), t))), xp.sub(ones, xp.pow(xp.scalar(alpha, x), t))
        )
        own = xp.cast(rate, xp.dtype(x))
        adjusted = xp.where(xp.greater(t, xp.scalar(0, t)), xp.mul(own, correction), own)
        moved = xp.sub(x, xp.divide(xp.mul(adjusted, v), xp.add(xp.sqrt(h), xp.scalar(epsilon, x))))
        rows.append([xp.mul(moved, xp.scalar(1 - norm_coefficient_post, x)), v, h])
    return _columns(rows)


@op("Momentum", domain=TRAINING)
def momentum(
    xp: Any,
    rate: Tensor,
    step: Tensor,
    *tensors: Tensor,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> Any:
    """Step along a running sum of gradients; ``nesterov`` looks one step ahead."""
    if mode not in ("standard", "nesterov"):
        raise refuse(f"mode={mode!r}", "it must be standard or nesterov")
    rows = []
    for x, gradient, velocity in _groups(tensors, 3):
        g = _regularized(xp, gradient, x, norm_coefficient)
        t = xp.cast(step, xp.dtype(x))
        # The very first gradient enters undamped.
        damping = xp.where(xp.greater(t, xp.scalar(0, t)), xp.scalar(beta, x), xp.scalar(1, x))
        v = xp.add(xp.mul(velocity, xp.scalar(alpha, x)), xp.mul(g, damping))
        direction = v if mode == "standard" else xp.add(g, xp.mul(v, xp.scalar(alpha, x)))
        rows.append([xp.sub(x, xp.mul(xp.cast(rate, xp.dtype(x)), direction)), v])
    return _columns(rows)
