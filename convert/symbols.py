"""Names for sizes that may vary, in formats that say only that they do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from xport.signature import Dim, Signature, TensorSpec

BATCH = "batch"
"""What the leading size is called where it may vary."""


def with_batch(signature: Signature) -> Signature:
    """Let all inputs and outputs whose leading size may vary share the symbol ``batch``.

    Args:
        signature: An interface whose dynamic sizes have a name each, ``<tensor>_dim<axis>``.

    Returns:
        The same with shared leading sizes.
    """
    return Signature(tuple(map(_leading, signature.inputs)), tuple(map(_leading, signature.outputs)))


def _leading(spec: TensorSpec) -> TensorSpec:
    if not spec.shape or spec.shape[0] != f"{spec.name}_dim0":
        return spec
    shape: tuple[Dim, ...] = (BATCH, *spec.shape[1:])
    return replace(spec, shape=shape)


def named_after(signature: Signature, wanted: Iterable[TensorSpec]) -> Signature:
    """Give sizes that may vary the symbols that somebody knows; sizes that are fixed stay as they are.

    Args:
        signature: An interface whose symbols are guessed.
        wanted: Inputs whose symbols are known, some or all.

    Returns:
        The same interface, whose inputs share the sizes that they really share.
    """
    known = {spec.name: spec.shape for spec in wanted}

    def named(spec: TensorSpec) -> TensorSpec:
        shape = known.get(spec.name)
        if shape is None or spec.shape is None or len(shape) != len(spec.shape):
            return spec
        pairs = zip(spec.shape, shape, strict=True)
        return replace(spec, shape=tuple(b if isinstance(a, str) and isinstance(b, str) else a for a, b in pairs))

    return replace(signature, inputs=tuple(map(named, signature.inputs)))
