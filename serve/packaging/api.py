"""`package`: models in, a bundle out that holds only what was replayed and found right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xport.convert.provenance import now
from xport.convert.staging import Staging
from xport.errors import UsageError
from xport.runtimes import require
from xport.serve import engines
from xport.serve.packaging.bundle import MANIFEST, Bundle, read_bundle, write_manifest
from xport.serve.packaging.models import Intake, pack, parse_models

Progress = Callable[[str], None]


def package(
    models: Sequence[str | Path],
    engine: str,
    output: str | Path,
    *,
    version: int = 1,
    allow_unverified: bool = False,
    overwrite: bool = False,
    opening: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> Bundle:
    """Write everything that an engine needs to serve some models into a folder.

    A model of a format that the engine does not serve is converted first, through the gate. The golden inputs of
    every model are replayed on the very files that are packaged. The folder appears by one rename, and not at all
    if anything fails.

    Args:
        models: Paths or ``zoo:`` names, each optionally as ``NAME=PATH``. A folder of SavedModels in numbered
            subfolders brings all its versions.
        engine: One of `xport.serve.engines.ENGINES`.
        output: The folder to write.
        version: The number of models that do not bring one.
        allow_unverified: Let models in whose numbers nobody has proven.
        overwrite: Replace a bundle that is there.
        opening: How to open sources: ``inputs``, ``arch``, ``trust_pickle`` as for `xport.convert`.
        options: The engine's own options; see `xport.serve.engines.Engine.options`.
        progress: Told in a few words what begins.
        verbose: Let the frameworks' messages through.

    Returns:
        The bundle.

    Raises:
        UsageError: If the arguments do not fit, a model cannot be read, or it is not proven.
        DestinationError: If the folder exists or cannot be written.
        ConversionError: If a model cannot be converted to what the engine serves.
        ParityError: If a model's numbers moved.
    """
    chosen = engines.find(engine, packaged=True)
    if not chosen.writer:
        raise UsageError(
            f"Nothing is packaged for {engine}: it serves models where they lie.",
            f"xport serve MODEL --engine {engine}",
        )
    settings = _settings(chosen, options or {})
    wanted = parse_models(models, version)
    if chosen.single and len(wanted) > 1:
        raise UsageError(
            f"A bundle for {engine} holds one model, got {len(wanted)}.",
            "Package each into a folder of its own, or use --engine tf-serving or torchserve.",
        )
    for needed in ("yaml", "jinja2"):
        require(needed)
    intake = Intake(chosen, allow_unverified, dict(opening or {}), tell=progress or (lambda _: None), verbose=verbose)
    with Staging(Path(output), overwrite=overwrite, marker=MANIFEST) as staging:
        folder = staging.room("bundle")
        packed = [pack(intake, item, folder) for item in wanted]
        intake.tell(f"writing the files for {engine}")
        packed = engines.resolve(chosen.writer)(folder, packed, **settings)
        write_manifest(folder, engine, packed, now())
        _readable(folder)
        return read_bundle(staging.commit(folder))


def _settings(engine: engines.Engine, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given; one that the engine does not understand is refused."""
    given = {name: value for name, value in options.items() if value is not None}
    unknown = [f"--{name.replace('_', '-')}" for name in given if name not in engine.options]
    if unknown:
        known = ", ".join(f"--{name.replace('_', '-')}" for name in engine.options) or "none"
        raise UsageError(
            f"{', '.join(unknown)} means nothing to --engine {engine.name}.", f"Its own options are: {known}."
        )
    return given


def _readable(folder: Path) -> None:
    """Let everybody read: a server in a container is another user."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
