"""What a proof says about where an artifact comes from."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from xport.convert.engines import environment
from xport.convert.source import Source

DISTRIBUTIONS = (
    "xport-ml",
    "torch",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorflow",
    "tensorflow-cpu",
    "ai-edge-litert",
    "numpy",
)
"""The distributions whose versions may shape a result."""


def describe_source(source: Source) -> dict[str, str]:
    """Name, format and hash of a source.

    Args:
        source: The source.

    Returns:
        ``name``, ``format``, and ``sha256`` (empty for a live module or a zoo model).
    """
    name = source.path.name if source.path is not None else source.name
    digest = sha256(source.path) if source.path is not None and source.path.is_file() else ""
    return {"name": name, "format": source.format.value, "sha256": digest}


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(engines: Iterable[str] = ()) -> dict[str, str]:
    """The versions of Python, of those `DISTRIBUTIONS` that are installed, and of engines; none is imported.

    Args:
        engines: Names of optional engines that took part.
    """
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in engines:
        card = environment.card(name) or {}
        found[name] = card.get("versions", {}).get(name, "")
    return found


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
