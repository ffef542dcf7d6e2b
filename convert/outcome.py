"""What comes out of a conversion before it is moved into place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xport.convert.expectation import Expectation
from xport.convert.gate import GateResult


@dataclass(frozen=True)
class Outcome:
    """A result, proven.

    Attributes:
        formats: The formats along the way.
        result: The file or folder, in the staging folder.
        found: What the gate found; None without verification.
        expectation: What it was judged on, with the source's answers; None without verification.
        precision: What the proof says about a lower precision; empty for none.
        engines: The optional engines that took part.
    """

    formats: tuple[str, ...]
    result: Path
    found: GateResult | None
    expectation: Expectation | None
    precision: dict[str, Any] = field(default_factory=dict)
    engines: tuple[str, ...] = ()
