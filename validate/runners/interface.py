"""How a runtime's own view of the interface and the one that an artifact carries come together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from xport import proof
from xport.errors import XportWarning
from xport.formats import Format
from xport.signature import Dim, Signature, TensorSpec


def shape_from(name: str, sizes: Sequence[int | str | None]) -> tuple[Dim, ...]:
    """A shape out of what runtimes report, where None, -1 and "" are dynamic dimensions without a name.

    Args:
        name: The tensor's name; its dynamic dimensions without a name are called after it.
        sizes: What the runtime reports.

    Returns:
        The shape; no two dimensions without a name share a symbol, since nothing says that they are equal.
    """
    return tuple(
        f"{name}_dim{axis}" if size is None or size == "" or (isinstance(size, int) and size < 0) else size
        for axis, size in enumerate(sizes)
    )


def reconcile(runtime: Signature, path: Path, file_format: Format) -> Signature:
    """Take order and symbols from the artifact's own record, if it agrees with what the runtime reports.

    Args:
        runtime: The runtime's own view.
        path: The artifact.
        file_format: What it holds.

    Returns:
        The recorded signature where there is one that agrees, otherwise the runtime's view. A record that
        disagrees is a warning: the file was changed after it was made.

    Raises:
        UnreadableModelError: If the record is broken.
    """
    recorded = proof.read_signature(path, file_format)
    if recorded is None:
        return runtime
    difference = _difference(runtime.inputs, recorded.inputs) or _difference(
        runtime.outputs, recorded.outputs, outputs=True
    )
    if not difference:
        return recorded
    warnings.warn(
        XportWarning(f"{path} carries a signature that is not its own: {difference}. The model's is used."),
        stacklevel=2,
    )
    return runtime


def _difference(runtime: Sequence[TensorSpec], recorded: Sequence[TensorSpec], *, outputs: bool = False) -> str:
    """What keeps two views from being views of the same interface; empty if nothing does."""
    found = {spec.name: spec for spec in runtime}
    if set(found) != {spec.name for spec in recorded}:
        return f"it names {[s.name for s in recorded]}, the model has {list(found)}"
    for spec in recorded:
        other = found[spec.name]
        if other.dtype != spec.dtype or not _fits(other.shape, spec.shape, outputs=outputs):
            return f"it says {spec}, the model says {other}"
    return ""


def _fits(runtime: Sequence[Dim] | None, recorded: Sequence[Dim] | None, *, outputs: bool) -> bool:
    """Whether a recorded shape can be the runtime's: neither may contradict the other.

    A runtime may know less (``None``) or accept more (a symbol where the record has a number). An input
    that it has fixed where the record has a symbol is a contradiction; an output that it has worked out is
    not.
    """
    if runtime is None or recorded is None:
        return True
    if len(runtime) != len(recorded):
        return False
    return all(
        have == want or isinstance(have, str) or (outputs and isinstance(want, str))
        for have, want in zip(runtime, recorded, strict=True)
    )
