"""Loops and branches that run at once: the same for every target whose tensors hold values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Tensors = list[Any]
ScanBody = Callable[[Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]
"""Takes states, slices and operands; gives new states and outputs."""

LoopBody = Callable[[Any, Any, Tensors, Tensors], tuple[Any, Tensors, Tensors]]
"""Takes iteration number, condition, states and operands; gives condition, new states and outputs."""


def scan(
    body: ScanBody,
    states: Sequence[Any],
    inputs: Sequence[Any],
    operands: Sequence[Any],
    stack: Callable[[Tensors], Any],
    zeros: Callable[[Sequence[int], Any], Any],
) -> tuple[Tensors, Tensors]:
    """Step over the first axis of ``inputs``.

    Args:
        body: One step.
        states: Initial states.
        inputs: Tensors of one leading size.
        operands: What else the body needs, passed through.
        stack: Joins tensors along a new first axis.
        zeros: Makes a tensor of a shape and of another tensor's type.

    Returns:
        The final states, and each output stacked; for no steps, empty stacks of the shape a step would give.
    """
    current = list(states)
    collected: list[Tensors] = []
    for t in range(int(inputs[0].shape[0])):
        current, outputs = body(current, [x[t] for x in inputs], list(operands))
        collected.append(outputs)
    if collected:
        return current, [stack(list(column)) for column in zip(*collected, strict=True)]
    _, outputs = body(current, [zeros(x.shape[1:], x) for x in inputs], list(operands))
    return current, [zeros([0, *y.shape], y) for y in outputs]


def loop(
    body: LoopBody,
    limit: int | None,
    condition: Any,
    states: Sequence[Any],
    operands: Sequence[Any],
    counter: Callable[[int], Any],
) -> tuple[Tensors, list[Tensors]]:
    """Repeat while the condition holds, at most ``limit`` times.

    Args:
        body: One iteration.
        limit: The greatest number of iterations; None for any.
        condition: Whether to begin at all.
        states: Initial states.
        operands: What else the body needs, passed through.
        counter: Makes the iteration number a tensor.

    Returns:
        The final states, and the outputs of each iteration.
    """
    current, collected, i = list(states), [], 0
    while (limit is None or i < limit) and bool(condition):
        condition, current, outputs = body(counter(i), condition, current, list(operands))
        collected.append(outputs)
        i += 1
    return current, collected
