"""What a conversion hands over: a model file and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xport.formats import Format
from xport.signature import Signature

PROOF_VERSION = 1
"""Version of the JSON form of `Proof`."""


@dataclass(frozen=True)
class Proof:
    """Where an artifact comes from and how well its numbers agree with its source's.

    Attributes:
        source: What was converted: file name, format, and SHA-256 of its bytes (empty for a live module).
        route: The steps taken, for example ``("torchscript", "onnx", "savedmodel")``.
        versions: Version by package name, of everything that took part.
        options: The options that shaped the result.
        parity: What the gate measured, one entry an output, with its cases inside; see `xport.validate.parity`.
        verified: False if the user asked for no verification.
        created: ISO 8601 time in UTC.
    """

    source: dict[str, str]
    route: tuple[str, ...]
    versions: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    parity: list[dict[str, Any]] = field(default_factory=list)
    verified: bool = False
    created: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON form that `from_json` reads back."""
        return {"proof_version": PROOF_VERSION, **self.__dict__, "route": list(self.route)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Proof:
        """Read what `to_json` wrote; unknown keys of later versions are ignored."""
        names = cls.__dataclass_fields__
        fields = {k: v for k, v in data.items() if k in names}
        fields["route"] = tuple(fields.get("route", ()))
        return cls(**fields)


@dataclass(frozen=True)
class Artifact:
    """A model on disk.

    Attributes:
        path: The file, or the SavedModel's folder.
        format: How it is stored.
        signature: Its inputs and outputs.
        proof: Where it comes from; None for a model that xport did not make.
    """

    path: Path
    format: Format
    signature: Signature
    proof: Proof | None = None
