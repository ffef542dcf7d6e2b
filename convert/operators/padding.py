"""Pad in its four modes."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering import layout
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, op, refuse

_MODES = ("constant", "reflect", "edge", "wrap")


@op("Pad", since=11, layout=layout.pad)
def pad(
    xp: Any,
    x: Tensor,
    pads: RawValue,
    value: RawValue | None = None,
    axes: RawValue | None = None,
    *,
    mode: str = "constant",
    context: Context,
) -> Any:
    """Pad some axes or all, by a value, by reflection, by the edge or by wrapping around; negative pads crop."""
    if value is None or (known := value.static()) is not None:
        content: Any = 0 if value is None else np.asarray(known).reshape(()).item()
    else:
        content = xp.reshape(context.tensor(value), [])
    if xp.rank(x) == 0:
        return x
    begins, ends = _amounts(xp, xp.rank(x), pads, axes, context)
    return _pad(xp, x, begins, ends, mode, content)


@op("Pad", since=2, until=10, layout=layout.pad)
def pad_2(xp: Any, x: Tensor, *, pads: list[int], mode: str = "constant", value: float = 0.0) -> Any:
    """The older form, with pads and value as attributes."""
    half = len(pads) // 2
    return _pad(xp, x, pads[:half], pads[half:], mode, value)


def _amounts(xp: Any, rank: int, pads: Any, axes: Any, context: Context) -> tuple[list[Any], list[Any]]:
    """Pads before and after every axis."""
    where = None if axes is None else axes.static()
    if axes is not None and where is None:
        vector = xp.spread_pads(context.tensor(pads), context.tensor(axes), rank)
        amounts = xp.unstack(vector, "pads")
    elif pads.known or pads.vector is not None:
        amounts = context.interpreter.as_sizes(pads)
    else:
        count = rank if where is None else where.size
        amounts = xp.unstack(xp.with_length(context.tensor(pads), 2 * count), "pads")
    if where is not None:
        amounts = layout.spread(amounts, where, rank)
    return amounts[:rank], amounts[rank:]


def _pad(xp: Any, x: Any, begins: list[Any], ends: list[Any], mode: str, value: Any) -> Any:
    if mode not in _MODES:
        raise refuse(f"mode {mode!r}", "the specification knows constant, reflect, edge and wrap")
    if all(_is(p, 0) for p in (*begins, *ends)):
        return x
    if mode == "constant":
        return xp.pad_constant(x, begins, ends, value)
    if any(_negative(p) for p in (*begins, *ends)):
        crops = [[min(p, 0) if isinstance(p, (int, np.integer)) else 0 for p in side] for side in (begins, ends)]
        x = xp.pad_constant(x, *crops, 0)
        begins, ends = ([0 if _negative(p) else p for p in side] for side in (begins, ends))
    if mode == "reflect" and all(isinstance(p, (int, np.integer)) for p in (*begins, *ends)):
        y = xp.pad_reflect(x, begins, ends)
        if y is not None:
            return y
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if not (_is(begin, 0) and _is(end, 0)):
            x = xp.take_slices(x, _sources(xp, xp.shape(x)[axis], begin, end, mode), axis)
    return x


def _is(size: Any, number: int) -> bool:
    return isinstance(size, (int, np.integer)) and int(size) == number


def _negative(amount: Any) -> bool:
    return isinstance(amount, (int, np.integer)) and int(amount) < 0


def _sources(xp: Any, size: Any, begin: Any, end: Any, mode: str) -> Any:
    """The index that each place of the padded axis takes its element from."""
    first, length, grown = 0, size, size + begin + end
    if not all(isinstance(p, (int, np.integer)) for p in (begin, end)):
        # Amounts of unknown sign: negative ones crop first, and the rest is padded.
        first = xp.size_max(-begin, 0)
        length = size - first - xp.size_max(-end, 0)
        begin = xp.size_max(begin, 0)
    places = xp.index_range(grown)
    one, low = xp.size64(1), xp.size64(0)
    places = xp.sub(places, xp.size64(begin))
    last = xp.sub(xp.size64(length), one)
    if mode == "edge":
        places = xp.minimum(xp.maximum(places, low), last)
    elif mode == "wrap":
        places = xp.floor_modulo(places, xp.size64(length))
    else:
        places = xp.abs(places)
        places = xp.sub(last, xp.abs(xp.sub(last, places)))
    return xp.add(places, xp.size64(first))
