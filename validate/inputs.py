"""Identical inputs for every runtime: seeded, aware of what integers mean, at several sizes.

A case is drawn once and its bytes go to every runtime, so that a difference of outputs is never a difference
of inputs. Integers follow the meaning that `xport.validate.meaning` found for them in the graph; masks have
something to look at in every row; lengths fit the sequence they measure.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xport.arrays import load_named
from xport.errors import InputsError
from xport.signature import Signature, TensorSpec, numpy_dtype
from xport.validate.meaning import Bounds, integer_bounds

__all__ = ["EDGES", "Case", "batch_symbol", "cases", "integer_bounds", "load_user_inputs", "settings"]

Sizes = dict[str, int]
"""A size for every symbol of a signature."""

EDGES = ("zeros", "ones", "large", "tiny", "repeated")
"""The edge sets that `cases` can draw beside ``normal``."""

_SCALES = {"large": 1e3, "tiny": 1e-6}
_MASK = re.compile(r"mask", re.IGNORECASE)
_LENGTHS = re.compile(r"(^|_)(len|lens|length|lengths)($|_|\d)", re.IGNORECASE)
YOURS = "your inputs"
"""What inputs that the user gave are called."""
_BATCH_SIZES = (2, 3, 1)
LARGEST_INPUT = 1 << 32
"""Bytes that one drawn input may take."""
_MOST_AXES = 64  # numpy's own limit
# Sizes of other symbols, most telling first; models that refuse one setting (a position table of 8 rows, a
# U-Net that halves four times) accept a later one.
_LENGTH_SIZES = ((12, 7, 9), (4, 6, 5), (16, 32, 48), (64, 128, 96))
_SPATIAL_SIZES = ((32, 48, 40), (64, 96, 128), (224, 256, 192), (16, 8, 12))


@dataclass(frozen=True)
class Case:
    """One set of inputs.

    Attributes:
        name: What a report calls it, for example ``batch=2``.
        sizes: The size of every symbol.
        inputs: Arrays by input name.
    """

    name: str
    sizes: Sizes
    inputs: dict[str, np.ndarray] = field(repr=False)

    @property
    def sha256(self) -> str:
        """A hash over names, dtypes, shapes and bytes of the inputs."""
        digest = hashlib.sha256()
        for name, array in sorted(self.inputs.items()):
            digest.update(f"{name}|{array.dtype}|{array.shape}|".encode())
            is_object = array.dtype.kind == "O"
            digest.update(repr(array.tolist()).encode() if is_object else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def settings(signature: Signature) -> list[list[Sizes]]:
    """Sizes to try for the symbols of a signature.

    Args:
        signature: What the model takes.

    Returns:
        Ladders in order of preference. A ladder is a list of settings, each with another size for every
        symbol; the last has a batch of one. The next ladder is for models that refuse the sizes of this one.
        A signature without symbols has one ladder of one empty setting.
    """
    if not signature.symbols:
        return [[{}]]
    batch = batch_symbol(signature)
    spatial = _spatial_symbols(signature)
    ladders: list[list[Sizes]] = []
    # Symbols of different sizes tell more, but some models want two of them equal.
    for rung, apart in ((0, True), (0, False), (1, True), (1, False), (2, False), (3, False)):
        ladder: list[Sizes] = []
        for turn, batch_size in enumerate(_BATCH_SIZES):
            sizes: Sizes = {}
            for place, symbol in enumerate(s for s in signature.symbols if s != batch):
                step = place if apart else 0
                spaces, lengths = _SPATIAL_SIZES[rung], _LENGTH_SIZES[rung]
                sizes[symbol] = spaces[(turn + step) % 3] if symbol in spatial else lengths[turn] + step
            ladder.append({s: batch_size if s == batch else sizes[s] for s in signature.symbols})
        if ladder not in ladders:
            ladders.append(ladder)
    return ladders


def batch_symbol(signature: Signature) -> str | None:
    """The symbol of the batch: one that is called so, otherwise the one that leads most inputs.

    Args:
        signature: What the model takes.

    Returns:
        Its name; None if no input leads with a symbol.
    """
    for symbol in signature.symbols:
        if "batch" in symbol.lower():
            return symbol
    leading = [s.shape[0] for s in signature.inputs if s.shape and isinstance(s.shape[0], str)]
    return max(leading, key=leading.count) if leading else None


def _spatial_symbols(signature: Signature) -> set[str]:
    """Symbols of images and volumes: after the first axis of a tensor of rank four or more."""
    images = [s for s in signature.inputs if s.shape and len(s.shape) >= 4]
    return {d for spec in images for d in (spec.shape or ())[1:] if isinstance(d, str)}


def cases(
    signature: Signature,
    *,
    seed: int = 0,
    sizes: Sequence[Sizes] | None = None,
    bounds: Mapping[str, Bounds] | None = None,
    kinds: Sequence[str] = ("normal",),
    repeats: int = 1,
) -> list[Case]:
    """Draw inputs for a model.

    Args:
        signature: What the model takes.
        seed: The same seed draws the same bytes.
        sizes: Settings of the symbols; by default the first ladder of `settings`.
        bounds: Range by input name, low inclusive and high exclusive, from `integer_bounds`.
        kinds: ``normal`` and any of `EDGES`.
        repeats: Draws of every kind at every setting.

    Returns:
        One case a setting, kind and repeat.

    Raises:
        InputsError: If the rank of an input is unknown or a symbol has no size.
    """
    chosen = settings(signature)[0] if sizes is None else sizes
    drawn: list[Case] = []
    for setting in chosen:
        for kind in kinds:
            for _ in range(repeats):
                inputs = _draw(signature, setting, bounds or {}, kind, (seed, len(drawn)))
                drawn.append(Case(_case_name(setting, kind, drawn), dict(setting), inputs))
    return drawn


def _case_name(setting: Sizes, kind: str, earlier: Sequence[Case]) -> str:
    parts = [f"{symbol}={size}" for symbol, size in setting.items()]
    if kind != "normal" or not parts:
        parts.append(kind)
    name = " ".join(parts)
    taken = sum(c.name.partition(" #")[0] == name for c in earlier)
    return f"{name} #{taken + 1}" if taken else name


def _draw(
    signature: Signature, setting: Sizes, bounds: Mapping[str, Bounds], kind: str, seed: tuple[int, int]
) -> dict[str, np.ndarray]:
    inputs: dict[str, np.ndarray] = {}
    for spec in signature.inputs:
        # The name is part of the seed: an input keeps its bytes whatever its neighbours are.
        rng = np.random.default_rng([*seed, zlib.crc32(spec.name.encode())])
        shape = _possible(spec, spec.bind(setting))
        if is_lengths(spec):
            inputs[spec.name] = _lengths(rng, spec, shape, sequence_size(signature.inputs, spec, setting))
        else:
            inputs[spec.name] = _values(rng, spec, shape, bounds.get(spec.name), kind)
    return inputs


def _possible(spec: TensorSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) > _MOST_AXES or any(size < 0 for size in shape):
        raise InputsError(f"{spec} is no shape that a tensor can have.", "Export the model again.")
    size = math.prod(shape) * numpy_dtype(spec.dtype).itemsize
    if size > LARGEST_INPUT:
        raise InputsError(
            f"Input {spec} takes {size / 1e9:.1f} GB, too much to draw it.",
            "Make large sizes dynamic by giving them a name, for example --input 'x:float32[batch,length]'.",
        )
    return shape


def _values(
    rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...], bound: Bounds | None, kind: str
) -> np.ndarray:
    """Values for one input that is no vector of lengths."""
    dtype = numpy_dtype(spec.dtype)
    if spec.dtype == "string":
        words = np.array([b"", b"a", b"xport", "Größe".encode()], dtype=object)
        return np.asarray(words[rng.integers(0, len(words), shape)], dtype=object).reshape(shape)
    if spec.dtype == "bool":
        return _mask(rng, shape, both=True, kind=kind).astype(bool)
    if _is_integer(spec):
        low, high = bound or _default_bounds(spec)
        if bound is None and (low, high) == (0, 2) and len(shape) >= 2:
            return _mask(rng, shape, both=False, kind=kind).astype(dtype)
        return _integers(rng, shape, low, high, kind).astype(dtype)
    if _MASK.search(spec.name):
        return _mask(rng, shape, both=False, kind=kind).astype(dtype)
    values = _floats(rng, shape, kind)
    if spec.dtype.startswith("complex"):
        return (values + 1j * _floats(rng, shape, kind)).astype(dtype)
    return values.astype(dtype)


def _is_integer(spec: TensorSpec) -> bool:
    return "int" in spec.dtype


def _default_bounds(spec: TensorSpec) -> Bounds:
    """Images of bytes use their whole range; anything else picks the first two rows of a table."""
    if spec.dtype == "uint8" and spec.shape is not None and len(spec.shape) >= 3:
        return 0, 256
    return 0, 2


def _floats(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    if kind in ("zeros", "ones"):
        return np.full(shape, float(kind == "ones"))
    if kind == "repeated":
        return np.full(shape, rng.standard_normal())
    return np.asarray(rng.standard_normal(shape)) * _SCALES.get(kind, 1.0)


def _integers(rng: np.random.Generator, shape: tuple[int, ...], low: int, high: int, kind: str) -> np.ndarray:
    fixed = {"zeros": low, "tiny": low, "ones": min(low + 1, high - 1), "large": high - 1}
    if kind in fixed:
        return np.full(shape, fixed[kind])
    if kind == "repeated":
        return np.full(shape, rng.integers(low, high))
    return np.asarray(rng.integers(low, high, shape))


def _mask(rng: np.random.Generator, shape: tuple[int, ...], *, both: bool, kind: str) -> np.ndarray:
    """Zeros and ones with a one first in every row, and a zero last where ``both`` is asked for.

    A row that hides everything makes attention divide zero by zero; bool masks may mean either by True.
    """
    values = _integers(rng, shape, 0, 2, kind)
    if values.ndim and values.shape[-1] > 1 and values.size:
        if both:
            values[..., -1] = 0
        values[..., 0] = 1
    elif not both and kind != "zeros":
        values = np.ones_like(values)
    return values


def is_lengths(spec: TensorSpec) -> bool:
    """Whether an input says by its name that it holds the lengths of sequences."""
    return _is_integer(spec) and len(spec.shape or ()) == 1 and bool(_LENGTHS.search(spec.name))


def sequence_size(inputs: Sequence[TensorSpec], lengths: TensorSpec, setting: Sizes) -> int:
    """The size of the axis that ``lengths`` measures.

    Args:
        inputs: All inputs of the model.
        lengths: The one that holds lengths.
        setting: Size by symbol.

    Returns:
        The smallest size of axis 1 among inputs with the same leading dimension, of axis 0 where that is axis 1; 1
        if there is none.
    """
    batch = (lengths.shape or (None,))[0]
    batches_first = [s for s in inputs if s.shape is not None and len(s.shape) >= 2 and s.shape[0] == batch]
    batches_second = [s for s in inputs if s.shape is not None and len(s.shape) >= 3 and s.shape[1] == batch]
    sizes = [spec.bind(setting)[1] for spec in batches_first] or [spec.bind(setting)[0] for spec in batches_second]
    return min(sizes, default=1)


def _lengths(rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...], longest: int) -> np.ndarray:
    """Lengths from one to the whole sequence, longest first: packed sequences want them sorted."""
    drawn = np.sort(rng.integers(1, longest + 1, shape))[::-1].copy()
    drawn[:1] = longest
    return drawn.astype(numpy_dtype(spec.dtype))


def load_user_inputs(path: Path, signature: Signature) -> dict[str, np.ndarray]:
    """Read a user's own inputs.

    Args:
        path: An ``.npz`` file with one array an input.
        signature: What the model takes.

    Returns:
        Arrays by input name, in the signature's order.

    Raises:
        InputsError: If the file cannot be read, holds pickled objects, or does not fit the signature.
    """
    return check_user_inputs(read_npz(path, signature), signature)


def read_npz(path: Path, signature: Signature | None = None) -> dict[str, np.ndarray]:
    """Read arrays by name.

    Args:
        path: An ``.npz`` file.
        signature: Whose inputs they should be, for the message.

    Returns:
        The arrays.

    Raises:
        InputsError: If the file cannot be read or holds pickled objects.
    """
    names = ", ".join(f"{s.name}=…" for s in signature.inputs) if signature else "x=…"
    return load_named(path, f"Write it with numpy.savez('inputs.npz', {names}).")


def check_user_inputs(arrays: Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    """Check a user's own arrays against a signature.

    Args:
        arrays: Arrays by input name.
        signature: What the model takes.

    Returns:
        The arrays in the signature's order; text becomes arrays of objects.

    Raises:
        InputsError: Naming the first tensor that is missing, unexpected, or does not fit.
    """
    found = {name: np.asarray(array) for name, array in arrays.items()}
    signature.check(found)
    return {
        spec.name: found[spec.name].astype(object) if spec.dtype == "string" else found[spec.name]
        for spec in signature.inputs
    }
