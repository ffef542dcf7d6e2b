"""How storage orders pass through operators, for targets that store images channels-last.

Each lowered value remembers the permutation between its stored and its logical axes (`Value.perm`). A policy sees a
`Call` before its tensors are made: it chooses the order in which each input is wanted, rewrites attributes that name
axes, and says in which order the outputs come out. An operator without a policy gets logical order. A layout is never
guessed from sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xport.convert.lowering.values import Perm, Value, channels_last, divide, identity

_SOME_SIZE = 16
"""What a size known only at run time counts for when costs are compared."""


@dataclass
class Call:
    """One node about to be lowered.

    Attributes:
        values: Its inputs; None for an omitted one.
        ranks: Their ranks; None where unknown or omitted.
        attributes: Its attributes with defaults filled in; a policy may rewrite them.
        perms: The storage order wanted for each input; None for the logical one.
        out_perms: The storage order of the outputs: one for all, or one each.
        replaced: Inputs whose content a policy rewrote, by position.
        sizes: The inputs' logical sizes, where they are known to the target.
    """

    values: list[Value | None]
    ranks: list[int | None]
    attributes: dict[str, Any]
    perms: list[Perm | None] = field(default_factory=list)
    out_perms: Perm | list[Perm | None] | None = None
    replaced: dict[int, np.ndarray] = field(default_factory=dict)
    sizes: list[list[Any] | None] = field(default_factory=list)

    def out_perm(self, index: int) -> Perm | None:
        """The storage order of one output."""
        perm = self.out_perms[index] if isinstance(self.out_perms, list) else self.out_perms
        return identity(perm)


def spatial(call: Call) -> None:
    """Convolutions, pools, batch normalisation: input 0 and the outputs are channels-last."""
    rank = call.ranks[0]
    if rank is not None and rank >= 3:
        call.perms[0] = call.out_perms = channels_last(rank)


def spatial_all(call: Call) -> None:
    """Like `spatial`, for operators whose every input of the same rank is an image."""
    spatial(call)
    for i, rank in enumerate(call.ranks):
        if rank == call.ranks[0]:
            call.perms[i] = call.perms[0]


def _dominant(call: Call) -> Perm | None:
    """The order that the inputs are brought to at the least cost; in a draw one that is not the logical order."""
    rank = max((r for r in call.ranks if r is not None), default=0)
    orders = [
        v.perm
        for v, r in zip(call.values, call.ranks, strict=True)
        if v is not None and r == rank and v.tensor is not None
    ]
    return min(orders, key=lambda order: (_cost(call, rank, order), order is None), default=None)


def _cost(call: Call, rank: int, order: Perm | None) -> int:
    """About how many elements have to be moved until every input of a rank is stored in an order."""
    cost = 0
    for i, (value, own) in enumerate(zip(call.values, call.ranks, strict=True)):
        if value is None or value.tensor is None or own != rank:
            continue
        made = value.perm == order or any(key[0] == order for key in value.cache)
        sizes = call.sizes[i] if i < len(call.sizes) else None
        if not made:
            cost += math.prod(s if isinstance(s, int) else _SOME_SIZE for s in sizes or [_SOME_SIZE] * rank)
    return cost


def elementwise(call: Call) -> None:
    """Broadcasting operators: every input is brought to one storage order, which the output keeps.

    Inputs of lower rank count as if padded with leading ones; the interpreter aligns them when it makes the tensors.
    """
    if any(r is None for r, v in zip(call.ranks, call.values, strict=True) if v is not None):
        return
    perm = identity(_dominant(call))
    if perm is not None:
        call.perms = [perm if v is not None else None for v in call.values]
        call.out_perms = perm


def _stored_axis(axis: int, perm: Perm) -> int:
    """Where a logical axis is stored."""
    return perm.index(axis % len(perm))


def along_axis(call: Call) -> None:
    """Operators with one ``axis`` whose output has the input's axes: softmax, concat, split, cumsum."""
    perm = _first_perm(call)
    if perm is None:
        return
    call.perms = [perm if r == len(perm) else None for r in call.ranks]
    call.attributes["axis"] = _stored_axis(int(call.attributes["axis"]), perm)
    call.out_perms = perm


