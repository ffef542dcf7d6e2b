"""The search for the layers that must stay in float for enough of the signal to be left.

Each layer's own damage is the noise at the outputs when it alone is quantized. Noises of different layers are nearly
independent, so that their powers add, and the few most damaging layers are the ones to leave in float. How many of
them is found by doubling and halving: each try is measured, never predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

Measure = Callable[[Collection[str]], float]
"""The SQNR in decibels with these layers in float."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        kept: The layers to leave in float, the most damaging first.
        before_db: What is left with none of them in float.
        after_db: What is left with them.
        reached: Whether that is enough.
        tries: How many settings were measured.
    """

    kept: tuple[str, ...]
    before_db: float
    after_db: float
    reached: bool
    tries: int


def search(layers: Sequence[str], damage: Callable[[str], float], measure: Measure, least_db: float) -> Found:
    """Find few layers to leave in float.

    Args:
        layers: All that are quantized.
        damage: The SQNR with one layer alone quantized; asked only where something must be left out.
        measure: The SQNR with some layers in float.
        least_db: What must be left.

    Returns:
        The smallest number of most damaging layers that is enough; where none is short of all, the best one found.
    """
    before = measure(())
    if before >= least_db or not layers:
        return Found((), before, before, before >= least_db, 1)
    ranked = sorted(layers, key=damage)  # stable: equal ones stay in the graph's order
    tried: dict[int, float] = {0: before}

    def enough(count: int) -> bool:
        if count not in tried:
            tried[count] = measure(ranked[:count])
        return tried[count] >= least_db

    most = len(ranked) - 1  # with all of them in float nothing is quantized
    low, high = 0, min(1, most)  # `low` is not enough
    while high < most and not enough(high):
        low, high = high, min(2 * high, most)
    if not enough(high):
        best = max(tried, key=lambda count: (tried[count], -count))
        return Found(tuple(ranked[:best]), before, tried[best], False, len(tried))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return Found(tuple(ranked[:high]), before, tried[high], True, len(tried))
