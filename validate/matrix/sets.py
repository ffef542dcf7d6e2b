"""The sets of inputs of a validation: seeded ones at every batch size, edge sets, or the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xport.arrays import load_array
from xport.errors import InputsError, UsageError
from xport.signature import Signature, TensorSpec
from xport.validate.inputs import EDGES, YOURS, Case, batch_symbol, cases, check_user_inputs, load_user_inputs, settings
from xport.validate.meaning import Bounds

DEFAULT_BATCHES = (1, 8)
"""The batch sizes of a validation that names none."""

NORMAL = "normal"

_REPEATS = 3
_LARGEST_SLICES = 4


@dataclass(frozen=True)
class InputSet:
    """One set of inputs.

    Attributes:
        case: The arrays, with a name.
        batch: The batch size it belongs to; None for a model without a batch dimension.
        kind: ``normal``, ``your inputs``, or one of `xport.validate.inputs.EDGES`.
    """

    case: Case
    batch: int | None
    kind: str = NORMAL

    @property
    def is_edge(self) -> bool:
        """Whether it is judged by itself, as an edge set."""
        return self.kind in EDGES


def batch_sizes(signature: Signature, asked: Sequence[int]) -> list[int | None]:
    """The batch sizes to validate at.

    Args:
        signature: What the reference takes.
        asked: The sizes that the user named; empty for the usual ones.

    Returns:
        The sizes; one None for a reference without a batch dimension.

    Raises:
        UsageError: If sizes were asked for that the reference does not have.
    """
    if batch_symbol(signature) is not None:
        if any(size < 1 for size in asked):
            raise UsageError(f"The batch sizes {list(asked)} are not all positive.", "Write --batch 1,8,32.")
        return list(dict.fromkeys(asked)) or list(DEFAULT_BATCHES)
    fixed = {spec.shape[0] for spec in signature.inputs if spec.shape}
    if asked and fixed != set(asked):
        listing = ", ".join(map(str, signature.inputs))
        raise UsageError(
            f"The reference has no dynamic batch dimension, so it cannot be run at batch {', '.join(map(str, asked))}; "
            f"its inputs are {listing}.",
            "Leave --batch out, or name a reference with a dynamic batch.",
        )
    return [None]


def ladders(
    signature: Signature, batches: Sequence[int | None], *, seed: int, bounds: Mapping[str, Bounds]
) -> list[list[InputSet]]:
    """Seeded sets at every batch size, with edge sets at the smallest.

    Args:
        signature: What the reference takes.
        batches: From `batch_sizes`.
        seed: The same seed draws the same bytes.
        bounds: Range of integer inputs by name.

    Returns:
        Lists of sets in order of preference; a later one has other sizes for the dimensions beside the batch, for
        references that refuse those of an earlier one.
    """
    symbol = batch_symbol(signature)
    found: list[list[InputSet]] = []
    for ladder in settings(signature):
        sets: list[InputSet] = []
        for batch in batches:
            sizes = [_at(setting, symbol, batch) for setting in ladder[:2]]
            distinct = [size for i, size in enumerate(sizes) if size not in sizes[:i]]
            repeats = _REPEATS if len(distinct) == 1 else 1
            drawn = cases(signature, seed=seed, sizes=distinct, bounds=bounds, repeats=repeats)
            sets += [InputSet(case, batch) for case in drawn]
        edge = _at(ladder[0], symbol, min((b for b in batches if b is not None), default=None))
        sets += _edges(signature, edge, edge.get(symbol) if symbol else None, seed, bounds)
        if not found or [s.case.sizes for s in sets] != [s.case.sizes for s in found[-1]]:
            found.append(sets)
    return found


def _at(setting: Mapping[str, int], symbol: str | None, batch: int | None) -> dict[str, int]:
    return {name: batch if name == symbol and batch is not None else size for name, size in setting.items()}


def _edges(
    signature: Signature, sizes: dict[str, int], batch: int | None, seed: int, bounds: Mapping[str, Bounds]
) -> list[InputSet]:
    """The edge sets that differ from each other; small integers have fewer edges than kinds."""
    sets: list[InputSet] = []
    seen: set[str] = set()
    for kind in EDGES:
        (case,) = cases(signature, seed=seed, sizes=[sizes], bounds=bounds, kinds=(kind,))
        if case.sha256 not in seen:
            sets.append(InputSet(case, batch, kind))
            seen.add(case.sha256)
    return sets


def user_sets(
    given: str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]], signature: Signature, asked: Sequence[int]
) -> list[InputSet]:
    """The user's own inputs as sets.

    Args:
        given: An ``.npz`` file, a folder of them, a folder with one ``.npy`` an input, or arrays by name.
        signature: What the reference takes.
        asked: Batch sizes to cut the inputs into; empty to take each as it is.

    Returns:
        The sets.

    Raises:
        InputsError: If the inputs cannot be read, do not fit, or have fewer rows than a batch size asks for.
    """
    whole = _read(given, signature)
    symbol = batch_symbol(signature)
    if asked and symbol is None:
        raise InputsError("The reference has no dynamic batch dimension to cut the inputs by.", "Leave --batch out.")
    sets: list[InputSet] = []
    for name, arrays in whole:
        sizes = signature.check(arrays)
        if not asked or symbol is None:
            sets.append(InputSet(Case(name, sizes, arrays), sizes.get(symbol) if symbol else None, YOURS))
            continue
        for batch in dict.fromkeys(asked):
            sets += _cut(name, arrays, signature, symbol, sizes[symbol], batch)
    return sets


def _read(
    given: str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]], signature: Signature
) -> list[tuple[str, dict[str, np.ndarray]]]:
    if isinstance(given, Mapping):
        return [(YOURS, check_user_inputs(given, signature))]
    if not isinstance(given, str | Path):
        return [(f"{YOURS} #{i + 1}", check_user_inputs(each, signature)) for i, each in enumerate(given)]
    path = Path(given)
    if not path.is_dir():
        return [(path.name, load_user_inputs(path, signature))]
    files = sorted(path.glob("*.npz"))
    if files:
        return [(file.name, load_user_inputs(file, signature)) for file in files]
    single = sorted(path.glob("*.npy"))
    if not single:
        raise InputsError(f"{path} holds neither .npz nor .npy files.", "Save inputs with numpy.savez, one file a set.")
    arrays = {file.stem: load_array(file, "Save each input with numpy.save.") for file in single}
    return [(path.name, check_user_inputs(arrays, signature))]


def _cut(
    name: str, arrays: Mapping[str, np.ndarray], signature: Signature, symbol: str, rows: int, batch: int
) -> list[InputSet]:
    """The first slices of ``batch`` rows."""
    if rows < batch:
        raise InputsError(
            f"{name} has {rows} rows, fewer than the batch of {batch}.", f"Give more rows, or --batch {rows}."
        )
    sets = []
    for place in range(min(rows // batch, _LARGEST_SLICES)):
        cut = {spec.name: _rows(arrays[spec.name], spec, symbol, place * batch, batch) for spec in signature.inputs}
        label = f"{name} rows {place * batch} to {(place + 1) * batch - 1}"
        sets.append(InputSet(Case(label, signature.check(cut), cut), batch, YOURS))
    return sets


def _rows(array: np.ndarray, spec: TensorSpec, symbol: str, start: int, count: int) -> np.ndarray:
    for axis, dim in enumerate(spec.shape or ()):
        if dim == symbol:
            array = array.take(range(start, start + count), axis=axis)
    return array


def digest(sets: Sequence[InputSet]) -> str:
    """A hash over the bytes of all sets."""
    return hashlib.sha256("".join(each.case.sha256 for each in sets).encode()).hexdigest()
