"""How many digits a server writes its floats with, and what that alone may change.

Most servers write the shortest decimal that reads back as the same number: nothing is lost. One that writes six digits
has rounded its answers once more, which is the protocol's doing and not the model's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from xport.signature import numpy_dtype

_NUMBER = re.compile(rb"-?(\d+)\.(\d+)(?:[eE][+-]?\d+)?")
_ENOUGH = {"float16": 5, "bfloat16": 4, "float32": 9, "float64": 17}
"""Significant digits that tell every number of a dtype from its neighbours (IEEE 754: 1 + ceil(p log10 2)).

One less rounds by about as much as the dtype itself, and is what the shortest decimals mostly have: it is enough.
"""
_LEAST = 4
_LEAST_SEEN = 8
_SHARE = 0.6  # trailing zeros are left out, so one number in ten has a digit less, one in a hundred two
_LARGEST_SEEN = 2**20


@dataclass
class Decimals:
    """The digits of the floats in JSON answers.

    Attributes:
        significant: How often a number had so many significant digits.
        places: How often it had so many digits behind the point.
    """

    significant: Counter[int] = field(default_factory=Counter)
    places: Counter[int] = field(default_factory=Counter)

    def see(self, body: bytes) -> None:
        """Count the digits in an answer; of a long one its beginning tells."""
        if sum(self.significant.values()) > _LARGEST_SEEN:
            return
        for match in _NUMBER.finditer(body[:_LARGEST_SEEN]):
            digits = (match[1] + match[2]).lstrip(b"0").rstrip(b"0")
            if len(digits) >= _LEAST:  # round numbers tell nothing
                self.significant[len(digits)] += 1
                self.places[len(match[2].rstrip(b"0"))] += 1

    def step(self, values: np.ndarray) -> np.ndarray | None:
        """The distance between neighbours that the server can write, around given values.

        Args:
            values: Floats of an output.

        Returns:
            An array of the same shape; None where the server writes enough digits to lose nothing.
        """
        enough = _ENOUGH.get(values.dtype.name, 0)
        seen = sum(self.significant.values())
        if not enough or seen < _LEAST_SEEN:
            return None
        wide = values.astype(np.float64)
        digits, places = max(self.significant), max(self.places)
        by_digits, by_places = self.significant[digits] / seen, self.places[places] / seen
        if _LEAST <= digits < enough - 1 and by_digits >= max(_SHARE, by_places):
            with np.errstate(divide="ignore", invalid="ignore"):
                exponent = np.floor(np.log10(np.abs(wide)))
            step = np.power(10.0, exponent - digits + 1)
            return np.where(np.isfinite(step), step, 0.0)
        if _LEAST <= places < enough - 1 and by_places >= _SHARE:
            return np.full(wide.shape, 10.0**-places)
        return None

    def within(self, actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """What a server has computed, as close to what is expected as its digits leave open.

        Args:
            actual: What was read out of its answer.
            expected: What it should be.

        Returns:
            ``actual``, moved towards ``expected`` by at most half a step of the digits.
        """
        if actual.shape != expected.shape or actual.dtype != expected.dtype:
            return actual
        step = self.step(actual)
        if step is None:
            return actual
        gap = expected.astype(np.float64) - actual.astype(np.float64)
        room = np.where(np.isfinite(gap), np.clip(gap, -step / 2, step / 2), 0.0)
        return (actual.astype(np.float64) + room).astype(actual.dtype)

    def within_all(self, actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`within` for every output that is expected."""
        return {n: self.within(array, expected[n]) if n in expected else array for n, array in actual.items()}

    def words(self, dtype: str) -> str:
        """What a reader should know; empty where nothing is lost."""
        if dtype not in _ENOUGH or self.step(np.ones(1, numpy_dtype(dtype))) is None:
            return ""
        return (
            f"the server writes its numbers with at most {max(self.significant)} digits, fewer than {dtype} has: "
            "half a step of the last one is not counted as an error"
        )
