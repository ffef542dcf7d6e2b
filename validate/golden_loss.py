"""Replayed golden outputs of an artifact of lower precision, judged as they were when it was made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xport.validate.losses import decide, sqnr
from xport.validate.verdicts import Loss, OutputVerdict

WORSE_DB = 6.0
"""How much less than recorded may be left: other kernels may round otherwise, noise twice as large may not be."""


def by_recorded_loss(
    verdict: OutputVerdict, recorded: Loss, expected: Sequence[Any], actual: Sequence[Any]
) -> OutputVerdict:
    """Judge what is left of the golden outputs.

    Args:
        verdict: What a comparison with the golden outputs says, with its figures.
        recorded: What the proof says was lost.
        expected: The golden outputs, which are the source's; one mapping a case.
        actual: What the artifact gives now.

    Returns:
        The verdict.
    """
    wanted = [np.asarray(case[verdict.output]) for case in expected]
    found = [np.asarray(case[verdict.output]) for case in actual]
    left = sqnr(wanted, found)
    least = recorded.least_db
    if math.isfinite(recorded.total_db):
        least = max(least, recorded.total_db - WORSE_DB)
    loss = decide(
        replace(recorded, sqnr_db=left, total_db=left, least_db=least, passed=True, reason=""), wanted, found, "It"
    )
    reason = loss.reason or f"{left:.1f} dB are left, {recorded.total_db:.1f} when it was made."
    word = "exact" if verdict.verdict == "exact" else "faithful" if loss.passed else "failed"
    return replace(
        verdict, verdict=word, rule="loss", reason=reason, loss=loss, ratio=None, limit=None, floor=None, tolerance=None
    )
