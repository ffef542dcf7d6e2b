"""The side of a task that runs in its own process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xport.convert import api


def convert_one(source: str, target: str, destination: str, keywords: dict[str, Any], cwd: str = "") -> dict[str, Any]:
    """Convert one model.

    Args:
        source: A path or a ``zoo:`` name.
        target: The format's name.
        destination: The file or folder to write.
        keywords: Further keywords of `xport.convert`.
        cwd: The folder to work in, if it is there.

    Returns:
        ``size`` in bytes, ``route``, ``verified``, and ``worst``: the largest error in rounding floors.
    """
    if cwd and Path(cwd).is_dir():
        os.chdir(cwd)
    artifact = api.convert(source, target, destination, **keywords)
    made = artifact.proof
    ratios = [row["ratio"] for row in made.parity if row.get("ratio") is not None] if made else []
    folder, name = artifact.path.parent, artifact.path.name
    files = [artifact.path, *artifact.path.rglob("*")] if artifact.path.is_dir() else [*folder.glob(f"{name}*")]
    return {
        "size": sum(file.stat().st_size for file in files if Path(file).is_file()),
        "route": list(made.route) if made else [],
        "verified": bool(made and made.verified),
        "worst": max(map(float, ratios), default=None),
    }
