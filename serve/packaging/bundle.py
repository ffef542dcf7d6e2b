"""What a bundle is: a folder with models, the files of an engine, and a manifest that says what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xport import __version__
from xport.artifact import Proof
from xport.errors import ParityError, UnreadableModelError
from xport.formats import Format
from xport.golden import Case
from xport.signature import Signature

MANIFEST = "xport-bundle.json"
"""The file by which a bundle is known."""
BUNDLE_VERSION = 1
"""Version of the JSON form of the manifest."""
MODELS = "models"
"""The folder of a bundle that holds the models; its files' hashes stand in the manifest."""


@dataclass(frozen=True)
class Packed:
    """One version of a model inside a bundle.

    Attributes:
        name: What requests call it.
        version: Its number.
        path: The model file or the SavedModel's folder, inside the bundle that is being made.
        format: How it is stored.
        signature: Its inputs and outputs.
        proof: Where it comes from; None for a model that was allowed in unproven.
        cases: The golden cases that were replayed on it.
        batching: Whether requests may be joined along the first axis: empty if so, otherwise why not.
    """

    name: str
    version: int
    path: Path
    format: Format
    signature: Signature
    proof: Proof | None
    cases: tuple[Case, ...]
    batching: str

    @property
    def verified(self) -> bool:
        """Whether its numbers are proven."""
        return self.proof is not None and self.proof.verified and bool(self.cases)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        path: Its folder.
        engine: What it is for.
        manifest: What `write_manifest` wrote.
    """

    path: Path
    engine: str
    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def models(self) -> list[dict[str, Any]]:
        """One entry a version of a model: name, version, path inside the bundle, format, signature, batching."""
        models: list[dict[str, Any]] = self.manifest["models"]
        return models

    @property
    def names(self) -> list[str]:
        """The models' names, in order, each once."""
        return list(dict.fromkeys(entry["name"] for entry in self.models))

    def check(self) -> None:
        """Make sure that the models are the bytes that were proven.

        Raises:
            ParityError: If a file was changed, removed or added.
        """
        found = hashes(self.path)
        recorded = self.manifest["files"]
        differing = sorted(name for name in {*found, *recorded} if found.get(name) != recorded.get(name))
        if differing:
            raise ParityError(
                f"{self.path} was changed after it was packaged: {', '.join(differing[:5])}"
                + (f" and {len(differing) - 5} more." if len(differing) > 5 else "."),
                f"Package it again: xport package MODEL --engine {self.engine} -o {self.path} --force",
            )


def is_bundle(path: Path) -> bool:
    """Whether a folder is a bundle."""
    return (path / MANIFEST).is_file()


def read_bundle(path: Path) -> Bundle:
    """Read the manifest of a bundle.

    Args:
        path: The bundle's folder.

    Returns:
        The bundle.

    Raises:
        UnreadableModelError: If there is no manifest, or it is broken.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["bundle_version"] != BUNDLE_VERSION:
            raise ValueError(f"bundle version {manifest['bundle_version']}, expected {BUNDLE_VERSION}")
        entries = [(entry["name"], int(entry["version"]), entry["path"]) for entry in manifest["models"]]
        if not entries or not isinstance(manifest["files"], dict):
            raise ValueError("it names no models")
        return Bundle(path, manifest["engine"], manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableModelError(
            f"{path} is not a bundle that xport package wrote: {type(error).__name__}: {error}",
            "Make one: xport package MODEL --engine tf-serving -o BUNDLE",
        ) from error


def write_manifest(folder: Path, engine: str, models: list[Packed], created: str) -> None:
    """Write the manifest of a bundle that is complete otherwise.

    Args:
        folder: The bundle's folder.
        engine: What it is for.
        models: What is in it.
        created: ISO 8601 time in UTC.
    """
    manifest = {
        "bundle_version": BUNDLE_VERSION,
        "engine": engine,
        "xport": __version__,
        "created": created,
        "models": [_entry(folder, model) for model in models],
        "files": hashes(folder),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _entry(folder: Path, model: Packed) -> dict[str, Any]:
    proof = model.proof
    return {
        "name": model.name,
        "version": model.version,
        "path": model.path.relative_to(folder).as_posix(),
        "format": model.format.value,
        "verified": model.verified,
        "golden_cases": len(model.cases),
        "route": list(proof.route) if proof else [],
        "source": proof.source if proof else {},
        "signature": model.signature.to_json(),
        "batching": not model.batching,
        "batching_reason": model.batching,
    }


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below `MODELS`, by its path inside the bundle."""
    found = {}
    for file in sorted((folder / MODELS).rglob("*")):
        if file.is_file():
            with file.open("rb") as stream:
                found[file.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
