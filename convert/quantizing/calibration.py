"""Calibration data: the user's own samples, checked before any work, a part of them held out to judge by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xport.arrays import load_array, load_named
from xport.convert.quantizing.request import Data
from xport.errors import InputsError
from xport.signature import Signature, TensorSpec, dtype_name, numpy_dtype
from xport.validate.inputs import batch_symbol

Tensors = dict[str, np.ndarray]

BATCH = 16
"""Rows that run together where the batch is dynamic; fewer in the last batch."""
HELD_OUT = 4
"""One row in so many judges the result instead of setting its ranges."""


@dataclass(frozen=True)
class Calibration:
    """Samples in batches that the model takes.

    Attributes:
        ranges: Those that set the ranges of the activations.
        held_out: Those that judge the result.
        rows: How many samples there are.
        shared: Whether there were too few to hold any out, so that the same ones do both.
        sha256: A hash over all of them.
    """

    ranges: list[Tensors] = field(repr=False)
    held_out: list[Tensors] = field(repr=False)
    rows: int = 0
    shared: bool = False
    sha256: str = ""


def load(data: Data | None, signature: Signature) -> Calibration:
    """Read calibration data and check it against a signature.

    Args:
        data: An ``.npz`` with one array an input, a folder of ``.npz`` files or of one ``.npy`` an input, or arrays
            by name. The first axis of an array counts samples.
        signature: What the model takes.

    Returns:
        The samples in batches.

    Raises:
        InputsError: If there are none, or naming the tensor that does not fit.
    """
    if data is None:
        raise InputsError("int8 needs calibration data: the ranges of activations are measured on it.", how(signature))
    parts = [{name: np.asarray(a) for name, a in data.items()}] if isinstance(data, Mapping) else _read(data, signature)
    batches: tuple[list[Tensors], list[Tensors]] = ([], [])
    digest, rows = hashlib.sha256(), 0
    checked = [_check(part, signature) for part in parts]
    total = sum(_count(part) for part in checked)
    for part in checked:
        for name, array in part.items():
            digest.update(f"{name}|{array.dtype}|{array.shape}|".encode() + np.ascontiguousarray(array).tobytes())
        places = np.arange(rows, rows + _count(part))
        rows += _count(part)
        held = places % HELD_OUT == HELD_OUT - 1
        for chosen, side in ((~held, batches[0]), (held, batches[1])):
            side.extend(_batches({name: array[chosen] for name, array in part.items()}, signature))
    shared = not batches[0] or not batches[1]
    every = [*batches[0], *batches[1]]
    if not every:
        raise InputsError("The calibration data holds no whole batch.", how(signature))
    ranges, held_out = (every, every) if shared else batches
    return Calibration(ranges, held_out, total, shared, digest.hexdigest())


def how(signature: Signature) -> str:
    """How to write calibration data for a model, with its inputs."""
    arrays = ", ".join(f"**{{{s.name!r}: …}}" if not s.name.isidentifier() else f"{s.name}=…" for s in signature.inputs)
    wanted = "; ".join(f"{s.name}: {s.dtype}[{', '.join(_sizes(s))}]" for s in signature.inputs)
    return (
        f"Take a hundred typical inputs or more, write them with numpy.savez('calibration.npz', {arrays}), and add "
        f"--calibration calibration.npz. Wanted, samples first: {wanted}."
    )


def _sizes(spec: TensorSpec) -> list[str]:
    return ["samples", *(str(d) for d in (spec.shape or ())[1:])]


def _read(path: str | Path, signature: Signature) -> list[Tensors]:
    where = Path(path)
    if not where.exists():
        raise InputsError(f"{where} does not exist.", how(signature))
    if not where.is_dir():
        return [load_named(where, how(signature))]
    if found := sorted(where.glob("*.npz")):
        return [load_named(file, how(signature)) for file in found]
    arrays = {file.stem: load_array(file, how(signature)) for file in sorted(where.glob("*.npy"))}
    if not arrays:
        raise InputsError(f"{where} holds no .npz and no .npy file.", how(signature))
    names = [spec.name for spec in signature.inputs]
    if len(names) == 1 and names[0] not in arrays:  # one input: every file holds samples of it
        return [{names[0]: array} for array in arrays.values()]
    return [arrays]


def _check(arrays: Tensors, signature: Signature) -> Tensors:
    """Arrays in the signature's order and dtypes, all with as many samples."""
    names = [spec.name for spec in signature.inputs]
    if unknown := [name for name in arrays if name not in names]:
        raise InputsError(f"The calibration data has {unknown[0]!r}, which is no input.", how(signature))
    if absent := [name for name in names if name not in arrays]:
        raise InputsError(f"The calibration data lacks the input {absent[0]!r}.", how(signature))
    checked = {spec.name: _fit(arrays[spec.name], spec, signature) for spec in signature.inputs}
    counts = {name: len(array) for name, array in checked.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise InputsError(f"The calibration data has unequal numbers of samples: {told}.", how(signature))
    return checked


def _fit(array: np.ndarray, spec: TensorSpec, signature: Signature) -> np.ndarray:
    wanted = numpy_dtype(spec.dtype)
    if array.dtype != wanted:
        found = dtype_name(array.dtype) if array.dtype.kind != "O" else "object"
        fix = f"Convert it: {spec.name}.astype('{spec.dtype}')."
        raise InputsError(f"Calibration input {spec.name!r} is {found}, expected {spec.dtype}.", fix)
    shape = spec.shape or ()
    whole = array.ndim == len(shape) + 1
    sizes, dims = array.shape[1:], shape if whole else shape[1:]
    if not array.ndim or len(sizes) != len(dims) or not _sizes_fit(sizes, dims):
        fits = f"[{', '.join(_sizes(spec))}]"
        raise InputsError(
            f"Calibration input {spec.name!r} has shape {list(array.shape)}, expected {fits}.", how(signature)
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputsError(f"Calibration input {spec.name!r} holds NaN or Inf.", "Leave such samples out.")
    return array


def _sizes_fit(sizes: Sequence[int], dims: Sequence[int | str]) -> bool:
    return all(isinstance(dim, str) or size == dim for size, dim in zip(sizes, dims, strict=True))


def _count(arrays: Tensors) -> int:
    return len(next(iter(arrays.values())))


def _batches(arrays: Tensors, signature: Signature) -> list[Tensors]:
    """Samples as the model takes them: rows of a batch, or whole inputs one after the other."""
    count = _count(arrays)
    first = signature.inputs[0]
    if arrays[first.name].ndim > len(first.shape or ()):
        return [{name: array[i] for name, array in arrays.items()} for i in range(count)]
    leading = (first.shape or (1,))[0]
    size = BATCH if leading == batch_symbol(signature) or isinstance(leading, str) else int(leading)
    last = count if isinstance(leading, str) else count - count % size
    return [{name: array[i : i + size] for name, array in arrays.items()} for i in range(0, last, size)]
