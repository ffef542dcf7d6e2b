"""Reference architectures, written from `torch.nn` alone, seeded, in a `small` and a `real` size.

`names()` lists them, `build(name)` gives one with its inputs and outputs described, and each is also a plain
factory, `xport.models.resnet50()` or `--arch xport.models.resnet:resnet50`, that returns the bare module.
Importing this package does not import torch: an architecture's module is loaded on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xport.models.spec import InputSpec, Size, ZooModel
from xport.models.table import FACTORIES, load_factory, names

__all__ = ["InputSpec", "Size", "ZooModel", "build", "names"]


def build(name: str, *, size: Size = "small", seed: int = 0) -> ZooModel:
    """Build a reference model with seeded weights and normalisation statistics, in eval mode.

    Args:
        name: One of `names()`.
        size: `small` (fast on a CPU, same structure) or `real` (the published widths).
        seed: The weights depend on this and on nothing else; the global random state is left alone.

    Returns:
        The module with the description of its inputs and outputs.

    Raises:
        UsageError: The name or the size is not known.
    """
    factory = load_factory(name)
    from xport.models.seeding import seeded  # imports torch

    module = seeded(lambda: factory(size=size), seed)
    return ZooModel(name=name, size=size, module=module, inputs=module.inputs, outputs=module.outputs)


def __getattr__(name: str) -> Callable[..., Any]:
    if name in FACTORIES:
        return load_factory(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *FACTORIES})
