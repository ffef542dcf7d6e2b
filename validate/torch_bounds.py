"""What the integers that a PyTorch model takes mean, found by watching it look things up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from xport.convert.source import Source
from xport.convert.torch_loading import load_module
from xport.convert.torch_probe import probe_inputs, run
from xport.signature import Signature
from xport.validate.inputs import Sizes, is_lengths, settings
from xport.validate.meaning import Bounds

_ROW_LIMIT = 2**31


@dataclass(frozen=True)
class _Lookup:
    """One use of indices: the operator, the indices, how many things there are to pick from."""

    operator: str
    indices: torch.Tensor
    size: int


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every lookup."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lookups: list[_Lookup] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Record a lookup and run the operator."""
        name = func._schema.name
        for indices, size in _indices(name, args):
            if indices.dtype in (torch.int32, torch.int64):
                self.lookups.append(_Lookup(name, indices.detach().clone(), size))
        return func(*args, **(kwargs or {}))


def _indices(name: str, args: tuple[Any, ...]) -> Iterator[tuple[torch.Tensor, int]]:
    """The index tensors of an operator, each with the size of what it indexes."""
    if name in ("aten::embedding", "aten::embedding_bag", "aten::_embedding_bag"):
        yield args[1], args[0].shape[0]
    elif name in ("aten::index_select", "aten::gather") and args[0].dim():
        yield args[2], args[0].shape[args[1]]
    elif name == "aten::index":
        for axis, indices in enumerate(args[1]):
            if isinstance(indices, torch.Tensor):
                yield indices, args[0].shape[axis]


def table_bounds(source: Source, signature: Signature) -> dict[str, Bounds]:
    """Find the range in which each integer input of a PyTorch model has a meaning.

    The model runs with all integers zero, then with one input all ones: an index that moves by one is that
    input, plus what it was before.

    Args:
        source: A source of the PyTorch family.
        signature: Its inputs and outputs.

    Returns:
        Range by input name, low inclusive and high exclusive, for the inputs that look something up.

    Raises:
        XportError: If the model cannot be loaded.
    """
    names = [s.name for s in signature.inputs if s.dtype in ("int32", "int64")]
    if not names:
        return {}
    module = load_module(source)
    for ladder in settings(signature):
        still = _lookups(module, signature, ladder[0], "")
        if still is not None:
            moved = {name: _lookups(module, signature, ladder[0], name) for name in names}
            return {name: bound for name in names for bound in _bounds(still, moved[name])}
    return {}


def _lookups(module: nn.Module, signature: Signature, sizes: Sizes, ones: str) -> list[_Lookup] | None:
    """The lookups of a run where the integers of one input are ones, all others but lengths zeros; None if it fails."""
    inputs = probe_inputs(signature.inputs, sizes)
    for spec in signature.inputs:
        if spec.dtype in ("int32", "int64") and not is_lengths(spec):
            inputs[spec.name] = torch.full_like(inputs[spec.name], int(spec.name == ones))
    watch = _Watch()
    try:
        with watch:
            run(module, inputs)
    except Exception:  # a model's code may raise anything; the caller tries other sizes
        return None
    return watch.lookups


def _bounds(still: list[_Lookup], moved: list[_Lookup] | None) -> list[Bounds]:
    """The tightest range of one input; empty if no lookup follows it."""
    ranges: list[Bounds] = []
    for before, after in zip(still, moved or [], strict=False):
        if before.operator != after.operator or before.indices.shape != after.indices.shape:
            break
        step = after.indices - before.indices
        if step.numel() and bool((step == 1).any()) and bool(((step == 0) | (step == 1)).all()):
            offset = int(before.indices[step == 1].max())
            if before.size < _ROW_LIMIT:
                ranges.append((max(0, -int(before.indices[step == 1].min())), before.size - offset))
    if not ranges:
        return []
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    return [(low, max(high, low + 1))]
