"""Who is ahead, as far as the measurement supports it."""

from __future__ import annotations

from collections.abc import Sequence

from xport.validate.comparing.results import Outcome, Ranking, Standing
from xport.validate.latency import Latency, compare

BASELINE = "eager"
"""The contender that factors are told against, where it ran."""


def rank(standings: Sequence[Standing], batch: int | None) -> Ranking | None:
    """Compare the contenders at one batch size.

    Args:
        standings: All; those with wrong numbers are compared, and never win.
        batch: The batch size.

    Returns:
        The ranking; None if nobody with right numbers was timed.
    """
    timed = {standing.label: latency for standing in standings if (latency := _latency(standing, batch)) is not None}
    ranked = [standing for standing in standings if standing.label in timed and standing.ranked]
    if not ranked:
        return None
    fastest = min((standing.label for standing in ranked), key=lambda label: timed[label].p50)
    others = [standing.label for standing in ranked if standing.label != fastest]
    tied = [label for label in others if not compare(fastest, timed[fastest], label, timed[label]).distinct]
    eager = [standing.label for standing in ranked if standing.contender.name == BASELINE]
    source = [standing.label for standing in ranked if standing.outcome is Outcome.SOURCE]
    against = [*eager, *source, fastest][0]
    return Ranking(
        batch,
        fastest,
        tuple(tied),
        against,
        tuple(compare(label, timed[label], against, timed[against]) for label in timed if label != against),
    )


def _latency(standing: Standing, batch: int | None) -> Latency | None:
    return next((cell.latency for cell in standing.cells if cell.batch == batch), None)
