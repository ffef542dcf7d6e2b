"""The bundle that a server is started from: the user's own, or one made for the occasion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xport.errors import UsageError
from xport.serve.packaging.api import Progress, package
from xport.serve.packaging.bundle import Bundle, is_bundle, read_bundle


def bundle_for(
    engine: str,
    models: Sequence[str | Path],
    work: Path,
    *,
    allow_unverified: bool = False,
    opening: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> Bundle:
    """A bundle that is safe to serve.

    Args:
        engine: What shall serve it.
        models: One bundle, or models to package.
        work: A folder for a bundle that is made here.
        allow_unverified: As for `xport.serve.packaging.api.package`, as are the others.
        opening: How to open models.
        progress: Told what begins.
        verbose: Let the frameworks' messages through.

    Returns:
        The bundle; a user's own is checked against its manifest.

    Raises:
        UsageError: If a bundle is for another engine or mixed with models.
        ParityError: If a bundle was changed after it was made.
    """
    paths = [Path(model) for model in models]
    found = [path for path in paths if is_bundle(path)]
    if not found:
        return package(
            models,
            engine,
            work / "bundle",
            allow_unverified=allow_unverified,
            opening=opening,
            progress=progress,
            verbose=verbose,
        )
    if len(paths) > 1:
        raise UsageError(f"{found[0]} is a bundle; it is served alone.", "Name the bundle, or only models.")
    bundle = read_bundle(found[0])
    if bundle.engine != engine:
        raise UsageError(
            f"{bundle.path} is a bundle for {bundle.engine}, not for {engine}.",
            f"Package it for {engine}: xport package MODEL --engine {engine} -o BUNDLE",
        )
    bundle.check()
    return bundle
