"""Running a module at chosen sizes of its dynamic dimensions, with inputs that are safe for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from xport.convert.torch_values import to_tensor, torch_dtype
from xport.signature import TensorSpec, python_names
from xport.validate.inputs import is_lengths, sequence_size

# Pairs of sizes, one pair a symbol. Within a row no two symbols share a pair, and no small sum, product, half or
# difference of some of them is a pair of the row, so that an output's size names its symbol.
_SMALL = ((2, 3), (7, 5), (11, 17), (13, 19), (23, 29), (31, 37), (41, 43))
_MIDDLE = ((2, 3), (32, 64), (96, 32), (64, 160), (128, 96), (160, 224), (224, 128))
_LARGE = ((2, 3), (224, 256), (288, 224), (256, 320), (320, 352), (352, 288), (384, 416))
_TINY = ((2, 3), (3, 2), (4, 6), (5, 4), (6, 5), (7, 8), (8, 7))

Sizes = dict[str, int]


def settings(
    symbols: Sequence[str],
    *,
    preferred: Mapping[str, int] | None = None,
    ranges: Mapping[str, tuple[int, int]] | None = None,
) -> Iterator[tuple[Sizes, Sizes]]:
    """Pairs of settings to try, both members of a pair different in every symbol.

    Symbols of different sizes tell more and come first; some models want those of two inputs equal, such as a text's
    and its mask's: then all are, but for the first, which is mostly the batch's, or that too.

    Args:
        symbols: Names of the dynamic dimensions.
        preferred: Sizes that the model is known to take.
        ranges: Smallest and largest size by symbol, where the source records them.

    Yields:
        Two assignments of sizes to symbols.
    """
    known = preferred or {}
    if all(symbol in known for symbol in symbols):
        base = {symbol: known[symbol] for symbol in symbols}
        yield base, {s: n + 1 if i == 0 else 2 * n for i, (s, n) in enumerate(base.items())}
        yield base, {s: n + 1 + i for i, (s, n) in enumerate(base.items())}
    for pairs in _rows(len(symbols)):
        first = {symbol: pair[0] for symbol, pair in zip(symbols, pairs, strict=True)}
        second = {symbol: pair[1] for symbol, pair in zip(symbols, pairs, strict=True)}
        if _within(first, ranges) and _within(second, ranges):
            yield first, second


def _rows(count: int) -> Iterator[list[tuple[int, int]]]:
    """A pair of sizes for each of some symbols."""
    for row in (_SMALL, _MIDDLE, _LARGE, _TINY):
        yield [row[i] if i < len(row) else (47 + 4 * i, 53 + 6 * i) for i in range(count)]
    if count > 1:
        for row in (_SMALL, _MIDDLE, _TINY) if count > 2 else ():
            yield [row[0], *[row[1]] * (count - 1)]
        yield [_SMALL[1]] * count


def _within(sizes: Sizes, ranges: Mapping[str, tuple[int, int]] | None) -> bool:
    limits = ranges or {}
    return all(limits[s][0] <= n <= limits[s][1] for s, n in sizes.items() if s in limits)


def probe_inputs(
    specs: Sequence[TensorSpec],
    sizes: Mapping[str, int],
    *,
    examples: Mapping[str, Any] | None = None,
    blank: bool = False,
) -> dict[str, torch.Tensor]:
    """Inputs at given sizes that no model should refuse.

    Integers alternate between 1 and 0, which every table that they may index has; lengths are as long as the sequence;
    floating point is standard normal; flags are true. Where there is an example, its values are repeated instead.

    Args:
        specs: The inputs.
        sizes: Size by symbol.
        examples: Arrays or tensors by name.
        blank: Other values in the same shapes: zeros for random numbers, integers the other way round, lengths of 1.

    Returns:
        Tensors by name.
    """
    generator = torch.Generator().manual_seed(0)
    given = examples or {}
    return {
        spec.name: _stretch(to_tensor(given[spec.name]), spec.bind(sizes), blank)
        if spec.name in given
        else _lengths(spec, specs, sizes, blank)
        if is_lengths(spec)
        else _draw(spec, spec.bind(sizes), generator, blank)
        for spec in specs
    }


def _lengths(spec: TensorSpec, specs: Sequence[TensorSpec], sizes: Mapping[str, int], blank: bool) -> torch.Tensor:
    longest = 1 if blank else sequence_size(specs, spec, dict(sizes))
    return torch.full(spec.bind(sizes), longest, dtype=torch_dtype(spec.dtype))


def _draw(spec: TensorSpec, shape: tuple[int, ...], generator: torch.Generator, blank: bool) -> torch.Tensor:
    dtype = torch_dtype(spec.dtype)
    if dtype is torch.bool:
        return torch.ones(shape, dtype=dtype)
    if not dtype.is_floating_point and not dtype.is_complex:
        count = int(torch.Size(shape).numel())
        return ((torch.arange(count) + (not blank)) % 2).reshape(shape).to(dtype)
    kind = torch.complex64 if dtype.is_complex else torch.float32
    values = torch.randn(shape, generator=generator, dtype=kind).to(dtype)
    return torch.zeros_like(values) if blank else values


def _stretch(example: torch.Tensor, shape: tuple[int, ...], blank: bool) -> torch.Tensor:
    """The example's values, repeated or cut to a shape of the same rank."""
    for axis, size in enumerate(shape):
        if example.shape[axis] != size:
            example = example.index_select(axis, torch.arange(size) % max(example.shape[axis], 1))
    return torch.zeros_like(example) if blank and example.is_floating_point() else example


def run(module: nn.Module, inputs: Mapping[str, torch.Tensor]) -> Any:
    """Call a module by name, without gradients and without its warnings."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module(**dict(zip(python_names(list(inputs)), inputs.values(), strict=True)))
