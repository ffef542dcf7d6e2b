"""Names for sizes that may vary, in formats that say only that they do."""

from __future__ import annotations

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
