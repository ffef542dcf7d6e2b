"""Has a model of lower precision collapsed? It may keep its decibels and yet never say a word of its answers again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xport.validate.figures import measure, to_float64

Unlikely = Callable[[int, int, float], bool]
"""Whether so many flips among so many rows are more than chance makes of a share."""

_FEW = 4
"""Rows below which equal answers may be the answers."""


def collapse(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray], share: float, unlikely: Unlikely) -> str:
    """Look for answers that are never given any more.

    Args:
        wanted: What was expected of one output; one array a set.
        found: What came.
        share: The share of decisions that may flip.
        unlikely: Tells whether chance explains flips.

    Returns:
        What has collapsed, in words; empty if nothing has.
    """
    return _lost_class(wanted, found, share, unlikely) or _constant(wanted, found)


def _lost_class(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray], share: float, unlikely: Unlikely) -> str:
    if any(measure(w, f).top1 is None for w, f in zip(wanted, found, strict=True)):
        return ""
    before = np.concatenate([_classes(w) for w in wanted])
    after = set(np.unique(np.concatenate([_classes(f) for f in found])).tolist())
    for number, rows in zip(*np.unique(before, return_counts=True), strict=True):
        if int(number) not in after and unlikely(int(rows), int(rows), share):
            return f"Class {int(number)} is never predicted any more; the reference predicts it in {int(rows)} cases."
    return ""


def _classes(array: np.ndarray) -> np.ndarray:
    chosen: np.ndarray = np.nan_to_num(to_float64(array)).argmax(axis=-1).reshape(-1)
    return chosen


def _constant(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> str:
    if wanted[0].dtype.kind not in "fc" or any(w.ndim < 2 or w.shape[1:] != wanted[0].shape[1:] for w in wanted):
        return ""
    before, after = np.concatenate(list(wanted)), np.concatenate(list(found))
    if len(before) < _FEW or before.shape != after.shape:
        return ""
    if not (after == after[:1]).all() or (before == before[:1]).all():
        return ""
    return f"It gives one and the same answer to all {len(before)} inputs; the reference's answers differ."
