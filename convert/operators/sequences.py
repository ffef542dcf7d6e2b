"""Sequences and optionals: lists that exist while converting; only the tensors in them reach the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering.host import sizes_of
from xport.convert.lowering.interpreter import Context
from xport.convert.lowering.registry import RawValue, Tensor, op, refuse
from xport.convert.lowering.values import Value


def elements(value: Value) -> list[Value]:
    """A sequence's members.

    Raises:
        UnsupportedError: If the value is no sequence.
    """
    if value.sequence is None:
        raise refuse(f"value {value.name!r}", "a sequence is expected")
    return value.sequence


def _known_place(xp: Any, context: Context, value: Value) -> int:
    known = value.static()
    if known is None:
        known = xp.value_now(context.tensor(value))
    if known is None:
        raise refuse("a position in a sequence", "it must be known while converting")
    return int(known.reshape(())[()])


def _position(xp: Any, context: Context, value: Value | None, size: int, default: int) -> int:
    """A place in a sequence, negative ones from the end."""
    place = default if value is None else _known_place(xp, context, value)
    if not -size <= place < size:
        raise refuse(f"position {place}", f"the sequence has {size} places")
    return place % size


@op("SequenceConstruct")
def sequence_construct(xp: Any, *inputs: RawValue) -> Any:
    """A sequence of the inputs."""
    return list(inputs)


@op("SequenceEmpty")
def sequence_empty(xp: Any, *, dtype: int = 1) -> Any:
    """A sequence of nothing."""
    return []


@op("SequenceAt")
def sequence_at(xp: Any, sequence: RawValue, position: RawValue, *, context: Context) -> Any:
    """One member; a position found at run time needs members of one shape."""
    members = elements(sequence)
    if position.static() is None and xp.value_now(context.tensor(position)) is None:
        return _chosen_at_run_time(xp, context, members, position)
    return members[_position(xp, context, position, len(members), 0)]


def _chosen_at_run_time(xp: Any, context: Context, members: list[Value], position: Value) -> Any:
    shapes = [sizes_of(m, xp) for m in members]
    if not shapes or any(s != shapes[0] or s is None for s in shapes):
        raise refuse("a position in a sequence", "it must be known while converting, as the members' shapes differ")
    tensors = [context.tensor(m) for m in members]
    stacked = xp.concat([xp.reshape(t, [1, *xp.shape(t)]) for t in tensors], 0)
    return xp.gather(stacked, xp.reshape(context.tensor(position), []), 0)


@op("SequenceInsert")
def sequence_insert(
    xp: Any, sequence: RawValue, tensor: RawValue, position: RawValue | None = None, *, context: Context
) -> Any:
    """A copy with one more member, by default at the end."""
    members = list(elements(sequence))
    count = len(members)
    # One place more than there are members; negative ones count from the end before the insertion.
    place = count if position is None else _known_place(xp, context, position)
    if not -count <= place <= count:
        raise refuse(f"position {place}", f"the sequence has {count} members")
    members.insert(place, tensor)
    return members


@op("SequenceErase")
def sequence_erase(xp: Any, sequence: RawValue, position: RawValue | None = None, *, context: Context) -> Any:
    """A copy without one member, by default the last."""
    members = list(elements(sequence))
    del members[_position(xp, context, position, len(members), len(members) - 1)]
    return members


@op("SequenceLength")
def sequence_length(xp: Any, sequence: RawValue) -> Any:
    """The number of members."""
    return np.asarray(len(elements(sequence)), dtype=np.int64)


@op("SplitToSequence")
def split_to_sequence(
    xp: Any, x: Tensor, split: RawValue | None = None, *, axis: int = 0, keepdims: int = 1, context: Context
) -> Any:
    """Parts along an axis: of one size, of given sizes, or single slices, whose axis ``keepdims=0`` removes."""
    axis %= xp.rank(x)
    sizes = xp.shape(x)
    size = sizes[axis]
    if not isinstance(size, int):
        raise refuse("SplitToSequence along an axis of unknown size", "the number of parts must be known")
    if split is None:
        parts = [1] * size
    else:
        known = split.static()
        known = xp.value_now(context.tensor(split)) if known is None else known
        if known is None:
            raise refuse("input split", "the parts' sizes must be known while converting")
        parts = [int(n) for n in known.reshape(-1)]
        if known.ndim == 0:
            step = parts[0]
            parts = [min(step, size - i) for i in range(0, size, step)]
    pieces = xp.split(x, parts, axis) if parts else []
    if split is None and not keepdims:
        pieces = [xp.reshape(p, [*sizes[:axis], *sizes[axis + 1 :]]) for p in pieces]
    return [Value(tensor=p) for p in pieces]


@op("ConcatFromSequence")
def concat_from_sequence(xp: Any, sequence: RawValue, *, axis: int, new_axis: int = 0, context: Context) -> Any:
    """Join the members along an axis, a new one if ``new_axis``."""
    tensors = [context.tensor(v) for v in elements(sequence)]
    if not tensors:
        raise refuse("an empty sequence", "its join has no type")
    rank = xp.rank(tensors[0]) + (1 if new_axis else 0)
    axis %= rank
    if new_axis:
        tensors = [_lifted(xp, t, axis) for t in tensors]
    return xp.concat(tensors, axis) if len(tensors) > 1 else tensors[0]


def _lifted(xp: Any, tensor: Any, axis: int) -> Any:
    sizes = xp.shape(tensor)
    return xp.reshape(tensor, [*sizes[:axis], 1, *sizes[axis:]])


@op("SequenceMap")
def sequence_map(xp: Any, sequence: RawValue, *others: RawValue, body: ir.Graph, context: Context) -> Any:
    """Apply a graph to each member, together with the members of other sequences or with whole tensors."""
    count = len(elements(sequence))
    rows = []
    for i in range(count):
        inputs = [v if v.sequence is None else elements(v)[i] for v in (sequence, *others)]
        rows.append(context.run(body, inputs))
    return tuple(list(column) for column in zip(*rows, strict=True)) if rows else tuple([] for _ in body.outputs)


@op("Optional")
def optional(xp: Any, value: RawValue | None = None, *, type: Any = None) -> Any:
    """A value that may be missing; one that is there stands for itself."""
    return Value() if value is None else value


def present(value: Value | None) -> bool:
    """Whether an optional holds something."""
    if value is None:
        return False
    forms = (value.const, value.vector, value.tensor, value.sequence, value.flattened)
    return any(form is not None for form in forms)


@op("OptionalHasElement", since=15)
def optional_has_element(xp: Any, value: RawValue | None = None) -> Any:
    """Whether an optional holds something."""
    return np.asarray(present(value))


@op("OptionalGetElement", since=15)
def optional_get_element(xp: Any, value: RawValue) -> Any:
    """What an optional holds."""
    if not present(value):
        raise refuse(f"optional {value.name!r}", "it is empty")
    return value
