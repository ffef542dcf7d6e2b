"""What the inspectors of the formats hand back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xport.signature import Signature

_WEIGHT_KINDS = ("float", "bfloat", "complex")
_WEIGHT_DTYPES = ("int8", "uint8", "int4", "uint4", "int2", "uint2")


@dataclass(frozen=True)
class Findings:
    """What one inspector found; see `xport.inspection.Inspection`.

    Attributes:
        signature: Inputs and outputs, if the file tells.
        parameters: How many numbers the weights have.
        operators: How often each operator occurs.
        opsets: Version by operator domain.
        details: What only this format knows.
        notes: What could not be found out.
        files: Files beside the model that belong to it.
    """

    signature: Signature | None = None
    parameters: int | None = None
    operators: dict[str, int] = field(default_factory=dict)
    opsets: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def is_weight(dtype: str, shape: Sequence[int]) -> bool:
    """Whether a stored tensor counts as weights, in every format alike.

    Floating point and integers of up to eight bits do, if they have at least one dimension; wider integers
    are shapes and indices, and scalars are constants of the computation.

    Args:
        dtype: The signature's dtype name.
        shape: The tensor's sizes.
    """
    return len(shape) > 0 and (dtype.startswith(_WEIGHT_KINDS) or dtype in _WEIGHT_DTYPES)