def along_last(call: Call) -> None:
    """Like `along_axis`, for what kernels do along the last stored axis only, where another one costs transposes."""
    perm = _first_perm(call)
    rank = call.ranks[0]
    if perm is None or rank is None:
        return
    axis = int(call.attributes["axis"]) % rank
    if perm[-1] == axis or axis != rank - 1:
        along_axis(call)


def _first_perm(call: Call) -> Perm | None:
    """The order of the first input; of the dominant one if there are several."""
    perm = identity(_dominant(call))
    return perm if perm is not None and call.ranks[0] == len(perm) else None


def reduced_perm(perm: Perm, axes: Sequence[int]) -> Perm:
    """The order that is left when logical axes are removed."""
    gone = {a % len(perm) for a in axes}
    kept = sorted(set(range(len(perm))) - gone)
    return tuple(kept.index(p) for p in perm if p not in gone)


def reduction(call: Call) -> None:
    """Reductions: ``axes`` as an attribute or as input 1, ``keepdims``."""
    perm = _first_perm(call)
    if perm is None:
        return
    axes = _axes(call)
    if axes is None:
        return
    all_axes = not len(axes) and not call.attributes.get("noop_with_empty_axes", 0)
    stored = [_stored_axis(int(a), perm) for a in axes]
    _set_axes(call, stored)
    call.perms[0] = perm
    keep = bool(call.attributes.get("keepdims", 1))
    call.out_perms = perm if keep else reduced_perm(perm, range(len(perm)) if all_axes else axes)


def arg_reduction(call: Call) -> None:
    """ArgMax and ArgMin: one ``axis``, ``keepdims``."""
    perm = _first_perm(call)
    if perm is None:
        return
    axis = int(call.attributes["axis"])
    call.attributes["axis"] = _stored_axis(axis, perm)
    call.perms[0] = perm
    call.out_perms = perm if call.attributes.get("keepdims", 1) else reduced_perm(perm, [axis])


def _axes(call: Call) -> list[int] | None:
    """The node's axes; [] if it names none, None if they are not known while converting."""
    if len(call.values) > 1 and (value := call.values[1]) is not None:
        array = value.static()
        return None if array is None else [int(a) for a in array.reshape(-1)]
    axes = call.attributes.get("axes")
    return [] if axes is None else [int(a) for a in axes]


def _set_axes(call: Call, axes: Sequence[int]) -> None:
    if len(call.values) > 1 and call.values[1] is not None:
        call.replaced[1] = np.array(axes, dtype=np.int64)
    elif call.attributes.get("axes") is not None:
        call.attributes["axes"] = list(axes)


def squeeze(call: Call) -> None:
    """Squeeze with known axes: the removed axes leave the order."""
    perm = _first_perm(call)
    axes = _axes(call)
    if perm is None or not axes:
        return
    _set_axes(call, [_stored_axis(a, perm) for a in axes])
    call.perms[0] = perm
    call.out_perms = reduced_perm(perm, axes)


def unsqueeze(call: Call) -> None:
    """Unsqueeze with known axes: each new axis is stored where it is cheapest to insert, so nothing moves."""
    perm = _first_perm(call)
    axes = _axes(call)
    if perm is None or axes is None:
        return
    rank = len(perm) + len(axes)
    new = {a % rank for a in axes}
    old = [i for i in range(rank) if i not in new]
    # New axes come first, and the others keep their stored order.
    _set_axes(call, list(range(len(axes))))
    call.perms[0] = perm
    call.out_perms = (*sorted(new), *(old[p] for p in perm))


def pad(call: Call) -> None:
    """Pad with known pads and all axes: the pads follow the stored axes."""
    perm = _first_perm(call)
    if perm is None:
        return
    rank = len(perm)
    value = call.values[1] if len(call.values) > 1 else None
    pads = value.static() if value is not None else call.attributes.get("pads")
    if pads is None:
        return
    if len(call.values) > 3 and call.values[3] is not None:
        axes = call.values[3].static()
        if axes is None:
            return
        pads = spread(pads, axes, rank)
        call.values[3] = None
    begins, ends = list(pads[:rank]), list(pads[rank:])
    stored = [int(begins[p]) for p in perm] + [int(ends[p]) for p in perm]
    if value is not None:
        call.replaced[1] = np.array(stored, dtype=np.int64)
    else:
        call.attributes["pads"] = stored
    call.perms[0] = call.out_perms = perm


