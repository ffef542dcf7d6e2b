"""What strategies of operators share: sizes that betray guesses, contents that sum exactly, modes of giving inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

Draw = st.DrawFn

SIZES = st.sampled_from([3, 1, 2, 4, 5, 7])
"""Sizes of axes; a half of them odd, one of them one."""

SEEDS = st.integers(0, 1 << 16)


def floats(draw: Draw, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """Quarters between -4 and 4: sums and products of them are exact in any order, and some are equal."""
    return (np.random.default_rng(draw(SEEDS)).integers(-16, 17, tuple(shape)) / 4).astype(dtype)


def ints(draw: Draw, shape: Sequence[int], low: int, high: int, dtype: Any = np.int64) -> np.ndarray:
    """Integers from ``low`` to below ``high``."""
    return np.random.default_rng(draw(SEEDS)).integers(low, max(high, low + 1), tuple(shape)).astype(dtype)


def vector(*values: Any) -> np.ndarray:
    """An int64 vector."""
    return np.array(values, np.int64)


@st.composite
def shapes(draw: Draw, least: int = 0, most: int = 4, *, empty: bool = True) -> tuple[int, ...]:
    """Shapes: all axes alike, or of any size; seldom with an empty one."""
    rank = draw(st.integers(least, most))
    if draw(st.integers(0, 3)) == 0:
        return (draw(SIZES),) * rank
    sizes = [draw(SIZES) for _ in range(rank)]
    if empty and rank and draw(st.integers(0, 11)) == 0:
        sizes[draw(st.integers(0, rank - 1))] = 0
    return tuple(sizes)


@st.composite
def images(draw: Draw, channels: int, axes: int, *, empty: bool = True) -> tuple[int, ...]:
    """Shapes of images with so many channels: as high and wide as deep, or of any size; seldom without a batch."""
    batch = draw(st.sampled_from([1, 2, 2, 3, 3, 0 if empty else 1]))
    if draw(st.booleans()):
        return (batch, channels, *[channels] * axes)
    return (batch, channels, *[draw(SIZES) for _ in range(axes)])


def axis_of(draw: Draw, rank: int) -> int:
    """An axis of a tensor, counted from either end."""
    return draw(st.integers(-rank, rank - 1))


def axes_of(draw: Draw, rank: int, *, least: int = 0) -> list[int]:
    """Distinct axes in any order, counted from either end."""
    chosen = draw(st.permutations(range(rank)))[: draw(st.integers(min(least, rank), rank))]
    return [a - rank if draw(st.booleans()) else a for a in chosen]


def mode(draw: Draw, inputs: Sequence[np.ndarray | None]) -> dict[str, Any]:
    """Which inputs are known while converting, and whether the others' sizes are."""
    others = [i for i, x in enumerate(inputs) if i and x is not None]
    which = draw(st.sampled_from(["known", "run time", "some"]))
    known = others if which == "known" else [i for i in others if which == "some" and draw(st.booleans())]
    return {"constants": tuple(known), "symbolic": draw(st.booleans())}


def per_axis(draw: Draw, choice: Sequence[int], axes: int) -> list[int]:
    """One number an axis."""
    return [draw(st.sampled_from(choice)) for _ in range(axes)]


PADDING = st.sampled_from(["pads", "pads", "none", "VALID", "SAME_UPPER", "SAME_LOWER"])


def window(draw: Draw, kernel: list[int], *, most: int = 0) -> dict[str, Any]:
    """Strides, dilations and padding of windows; an axis is padded by the kernel's size plus ``most``, or less."""
    n = len(kernel)
    attributes: dict[str, Any] = {}
    if draw(st.booleans()):
        attributes["strides"] = per_axis(draw, [1, 2, 3], n)
    if draw(st.booleans()):
        attributes["dilations"] = per_axis(draw, [1, 1, 2, 3], n)
    padding = draw(PADDING)
    if padding == "pads":
        attributes["pads"] = [draw(st.integers(0, k + most)) for k in kernel * 2]
    elif padding != "none":
        attributes["auto_pad"] = padding
    return attributes
