"""Latency across lanes: each in its own process, all taking turns, until everyone has the calls that were asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xport.errors import XportError
from xport.validate.latency import LEAST_ROUNDS, Latency, summarize
from xport.validate.matrix.lane import Failure, Lane, failure
from xport.validate.matrix.remote import WarmUp

DEFAULT_RUNS = 100
"""Counted calls a cell, unless that takes longer than `SECONDS_A_CELL`."""

LEAST_RUNS = 10
"""Counted calls a cell at least, however slow the model is."""

SECONDS_A_CELL = 10.0
"""How long a cell is timed if the user names no number of calls."""

_WARM_UP_SECONDS = 3.0
_WARM_UP_CALLS = 200
_TURN = 5
_SLOW = 0.2  # a call that takes longer is not disturbed by what ran before it


@dataclass(frozen=True)
class Timed:
    """A lane with the inputs that it is timed on, under its own names."""

    lane: Lane
    inputs: Mapping[str, np.ndarray]


def time_side_by_side(timed: Sequence[Timed], *, runs: int | None) -> list[Latency | Failure]:
    """Time lanes in interleaved rounds.

    Args:
        timed: What to time; at least one.
        runs: Counted calls each; None for `DEFAULT_RUNS`, fewer for slow models.

    Returns:
        Latency, or why there is none, in the same order.
    """
    results: dict[int, Failure] = {}
    warm: dict[int, WarmUp] = {}
    for place, each in enumerate(timed):
        try:
            warm[place] = each.lane.warm_up(each.inputs, seconds=_WARM_UP_SECONDS, calls=_WARM_UP_CALLS)
        except XportError as error:
            results[place] = failure(error)
    turn, rounds = _plan(list(warm.values()), runs)
    taken: dict[int, list[list[float]]] = {place: [] for place in warm}
    for number in range(rounds):
        for place in _order(list(taken), number):
            try:
                taken[place].append(timed[place].lane.take_turn(turn))
            except XportError as error:
                results[place] = failure(error)
                del taken[place]
    return [
        results[place]
        if place in results
        else summarize(taken[place], warm_up=warm[place].calls, steady=warm[place].steady)
        for place in range(len(timed))
    ]


def _plan(warm: Sequence[WarmUp], runs: int | None) -> tuple[int, int]:
    """Calls a turn and number of rounds, the same for all so that rounds can be compared."""
    slowest = max((each.seconds for each in warm), default=0.0)
    wanted = runs if runs is not None else DEFAULT_RUNS
    turn = 1 if slowest > _SLOW else max(1, min(_TURN, wanted // LEAST_ROUNDS))
    if runs is None and slowest > 0:
        affordable = SECONDS_A_CELL / slowest * turn / (turn + 1)
        wanted = int(min(wanted, max(LEAST_RUNS, affordable)))
    return turn, math.ceil(wanted / turn)


def _order(places: Sequence[int], number: int) -> list[int]:
    """Everybody begins a round in turn: who follows whom must not matter."""
    shift = number % max(len(places), 1)
    return [*places[shift:], *places[:shift]]