def spread(pads: Any, axes: Any, rank: int) -> list[Any]:
    """Pads of some axes as pads of all."""
    amounts: list[Any] = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        amounts[int(axis) % rank] = pads[i]
        amounts[rank + int(axis) % rank] = pads[len(axes) + i]
    return amounts


def slices(call: Call) -> None:
    """Slice (opset 10 and newer): ``axes`` is input 3; missing axes mean the first ones."""
    perm = _first_perm(call)
    if perm is None or len(call.values) < 3:
        return
    given = call.values[3] if len(call.values) > 3 else None
    if given is not None:
        array = given.static()
        if array is None:
            return
        axes = [int(a) for a in array.reshape(-1)]
    else:
        starts = call.values[1]
        known = starts.static() if starts is not None else None
        if known is None:
            return
        axes = list(range(known.size))
    call.replaced[3] = np.array([_stored_axis(a, perm) for a in axes], dtype=np.int64)
    call.perms[0] = call.out_perms = perm


def slices_1(call: Call) -> None:
    """Slice before opset 10: everything is an attribute; missing axes mean the first ones."""
    perm = _first_perm(call)
    if perm is None:
        return
    axes = call.attributes.get("axes")
    axes = range(len(call.attributes["starts"])) if axes is None else axes
    call.attributes["axes"] = [_stored_axis(int(a), perm) for a in axes]
    call.perms[0] = call.out_perms = perm


def gather(call: Call) -> None:
    """Gather: the axes of the indices take the place of one axis, wherever that is stored."""
    perm = None if call.values[0] is None else identity(call.values[0].perm)
    count = call.ranks[1]
    if perm is None or count is None or call.values[0].tensor is None:  # type: ignore[union-attr]
        return
    axis = int(call.attributes["axis"]) % len(perm)
    place = perm.index(axis)
    moved = [p if p < axis else p + count - 1 for p in perm]
    call.attributes["axis"] = place
    call.perms[0] = perm
    call.out_perms = (*moved[:place], *range(axis, axis + count), *moved[place + 1 :])


def regroup(sizes: Sequence[Any], wanted: Sequence[Any], perm: Perm) -> tuple[list[Any], Perm] | None:
    """Reshape a tensor without giving up the order it is stored in.

    A reshape joins and splits runs of axes. Where each run it joins is stored in one piece, the stored tensor can be
    reshaped as it is: ``(N, C, H, W)`` stored channels-last becomes ``(N, C, H*W)`` stored channels-last.

    Args:
        sizes: The logical sizes.
        wanted: The logical sizes wanted, without -1.
        perm: The storage order.

    Returns:
        The stored sizes wanted and their order; None if that cannot be told or is not so.
    """
    groups = _groups(sizes, wanted)
    if groups is None:
        return None
    pieces = []
    for ins, outs in groups:
        places = [perm.index(axis) for axis in ins]
        if places != list(range(places[0], places[0] + len(places))):
            return None
        pieces.append((places[0], outs))
    order = tuple(axis for _, outs in sorted(pieces) for axis in outs)
    return [wanted[axis] for axis in order], order


def _groups(sizes: Sequence[Any], wanted: Sequence[Any]) -> list[tuple[list[int], list[int]]] | None:
    """Runs of axes, before and after a reshape, that hold the same elements; None where symbols do not tell."""
    groups = []
    i = j = 0
    while i < len(sizes) and j < len(wanted):
        ins, outs, have, want = [i], [j], sizes[i], wanted[j]
        while have != want:
            if divide(want, have) is not None and ins[-1] + 1 < len(sizes):
                ins.append(ins[-1] + 1)
                have = have * sizes[ins[-1]]
            elif divide(have, want) is not None and outs[-1] + 1 < len(wanted):
                outs.append(outs[-1] + 1)
                want = want * wanted[outs[-1]]
            else:
                return None
        groups.append((ins, outs))
        i, j = ins[-1] + 1, outs[-1] + 1
    rest = [*sizes[i:], *wanted[j:]]
    if not groups or any(not isinstance(s, int) or s != 1 for s in rest):
        return None
    groups[-1][0].extend(range(i, len(sizes)))
    groups[-1][1].extend(range(j, len(wanted)))
    return groups
